# SPDX-License-Identifier: Apache-2.0
"""Writing what became of each received file."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.foundation import clock, ids
from medhub.ingest.context import Answer, IngestContext, Outcome
from medhub.ingest.models import Arrival
from medhub.records.models import Image, Patient


def arrival_row(
    session: Session,
    actor: Actor,
    receiving: IngestContext,
    outcome: Outcome,
    size_bytes: int,
    *,
    image_id: str | None = None,
    code: str | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    """What became of a received file, as the values of a row that is yet to be written; the act is recorded."""
    arrival_id = ids.new_id()
    row = {
        "id": arrival_id,
        "project_id": receiving.project_id,
        "patient_id": receiving.patient_id,
        "image_id": image_id,
        "route": receiving.route,
        "peer": receiving.peer,
        "pathway": receiving.pathway.name if receiving.pathway is not None else None,
        "outcome": outcome,
        "code": code,
        "reason": reason,
        "size_bytes": size_bytes,
        "by_id": actor.user_id or None,
        "by": actor.name[:120],
        "created_at": clock.now(),
    }
    actor.record(
        session,
        "image.receive",
        "arrival",
        arrival_id,
        project_id=receiving.project_id,
        patient_id=receiving.patient_id,
        outcome_of_file=outcome,
        image_id=image_id,
        code=code,
    )
    return row


def note_arrival(
    session: Session,
    actor: Actor,
    receiving: IngestContext,
    outcome: Outcome,
    size_bytes: int,
    *,
    image_id: str | None = None,
    code: str | None = None,
    reason: str | None = None,
) -> Arrival:
    """Write what became of a received file."""
    row = arrival_row(session, actor, receiving, outcome, size_bytes, image_id=image_id, code=code, reason=reason)
    arrival = Arrival(**row)
    session.add(arrival)
    return arrival


def note_duplicate(session: Session, actor: Actor, receiving: IngestContext, image_id: str, size_bytes: int) -> Answer:
    """Say of a file that it is here already."""
    image = session.get_one(Image, image_id)
    reason = "This file is already here."
    if image.patient_id != receiving.patient_id:
        other = session.get_one(Patient, image.patient_id)
        reason = (
            f"This file is already here, as an image of the patient {other.code}. "
            "Check which patient it belongs to; it was not stored again."
        )
    note_arrival(session, actor, receiving, "duplicate", size_bytes, image_id=image_id, code="duplicate", reason=reason)
    return Answer("duplicate", reason, image_id, "duplicate")
