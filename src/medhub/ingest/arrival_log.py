# SPDX-License-Identifier: Apache-2.0
"""Write the arrival row of each received file, with its outcome."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.foundation import clock, ids
from medhub.foundation.keys import Keys
from medhub.ingest.context import IngestContext, IngestSource
from medhub.ingest.ingest_file import IngestResult, Outcome
from medhub.ingest.models import Arrival
from medhub.records.models import Image, Patient


def hash_instance(keys: Keys, project_id: str, sop_instance_uid: str) -> str | None:
    """The keyed hash of a received SOP Instance UID; ``None`` where a file names none."""
    return (
        keys.fingerprint("received-instances", f"{project_id} {sop_instance_uid}".encode())
        if sop_instance_uid
        else None
    )


def build_arrival_row(
    session: Session,
    actor: Actor,
    source: IngestSource,
    context: IngestContext | None,
    outcome: Outcome,
    size_bytes: int,
    *,
    image_id: str | None = None,
    code: str | None = None,
    reason: str | None = None,
    instance_hash: str | None = None,
) -> dict[str, Any]:
    """Build the values of an arrival row, for a later insert, and write the audit entry."""
    arrival_id = ids.new_id()
    pathway = source.pathway
    if context is not None:
        pathway = context.pathway.name if context.pathway is not None else None
    row = {
        "id": arrival_id,
        "project_id": source.project_id,
        "patient_id": context.patient_id if context is not None else None,
        "image_id": image_id,
        "route": source.route,
        "peer": source.peer,
        "pathway": pathway,
        "outcome": outcome,
        "code": code,
        "reason": reason,
        "size_bytes": size_bytes,
        "by_id": actor.user_id or None,
        "by": actor.name[:120],
        "created_at": clock.now(),
        "instance_hash": instance_hash,
    }
    facts = {"patient_id": context.patient_id, "image_id": image_id} if context is not None else {}
    actor.record(
        session,
        "image.receive",
        "arrival",
        arrival_id,
        project_id=source.project_id,
        outcome_of_file=outcome,
        code=code,
        **facts,
    )
    return row


def add_duplicate(
    session: Session,
    actor: Actor,
    source: IngestSource,
    context: IngestContext,
    image_id: str,
    size_bytes: int,
    instance_hash: str | None = None,
) -> IngestResult:
    """Write the arrival of a file that was stored before."""
    image = session.get_one(Image, image_id)
    reason = "This file is already here."
    if image.patient_id != context.patient_id:
        other = session.get_one(Patient, image.patient_id)
        reason = (
            f"This file is already here, as an image of the patient {other.code}. "
            "Check which patient it belongs to; it was not stored again."
        )
    row = build_arrival_row(
        session,
        actor,
        source,
        context,
        "duplicate",
        size_bytes,
        image_id=image_id,
        code="duplicate",
        reason=reason,
        instance_hash=instance_hash,
    )
    session.add(Arrival(**row))
    return IngestResult("duplicate", reason, image_id, "duplicate")
