# SPDX-License-Identifier: Apache-2.0
"""Procedure steps that a modality performs (MPPS, PS3.4 annex F), and the scheduled studies that they bring forward."""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, Invalid, NotFound
from medhub.foundation import clock
from medhub.foundation.keys import Keys
from medhub.science.imaging.dicom.worklist_identifiers import PerformedStepAttributes
from medhub.worklist.models import PerformedStep, ScheduledStudy

_STATES = {"IN PROGRESS": "in-progress", "COMPLETED": "completed", "DISCONTINUED": "discontinued"}


class StepExists(Conflict):
    """There is a procedure step with this UID already."""

    code = "step-exists"


class StepEnded(Conflict):
    """The procedure step is completed or discontinued, and cannot change any more."""

    code = "step-ended"


class NoSuchStep(NotFound):
    """The project has no procedure step with this UID."""

    code = "no-such-step"


class StepState(Invalid):
    """The procedure step cannot have this state now."""

    code = "step-state"


def create_step(
    session: Session, keys: Keys, actor: Actor, project_id: str, uid: str, attributes: PerformedStepAttributes
) -> PerformedStep:
    """A modality begins a step (N-CREATE)."""
    if attributes.status != "IN PROGRESS":
        raise StepState("A procedure step begins in progress.")
    uid_hash = _hash(keys, project_id, uid)
    if session.get(PerformedStep, (project_id, uid_hash)) is not None:
        raise StepExists("There is a procedure step with this UID already.")
    study = _find_study(session, project_id, attributes)
    moment = clock.now()
    step = PerformedStep(
        project_id=project_id,
        uid_hash=uid_hash,
        scheduled_study_id=study.id if study is not None else None,
        state="in-progress",
        created_at=moment,
        changed_at=moment,
    )
    session.add(step)
    session.flush()
    _bring_forward(session, actor, project_id, study)
    return step


def change_step(
    session: Session, keys: Keys, actor: Actor, project_id: str, uid: str, attributes: PerformedStepAttributes
) -> PerformedStep:
    """A modality reports of a step in progress (N-SET), or ends it."""
    step = session.get(PerformedStep, (project_id, _hash(keys, project_id, uid)))
    if step is None:
        raise NoSuchStep("There is no procedure step with this UID.")
    if step.state != "in-progress":
        raise StepEnded("This procedure step has ended, and cannot change any more.")
    if attributes.status and attributes.status not in _STATES:
        raise StepState("A procedure step is in progress, completed or discontinued.")
    step.state = _STATES.get(attributes.status, step.state)
    step.changed_at = clock.now()
    session.flush()
    study = session.get(ScheduledStudy, step.scheduled_study_id) if step.scheduled_study_id else None
    _bring_forward(session, actor, project_id, study)
    return step


def _find_study(session: Session, project_id: str, attributes: PerformedStepAttributes) -> ScheduledStudy | None:
    """The scheduled study that a step names; ``None`` where it names none, or none of the project's."""
    for study_uid, step_id in attributes.scheduled:
        named = [ScheduledStudy.study_uid == study_uid, *([ScheduledStudy.step_id == step_id] if step_id else [])]
        query = select(ScheduledStudy).where(ScheduledStudy.project_id == project_id, or_(*named))
        # A study UID names one study; the id of a step is short, and only a second choice.
        rows = sorted(session.scalars(query), key=lambda row: row.study_uid != study_uid)
        if rows:
            return rows[0]
    return None


def _bring_forward(session: Session, actor: Actor, project_id: str, study: ScheduledStudy | None) -> None:
    """Give a scheduled study the state of its steps: in progress while one is, and then as the last one ended."""
    if study is not None:
        query = select(PerformedStep).where(PerformedStep.scheduled_study_id == study.id)
        steps = list(session.scalars(query.order_by(PerformedStep.changed_at, PerformedStep.created_at)))
        study.state = "in-progress" if any(step.state == "in-progress" for step in steps) else steps[-1].state
        study.changed_at = clock.now()
        session.flush()
    actor.record(
        session,
        "worklist.perform",
        "worklist",
        study.id if study is not None else None,
        project_id=project_id,
        patient_id=study.patient_id if study is not None else None,
        state=study.state if study is not None else "not scheduled",
    )


def _hash(keys: Keys, project_id: str, uid: str) -> str:
    return keys.fingerprint("performed-steps", f"{project_id} {uid}".encode())
