# SPDX-License-Identifier: Apache-2.0
"""Quarantined files: sealed, with a reason, until a person releases or discards them or they expire.

A file is sealed under the key of its patient, or under a key of the project while no patient is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, NotFound
from medhub.foundation import clock, jobs
from medhub.foundation.app_context import AppContext
from medhub.foundation.blobs import BlobStore
from medhub.foundation.keys import seal, unseal
from medhub.foundation.visible_text import require_text
from medhub.ingest.arrival_log import build_arrival_row, hash_instance
from medhub.ingest.context import IngestSource
from medhub.ingest.ingest_file import IngestFile, IngestResult
from medhub.ingest.models import Arrival
from medhub.ingest.refusals import PatientMismatch, PhiReviewNeeded, Refusal, code_of
from medhub.records import patient_blobs, vault
from medhub.records.models import Patient, PatientBlob

# Boxes shown to a person; an image with more is full of text.
_MOST_BOXES = 2_000


@dataclass(frozen=True)
class OpenedArrival:
    """A quarantined file with its decrypted bytes, which may identify a person."""

    arrival: Arrival
    patient_code: str | None  # None while no patient is assigned
    data: bytes


def quarantine_files(
    app: AppContext, actor: Actor, source: IngestSource, files: Sequence[IngestFile]
) -> list[IngestResult]:
    """Quarantine refused files in one transaction, each with its reason, until they expire."""
    if not files:
        return []
    with app.database.writing() as session:
        return [_quarantine_file(session, app, actor, source, file) for file in files]


def _quarantine_file(
    session: Session, app: AppContext, actor: Actor, source: IngestSource, file: IngestFile
) -> IngestResult:
    refusal, context = file.refusal, file.context
    if refusal is None:
        raise ValueError("the file was not refused")
    if context is not None and session.get(Patient, context.patient_id) is None:
        return IngestResult("quarantined", refusal.message)  # erased meanwhile: nothing may be written
    code = code_of(refusal)
    row = build_arrival_row(
        session,
        actor,
        source,
        context,
        "quarantined",
        file.size_bytes,
        code=code,
        reason=refusal.message,
        instance_hash=hash_instance(app.keys, source.project_id, file.sop_instance_uid),
    )
    arrival = Arrival(**row)
    session.add(arrival)
    if isinstance(refusal, PhiReviewNeeded):
        arrival.boxes = [list(box) for box in refusal.boxes[:_MOST_BOXES]]
    if isinstance(refusal, PatientMismatch):
        arrival.candidates = list(refusal.candidates)
    if file.data:
        seal_arrival(session, app, arrival, file.data)
        arrival.expires_at = clock.now() + timedelta(days=app.settings.quarantine_days)
    return IngestResult("quarantined", refusal.message, code=code)


def seal_arrival(session: Session, app: AppContext, arrival: Arrival, data: bytes) -> None:
    """Write the bytes of an arrival, sealed under the key of its patient or else of its project."""
    if arrival.patient_id is not None:
        sealed = vault.seal_for(session, app.keys, arrival.patient_id, data, f"arrival {arrival.id}")
        arrival.sealed_bytes = patient_blobs.store_blob(session, app, sealed, patient_id=arrival.patient_id)
    else:
        key = app.keys.derive(f"unassigned arrivals {arrival.project_id}")
        arrival.sealed_bytes = unassigned_store(app).put(seal(key, data, f"arrival {arrival.id}"))


def unassigned_store(app: AppContext) -> BlobStore:
    """The store of sealed files that have no patient yet."""
    return BlobStore(app.settings.unassigned_folder)


def destroy_unassigned(app: AppContext, digests: list[str]) -> None:
    """Delete sealed files that had no patient, unless they are still quarantined."""
    with app.database.writing() as session:
        in_use = set(session.scalars(select(Arrival.sealed_bytes).where(Arrival.sealed_bytes.in_(digests))))
    for digest in set(digests) - in_use:
        unassigned_store(app).delete(digest)


def get_arrival(session: Session, actor: Actor, arrival_id: str, action: str) -> tuple[Arrival, str | None]:
    """An arrival, and the code of its patient if it has one."""
    arrival = session.get(Arrival, arrival_id)
    if arrival is None:
        raise NotFound("There is no such arrival, or it is not in a project of yours.")
    actor.require(action, arrival.project_id, "arrival")
    return arrival, session.get_one(Patient, arrival.patient_id).code if arrival.patient_id is not None else None


def open_arrival(session: Session, app: AppContext, actor: Actor, arrival_id: str) -> OpenedArrival:
    """Decrypt a quarantined file; the caller writes the audit entry in the same transaction as its use."""
    arrival, code = get_arrival(session, actor, arrival_id, "arrival.resolve")
    if arrival.outcome != "quarantined":
        raise Conflict("This file is no longer quarantined: somebody has resolved it.")
    if arrival.sealed_bytes is None:
        raise Conflict("The bytes of this file are not here any more, or never were. Upload it again.")
    return OpenedArrival(arrival, code, open_sealed(session, app, arrival))


def open_sealed(session: Session, app: AppContext, arrival: Arrival) -> bytes:
    """The bytes of a quarantined file as received."""
    if arrival.patient_id is None:
        sealed = unassigned_store(app).get(str(arrival.sealed_bytes))
        return unseal(app.keys.derive(f"unassigned arrivals {arrival.project_id}"), sealed, f"arrival {arrival.id}")
    sealed = app.blobs.get(str(arrival.sealed_bytes))
    return vault.unseal_for(session, app.keys, arrival.patient_id, sealed, f"arrival {arrival.id}")


def write_refusal(arrival: Arrival, refusal: Refusal) -> None:
    """Write why a quarantined file was refused again."""
    arrival.code, arrival.reason = code_of(refusal), refusal.message
    arrival.resolved_at = arrival.resolved_by = None
    if isinstance(refusal, PhiReviewNeeded):
        arrival.boxes = [list(box) for box in refusal.boxes[:_MOST_BOXES]]


def discard(session: Session, actor: Actor, arrival_id: str, note: str) -> Arrival:
    """Destroy the bytes of a quarantined file; its row with the reasons stays."""
    arrival, _ = get_arrival(session, actor, arrival_id, "arrival.resolve")
    if arrival.outcome != "quarantined":
        raise Conflict("This file is no longer quarantined: somebody has resolved it.")
    note = require_text(note, "Write why the file is discarded.", "note")
    arrival.outcome, arrival.note = "discarded", note
    arrival.resolved_at, arrival.resolved_by = clock.now(), actor.name[:120]
    destroy_sealed(session, [arrival])
    actor.record(
        session,
        "arrival.discard",
        "arrival",
        arrival.id,
        project_id=arrival.project_id,
        patient_id=arrival.patient_id,
    )
    return arrival


def destroy_sealed(session: Session, arrivals: Sequence[Arrival]) -> int:
    """Destroy quarantined bytes; the rows with their reasons stay."""
    sealed = [arrival for arrival in arrivals if arrival.sealed_bytes is not None]
    digests = [str(arrival.sealed_bytes) for arrival in sealed if arrival.patient_id is not None]
    unassigned = [str(arrival.sealed_bytes) for arrival in sealed if arrival.patient_id is None]
    for arrival in arrivals:
        arrival.sealed_bytes = None
    session.flush()
    session.execute(delete(PatientBlob).where(PatientBlob.digest.in_(digests)))
    patient_blobs.enqueue_blob_deletion(session, digests)
    if unassigned:
        jobs.enqueue(session, "destroy-unassigned", {"digests": unassigned})
    return len(sealed)
