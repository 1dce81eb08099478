# SPDX-License-Identifier: Apache-2.0
"""Erasure of a patient, and the certificate of what was erased and what had been derived from it.

The capabilities above this one hold derived data. Each registers an erasure reporter, a function that counts what it
holds of a patient. The reporters run before the erasure, for the certificate, and after it, when all counts must be 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.accounts.models import Project
from medhub.errors import Conflict, NotFound, Unavailable
from medhub.foundation import clock, ids, jobs, pagination
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import after_commit, serialize_writers
from medhub.foundation.events import publish
from medhub.records.events import IdentityErased, PatientErased
from medhub.records.models import (
    Erasure,
    Identity,
    IdentityTerm,
    Image,
    PatientBlob,
    PatientIdentifier,
    PatientIdentifierIndex,
    Study,
)
from medhub.records.patient_blobs import delete_unreferenced_blobs
from medhub.records.service import delete_patient_row, get_patient

ErasureReporter = Callable[[Session, str], Mapping[str, Any]]
"""Counts what a capability holds of a patient: names to numbers, or to lists of facts that identify nobody."""


class ErasureNotFound(NotFound):
    """There is no such certificate of erasure."""

    code = "erasure-not-found"


def count_held(session: Session, patient_id: str) -> Mapping[str, Any]:
    """Count what this capability holds of a patient."""
    identity = session.get(Identity, patient_id)

    def count(table: type[Study | Image | PatientBlob]) -> int:
        return session.scalar(select(func.count()).select_from(table).where(table.patient_id == patient_id)) or 0

    return {
        "identities": int(identity is not None and identity.sealed_identity is not None),
        "keys": int(identity is not None),
        "studies": count(Study),
        "images": count(Image),
        "files": count(PatientBlob),
    }


def count_all_held(session: Session, patient_id: str) -> dict[str, Any]:
    """Count what all capabilities hold of a patient."""
    reporters: tuple[ErasureReporter, ...] = session.info.get("erasure_reporters", ())
    held: dict[str, Any] = dict(count_held(session, patient_id))
    for reporter in reporters:
        held |= reporter(session, patient_id)
    return held


class SecondPersonDemanded(Conflict):
    """The project demands two people for an erasure."""

    code = "erasure-needs-request"


def erase_patient(
    session: Session,
    app: AppContext,
    actor: Actor,
    patient_id: str,
    *,
    reason: str | None = None,
    requested_by: str | None = None,
) -> Erasure:
    """Delete the key, rows and files of a patient; audit and certificate keep nothing that identifies the person."""
    serialize_writers(session, f"patient {patient_id}")
    patient = get_patient(session, actor, patient_id, "patient.erase")
    if requested_by is None and session.get_one(Project, patient.project_id).erasure_by_two:
        raise SecondPersonDemanded(
            "This project erases patients by two people. Request the erasure with a reason; a second administrator "
            "then erases."
        )
    digests = list(session.scalars(select(PatientBlob.digest).where(PatientBlob.patient_id == patient.id)))
    erasure = Erasure(
        id=ids.new_id(),
        project_id=patient.project_id,
        patient_code=patient.code,
        contents=count_all_held(session, patient.id),
        erased_at=clock.now(),
        erased_by_id=actor.user_id or None,
        erased_by=actor.name[:200],
        reason=reason,
        requested_by=requested_by,
    )
    identity_erased = _describe_by_hashes(session, patient_id, erasure)
    delete_patient_row(session, patient)
    session.add(erasure)
    after_commit(session, app.database.truncate_journal)
    publish(session, PatientErased(patient_id=patient_id))
    publish(session, identity_erased)
    arguments = {"erasure_id": erasure.id, "patient_id": patient_id, "digests": digests}
    jobs.enqueue(session, "finish-erasure", arguments)
    actor.record(
        session,
        "patient.erase",
        "patient",
        patient_id,
        project_id=erasure.project_id,
        patient_id=patient_id,
        images=erasure.contents["images"],
        blobs=len(digests),
    )
    return erasure


def _describe_by_hashes(session: Session, patient_id: str, erasure: Erasure) -> IdentityErased:
    """The event with the hashes by which files that wait, and name the patient, are recognized."""
    of_files = session.scalars(
        select(PatientIdentifierIndex).where(PatientIdentifierIndex.patient_id == patient_id)
    ).all()
    indexed = session.scalars(select(PatientIdentifier).where(PatientIdentifier.patient_id == patient_id)).all()
    terms = session.scalars(select(IdentityTerm.term).where(IdentityTerm.patient_id == patient_id))

    def traits(kind: str) -> set[str]:
        return {value for entry in of_files for value in entry.traits.get(kind, ())}

    def keys(kind: str) -> set[str]:
        return {entry.key for entry in indexed if entry.kind == kind}

    return IdentityErased(
        patient_id=patient_id,
        project_id=erasure.project_id,
        identifiers=tuple(sorted({entry.key for entry in of_files} | keys("number"))),
        names=tuple(sorted(traits("name") | set(terms))),
        birth_dates=tuple(sorted(traits("birth_date") | keys("birth_date"))),
        erasure_id=erasure.id,
    )


def finish_erasure(app: AppContext, erasure_id: str, patient_id: str, digests: list[str]) -> None:
    """Delete the files, check that nothing remains, and complete the certificate."""
    delete_unreferenced_blobs(app, digests)
    with app.database.writing() as session:
        erasure = session.get(Erasure, erasure_id)
        if erasure is None:
            return
        remaining = {name: value for name, value in count_all_held(session, patient_id).items() if value}
        # Equal bytes may have been stored for another patient; they stay.
        shared = set(session.scalars(select(PatientBlob.digest).where(PatientBlob.digest.in_(digests))))
        files = sum(app.blobs.has(digest) for digest in digests if digest not in shared)
        if remaining or files:
            raise Unavailable("Data of an erased patient still exists.", left=", ".join(sorted(remaining)))
        erasure.completed_at = clock.now()


def get_erasure(session: Session, actor: Actor, erasure_id: str) -> Erasure:
    """A certificate in one of the actor's projects."""
    erasure = session.get(Erasure, erasure_id)
    if erasure is None:
        raise ErasureNotFound("There is no such certificate in your projects.")
    actor.require("erasure.read", erasure.project_id, "certificate")
    return erasure


def list_erasures(
    session: Session, actor: Actor, *, project_id: str | None, query: str | None, offset: int, limit: int
) -> tuple[list[Erasure], int]:
    """A page of certificates, newest first."""
    statement = select(Erasure).where(Erasure.project_id.in_(actor.projects("erasure.read", project_id)))
    if query:
        statement = statement.where(func.lower(Erasure.patient_code).contains(query.lower(), autoescape=True))
    total = pagination.count_rows(session, statement)
    page = statement.order_by(Erasure.erased_at.desc(), Erasure.id).offset(offset).limit(limit)
    return list(session.scalars(page)), total
