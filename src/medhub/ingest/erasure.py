# SPDX-License-Identifier: Apache-2.0
"""What ingest holds of a patient, for the certificate of an erasure."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.foundation import clock, pagination
from medhub.foundation.app_context import AppContext
from medhub.foundation.jobs import Job
from medhub.foundation.keys import Keys
from medhub.ingest.hashed_identifiers import hash_identifiers
from medhub.ingest.models import Arrival, Manifest, Receipt
from medhub.ingest.patient_claims.reading import read_identifiers_of
from medhub.ingest.quarantine import destroy_sealed, open_sealed
from medhub.ingest.refusals import ArrivalRefused
from medhub.records import vault
from medhub.records.identifier_index import hash_identifier, normalize_date, normalize_number, trait_hash
from medhub.records.identity_search import hash_term
from medhub.records.models import Erasure, Image
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers


def count_held(session: Session, patient_id: str) -> dict[str, Any]:
    """The number of arrivals, quarantined files, receipts and manifests."""
    arrivals = select(func.count()).select_from(Arrival).where(Arrival.patient_id == patient_id)
    of_images = [
        select(func.count())
        .select_from(table)
        .join(Image, Image.id == table.image_id)
        .where(Image.patient_id == patient_id)
        for table in (Receipt, Manifest)
    ]
    candidates = len(candidate_arrivals(session, patient_id))
    names = ("arrivals", "quarantined_files", "receipts", "manifests")
    queries = (arrivals, arrivals.where(Arrival.sealed_bytes.is_not(None)), *of_images)
    searches = _count_unfinished_searches(session, patient_id)
    unfinished = {"unfinished_searches_of_waiting_files": searches} if searches else {}
    return {"files_that_may_be_theirs": candidates, **unfinished} | {
        name: session.scalar(query) or 0 for name, query in zip(names, queries, strict=True)
    }


def candidate_arrivals(session: Session, patient_id: str) -> list[Arrival]:
    """Quarantined files without a patient that may belong to this patient."""
    query = select(Arrival).where(Arrival.patient_id.is_(None), Arrival.sealed_bytes.is_not(None))
    return [arrival for arrival in session.scalars(query) if patient_id in (arrival.candidates or ())]


@dataclass(frozen=True)
class ErasedPerson:
    """Keyed hashes of what named an erased person."""

    project_id: str
    identifiers: frozenset[str]
    names: frozenset[str]
    birth_dates: frozenset[str]

    def is_named_in(self, keys: Keys, claim: PatientIdentifiers) -> Literal["yes", "perhaps", "no"]:
        """Whether a file names the person: by number, study, or name and birth date; perhaps by the name alone."""
        hashes = set()
        with suppress(ArrivalRefused):  # it has neither number nor study
            hashed = hash_identifiers(keys, self.project_id, claim)
            hashes = {hashed.patient, hashed.study, hashed.combined_hash(keys, self.project_id)}
        if number := normalize_number(claim.patient_id):
            hashes.add(hash_identifier(keys, self.project_id, "number", number))
        words = vault.fold(claim.name).split()
        named = bool(words) and all(self._is_name(keys, word) for word in words)
        date = normalize_date(claim.birth_date)
        dates = {hash_identifier(keys, self.project_id, "birth_date", date), self._hash_trait(keys, "birth_date", date)}
        if hashes & self.identifiers or (named and date and dates & self.birth_dates):
            return "yes"
        return "perhaps" if named and not date and not claim.patient_id else "no"

    def is_named_by(self, keys: Keys, note: str) -> bool:
        """Whether a note contains a number of the person, or two words of the name."""
        numbers = {
            hash_identifier(keys, self.project_id, "number", number)
            for number in map(normalize_number, note.split())
            if number
        }
        words = {word for word in vault.fold(note).split() if len(word) > 2}
        return bool(numbers & self.identifiers) or sum(self._is_name(keys, word) for word in words) > 1

    def _is_name(self, keys: Keys, word: str) -> bool:
        return bool({self._hash_trait(keys, "name", word), hash_term(keys, self.project_id, word)} & self.names)

    def _hash_trait(self, keys: Keys, kind: str, text: str) -> str:
        return trait_hash(keys, self.project_id, kind, text)


def destroy_claimed(
    app: AppContext,
    patient_id: str,
    project_id: str = "",
    identifiers: Sequence[str] = (),
    names: Sequence[str] = (),
    birth_dates: Sequence[str] = (),
    erasure_id: str = "",
) -> None:
    """Destroy waiting files that name an erased patient or may be theirs, and empty the notes on their files.

    Files that may name the patient, since they cannot be read or name nobody surely, are counted in the certificate.
    """
    with app.database.writing() as session:
        _destroy(session, candidate_arrivals(session, patient_id))
        _empty_notes_of_candidates(session, patient_id)
    if not project_id:  # a job of an earlier version
        return
    person = ErasedPerson(project_id, frozenset(identifiers), frozenset(names), frozenset(birth_dates))
    unassigned = select(Arrival).where(Arrival.project_id == project_id, Arrival.patient_id.is_(None))
    waiting = unassigned.where(Arrival.sealed_bytes.is_not(None))
    with app.database.reading() as session:
        arrival_ids = list(session.scalars(waiting.with_only_columns(Arrival.id)))
    named, uncertain = [], 0
    for arrival_id in arrival_ids:
        with app.database.reading() as session:
            arrival = session.get(Arrival, arrival_id)
            if arrival is None or arrival.sealed_bytes is None or arrival.patient_id is not None:
                continue
            data = open_sealed(session, app, arrival)
        claim = read_identifiers_of(app, data)
        answer = person.is_named_in(app.keys, claim) if claim is not None else "perhaps"
        named += [arrival_id] if answer == "yes" else []
        uncertain += answer == "perhaps"
    with app.database.writing() as session:
        arrivals = session.scalars(waiting.where(pagination.in_ids(session, Arrival.id, named))).all()
        _destroy(session, arrivals)
        for arrival in session.scalars(unassigned.where(Arrival.note.is_not(None))):
            if person.is_named_by(app.keys, arrival.note or ""):
                arrival.note = None
        erasure = session.get(Erasure, erasure_id)
        if erasure is not None:
            counts = {"waiting_files_that_named_them": len(arrivals), "waiting_files_to_look_at": uncertain}
            erasure.contents = {**erasure.contents, **counts}


def _destroy(session: Session, arrivals: Sequence[Arrival]) -> None:
    destroy_sealed(session, arrivals)
    for arrival in arrivals:
        arrival.outcome, arrival.note = "discarded", "The patient whose it may have been was erased."
        arrival.resolved_at, arrival.candidates = clock.now(), None


def _empty_notes_of_candidates(session: Session, patient_id: str) -> None:
    """Empty the notes on files that were resolved without a patient and may have been the patient's."""
    query = select(Arrival).where(Arrival.patient_id.is_(None), Arrival.sealed_bytes.is_(None))
    for arrival in session.scalars(query):
        if patient_id in (arrival.candidates or ()):
            arrival.note, arrival.candidates = None, None


def _count_unfinished_searches(session: Session, patient_id: str) -> int:
    """The number of searches for the patient's waiting files that have not been completed."""
    query = select(Job.arguments).where(Job.kind == "destroy-claimed", Job.state != "done")
    return sum(arguments.get("patient_id") == patient_id for arguments in session.scalars(query))
