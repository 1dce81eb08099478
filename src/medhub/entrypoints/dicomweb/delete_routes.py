# SPDX-License-Identifier: Apache-2.0
"""Deleting studies, series and instances (beside the standard, as other archives do it), for administrators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from medhub.accounts.access import Call, allow
from medhub.entrypoints.dicomweb.project_paths import PREFIX, NothingThere, Uid, projects_of
from medhub.entrypoints.dicomweb.stored_instances import find_instances
from medhub.errors import Conflict
from medhub.records import series_service, studies
from medhub.records.models import Image

deleting = APIRouter(prefix=PREFIX, tags=["dicomweb"], include_in_schema=False)


@deleting.delete("/studies/{study}", status_code=204, summary="Delete a study")
def delete_study(request: Request, call: Annotated[Call, allow("study.delete")], study: Uid) -> Response:
    """Delete a study with its objects, unless one of them is part of a signed case."""
    with call.writing() as session:
        studies.delete_study(session, call.actor, _image(session, request, call, study).study_id)
    return Response(status_code=204)


@deleting.delete("/studies/{study}/series/{series}", status_code=204, summary="Delete a series")
def delete_series(request: Request, call: Annotated[Call, allow("study.delete")], study: Uid, series: Uid) -> Response:
    """Delete a series with its objects."""
    with call.writing() as session:
        series_service.delete_series(session, call.actor, _image(session, request, call, study, series).series_id)
    return Response(status_code=204)


@deleting.delete("/studies/{study}/series/{series}/instances/{instance}", status_code=204, summary="Delete an instance")
def delete_instance(
    request: Request, call: Annotated[Call, allow("study.delete")], study: Uid, series: Uid, instance: Uid
) -> Response:
    """Delete one object and all that was made from it."""
    with call.writing() as session:
        studies.delete_image(session, call.actor, _image(session, request, call, study, series, instance).id)
    return Response(status_code=204)


def _image(
    session: Session, request: Request, call: Call, study: str, series: str | None = None, instance: str | None = None
) -> Image:
    """An object of what an address names, which must be in one project and no more."""
    projects = projects_of(request, call, "image.read")
    instances = find_instances(session, projects, study, series, instance)
    if not instances:
        raise NothingThere("No object has these UIDs, or it is not in a project of yours.")
    if len({instance.image.project_id for instance in instances}) > 1:
        raise Conflict(f"Several projects have this. Say in which it is meant: {PREFIX}/projects/PROJECT/studies/….")
    return instances[0].image
