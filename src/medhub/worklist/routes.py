# SPDX-License-Identifier: Apache-2.0
"""Routes of scheduled studies, which modalities get as their worklist."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.errors import Invalid
from medhub.foundation.http import Id, Page, Paging
from medhub.worklist import service
from medhub.worklist.schemas import ScheduledStudyChange, ScheduledStudyCreate, ScheduledStudyOut, State, values_of

scheduled_studies = APIRouter(prefix="/api/scheduled-studies", tags=["Scheduled studies"])


@scheduled_studies.get("", summary="Scheduled studies")
def list_scheduled_studies(
    call: Annotated[Call, allow("worklist.read")],
    paging: Paging,
    project_id: Annotated[Id | None, Query()] = None,
    patient_id: Annotated[Id | None, Query()] = None,
    state: Annotated[State | None, Query()] = None,
) -> Page[ScheduledStudyOut]:
    """The scheduled studies of your projects, the earliest first."""
    with call.reading() as session:
        studies, total = service.list_studies(
            session,
            call.actor,
            project_id=project_id,
            patient_id=patient_id,
            state=state,
            offset=paging.offset,
            limit=paging.page_size,
        )
        return paging.of([ScheduledStudyOut.of(session, call.app.keys, study) for study in studies], total)


@scheduled_studies.post("", status_code=201, summary="Schedule a study")
def schedule_study(call: Annotated[Call, allow("worklist.change")], body: ScheduledStudyCreate) -> ScheduledStudyOut:
    """Schedule a study of a patient; modalities that may read the worklist get it with the patient's identity."""
    _check_start(body)
    with call.writing() as session:
        study = service.schedule_study(session, call.app.keys, call.actor, body.patient_id, values_of(body))
        return ScheduledStudyOut.of(session, call.app.keys, study)


@scheduled_studies.get("/{id}", summary="A scheduled study")
def read_scheduled_study(call: Annotated[Call, allow("worklist.read")], id: ItemId) -> ScheduledStudyOut:
    """One scheduled study."""
    with call.reading() as session:
        return ScheduledStudyOut.of(session, call.app.keys, service.read_study(session, call.actor, id))


@scheduled_studies.patch("/{id}", summary="Change a scheduled study")
def change_scheduled_study(
    call: Annotated[Call, allow("worklist.change")], id: ItemId, change: ScheduledStudyChange
) -> ScheduledStudyOut:
    """Change a study that has not begun."""
    _check_start(change)
    with call.writing() as session:
        study = service.change_study(session, call.app.keys, call.actor, id, values_of(change))
        return ScheduledStudyOut.of(session, call.app.keys, study)


@scheduled_studies.delete("/{id}", status_code=204, summary="Cancel a scheduled study")
def cancel_scheduled_study(call: Annotated[Call, allow("worklist.change")], id: ItemId) -> None:
    """Cancel a study that has not begun; it stays in the list as canceled."""
    with call.writing() as session:
        service.cancel_study(session, call.actor, id)


def _check_start(body: ScheduledStudyCreate | ScheduledStudyChange) -> None:
    if body.starts_at is not None and body.starts_at.tzinfo is not None:
        raise Invalid(
            "Modalities get local times. Write the date and time of the institution without a time zone.",
            field="starts_at",
        )
