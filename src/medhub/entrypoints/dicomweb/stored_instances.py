# SPDX-License-Identifier: Apache-2.0
"""Stored objects by the UIDs of an address."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request

from medhub.accounts.access import Call
from medhub.entrypoints.dicomweb.project_paths import NothingThere, projects_of, root_of
from medhub.records.models import Image, Series, Study


@dataclass(frozen=True)
class StoredInstance:
    """An object with the UIDs of what it lies in."""

    image: Image
    study_uid: str
    series_uid: str

    def address(self, root: str) -> str:
        """Where it is retrieved."""
        image_uid = self.image.sop_instance_uid
        return f"{root}/studies/{self.study_uid}/series/{self.series_uid}/instances/{image_uid}"


def find_stored(
    session: Session, projects: Collection[str], study: str, series: str | None = None, instance: str | None = None
) -> list[StoredInstance]:
    """The objects of a study, a series, or the one that is named, in the order of their numbers."""
    chosen = (
        select(Image, Study.study_uid, Series.series_uid)
        .join(Series, Series.id == Image.series_id)
        .join(Study, Study.id == Series.study_id)
        .where(Study.project_id.in_(sorted(projects)), Study.study_uid == study)
    )
    if series is not None:
        chosen = chosen.where(Series.series_uid == series)
    if instance is not None:
        chosen = chosen.where(Image.sop_instance_uid == instance, Image.project_id.in_(sorted(projects)))
    order = (Study.id, Series.number, Series.id, Image.instance_number, Image.number, Image.id)
    return [
        StoredInstance(image, of_study, of_series)
        for image, of_study, of_series in session.execute(chosen.order_by(*order))
    ]


def look(
    request: Request, call: Call, what: str, study: str, series: str | None = None, instance: str | None = None
) -> list[StoredInstance]:
    """The objects that an address names, looked at; raises ``NothingThere`` where there are none."""
    with call.reading() as session:
        found = find_stored(session, projects_of(request, call, "image.read"), study, series, instance)
        if not found:
            raise NothingThere("No object has these UIDs, or it is not in a project of yours.")
        first = found[0].image
        kind, identifier = (
            ("image", first.id) if instance else ("series", first.series_id) if series else ("study", first.study_id)
        )
        call.actor.record(
            session,
            f"{kind}.retrieve",
            kind,
            identifier,
            project_id=first.project_id,
            patient_id=first.patient_id,
            what=what,
            images=len(found),
        )
    return found


def look_at_one(
    request: Request, call: Call, what: str, study: str, series: str, instance: str
) -> tuple[StoredInstance, str]:
    """The one object that an address names, and its address."""
    found = look(request, call, what, study, series, instance)[0]
    return found, found.address(root_of(request))
