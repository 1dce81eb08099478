# SPDX-License-Identifier: Apache-2.0
"""Files that wait for a person, sealed under the patient's key, until they are released, discarded or expire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, Invalid, NotFound
from medhub.foundation import clock, ids, jobs
from medhub.foundation.app_context import AppContext
from medhub.foundation.blobs import BlobStore
from medhub.foundation.keys import seal, unseal
from medhub.ingest.arrival_log import note_arrival
from medhub.ingest.context import Answer, ArrivalRefused, IngestContext
from medhub.ingest.models import Arrival
from medhub.ingest.patient_matching import IngestSource, NotThisPatient
from medhub.records import service as records
from medhub.records import vault
from medhub.records.models import Patient, PatientBlob
from medhub.science.arrivals.burned_in_text import Region
from medhub.science.imaging.decoding_limits import Unacceptable

WRITING = "writing"
# Of the boxes that a person is shown; a picture with more is full of them.
_MOST_BOXES = 2_000


class InDoubt(ArrivalRefused):
    """Nobody can be sure what stands in the pixels of a file; a person must look."""

    code = "in-doubt"

    def __init__(self, message: str, boxes: Sequence[Region] = ()) -> None:
        """Keep the reason, and where writing may be."""
        super().__init__(message, reason=WRITING)
        self.boxes = tuple(boxes)


@dataclass(frozen=True)
class Waiting:
    """A file that waits, opened; who holds it holds what may identify somebody."""

    arrival: Arrival
    patient_code: str | None  # None where nobody has said yet whose it is
    data: bytes


def quarantine(
    app: AppContext,
    actor: Actor,
    receiving: IngestContext,
    data: bytes,
    refusal: Unacceptable | ArrivalRefused,
    size_bytes: int | None = None,
) -> Answer:
    """Keep a refused file sealed under the patient's key, with its reason, until it expires."""
    code = str(refusal.facts.get("reason", "unsupported"))
    with app.database.writing() as session:
        if session.get(Patient, receiving.patient_id) is None:
            return Answer("quarantined", refusal.message)
        arrival = note_arrival(
            session,
            actor,
            receiving,
            "quarantined",
            size_bytes if size_bytes is not None else len(data),
            code=code,
            reason=refusal.message,
        )
        if isinstance(refusal, InDoubt):
            arrival.boxes = [list(box) for box in refusal.boxes[:_MOST_BOXES]]
        if data:
            sealed = vault.seal_for(session, app.keys, receiving.patient_id, data, f"arrival {arrival.id}")
            arrival.sealed_bytes = records.store_blob(session, app, sealed, patient_id=receiving.patient_id)
            arrival.expires_at = clock.now() + timedelta(days=app.settings.quarantine_days)
    return Answer("quarantined", refusal.message, code=code)


def unassigned(app: AppContext) -> BlobStore:
    """Where sealed files wait that are nobody's yet."""
    return BlobStore(app.settings.unassigned_folder)


def destroy_unassigned(app: AppContext, digests: list[str]) -> None:
    """Delete sealed files that were nobody's, unless they still wait."""
    with app.database.writing() as session:
        waiting = set(session.scalars(select(Arrival.sealed_bytes).where(Arrival.sealed_bytes.in_(digests))))
    for digest in set(digests) - waiting:
        unassigned(app).delete(digest)


def quarantine_unassigned(
    app: AppContext,
    actor: Actor,
    door: IngestSource,
    data: bytes,
    refusal: Unacceptable | ArrivalRefused,
    size_bytes: int | None = None,
) -> Answer:
    """Keep a file that is nobody's yet, sealed under a key of the project, until a person says whose it is."""
    code = str(refusal.facts.get("reason", "unsupported"))
    with app.database.writing() as session:
        arrival = Arrival(
            id=ids.new_id(),
            project_id=door.project_id,
            route=door.route,
            peer=door.peer,
            pathway=door.pathway,
            outcome="quarantined",
            code=code,
            reason=refusal.message,
            size_bytes=size_bytes if size_bytes is not None else len(data),
            by_id=actor.user_id or None,
            by=actor.name[:120],
            created_at=clock.now(),
            candidates=list(refusal.candidates) if isinstance(refusal, NotThisPatient) else None,
        )
        session.add(arrival)
        actor.record(
            session,
            "image.receive",
            "arrival",
            arrival.id,
            project_id=door.project_id,
            outcome_of_file="quarantined",
            code=code,
        )
        if data:
            key = app.keys.derive(f"unassigned arrivals {door.project_id}")
            arrival.sealed_bytes = unassigned(app).put(seal(key, data, f"arrival {arrival.id}"))
            arrival.expires_at = clock.now() + timedelta(days=app.settings.quarantine_days)
    return Answer("quarantined", refusal.message, code=code)


def get_arrival(session: Session, actor: Actor, arrival_id: str, action: str) -> tuple[Arrival, str | None]:
    """An arrival and its patient's code, if it is somebody's."""
    arrival = session.get(Arrival, arrival_id)
    if arrival is None:
        raise NotFound("There is no such arrival, or it is not in a project of yours.")
    actor.require(action, arrival.project_id, "arrival")
    return arrival, session.get_one(Patient, arrival.patient_id).code if arrival.patient_id is not None else None


def open_waiting(session: Session, app: AppContext, actor: Actor, arrival_id: str) -> Waiting:
    """Open a file that waits; the audit says who did, in the same transaction as what is done with it."""
    arrival, code = get_arrival(session, actor, arrival_id, "arrival.resolve")
    if arrival.outcome != "quarantined":
        raise Conflict("This file does not wait any more: somebody has resolved it.")
    if arrival.sealed_bytes is None:
        raise Conflict("The bytes of this file are not here any more, or never were. Upload it again.")
    return Waiting(arrival, code, open_sealed(session, app, arrival))


def open_sealed(session: Session, app: AppContext, arrival: Arrival) -> bytes:
    """The bytes of a file that waits, as they were received."""
    if arrival.patient_id is None:
        sealed = unassigned(app).get(str(arrival.sealed_bytes))
        return unseal(app.keys.derive(f"unassigned arrivals {arrival.project_id}"), sealed, f"arrival {arrival.id}")
    sealed = app.blobs.get(str(arrival.sealed_bytes))
    return vault.unseal_for(session, app.keys, arrival.patient_id, sealed, f"arrival {arrival.id}")


def note_refusal(arrival: Arrival, refusal: Unacceptable | ArrivalRefused) -> None:
    """Write why a file that waits was refused once more."""
    arrival.code, arrival.reason = str(refusal.facts.get("reason", "unsupported")), refusal.message
    arrival.resolved_at = arrival.resolved_by = None
    if isinstance(refusal, InDoubt):
        arrival.boxes = [list(box) for box in refusal.boxes[:_MOST_BOXES]]


def discard(session: Session, actor: Actor, arrival_id: str, note: str) -> Arrival:
    """Destroy the bytes of a file that waits; its row stays with the reasons."""
    arrival, _ = get_arrival(session, actor, arrival_id, "arrival.resolve")
    if arrival.outcome != "quarantined":
        raise Conflict("This file does not wait any more: somebody has resolved it.")
    if not note.strip():
        raise Invalid("Write why the file is discarded.", field="note")
    arrival.outcome, arrival.note = "discarded", note.strip()
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
    nobodys = [str(arrival.sealed_bytes) for arrival in sealed if arrival.patient_id is None]
    for arrival in arrivals:
        arrival.sealed_bytes = None
    session.flush()
    session.execute(delete(PatientBlob).where(PatientBlob.digest.in_(digests)))
    records.enqueue_blob_deletion(session, digests)
    if nobodys:
        jobs.enqueue(session, "destroy-unassigned", {"digests": nobodys})
    return len(sealed)
