# SPDX-License-Identifier: Apache-2.0
"""Erasure of a person, and the certificate that says what went and what had been made of it.

What a patient's data became lies with the capabilities above this one. Each gives a witness, a function that counts
what it holds of a patient; it is asked before the erasure, for the certificate, and after it, when nothing may be left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import NotFound, Unavailable
from medhub.foundation import clock, ids, jobs, pagination
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import after_commit, serialize_writers
from medhub.foundation.events import publish
from medhub.records.events import PatientErased
from medhub.records.models import Erasure, Identity, Image, PatientBlob, Study
from medhub.records.service import destroy_unnamed_blobs, get_patient, remove

ErasureReporter = Callable[[Session, str], Mapping[str, Any]]
"""What is held of a patient: names to numbers, or to lists of facts that name nobody."""


class ErasureNotFound(NotFound):
    """There is no such certificate."""

    code = "erasure-not-found"


def count_held(session: Session, patient_id: str) -> Mapping[str, Any]:
    """What records itself holds of a patient."""
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


def witnessed(session: Session, patient_id: str) -> dict[str, Any]:
    """What all capabilities hold of a patient."""
    witnesses: tuple[ErasureReporter, ...] = session.info.get("witnesses", ())
    found: dict[str, Any] = dict(count_held(session, patient_id))
    for witness in witnesses:
        found |= witness(session, patient_id)
    return found


def erase_patient(session: Session, app: AppContext, actor: Actor, patient_id: str) -> Erasure:
    """Destroy a patient's key, rows and files; what audit and certificate keep of it names nobody."""
    serialize_writers(session, f"patient {patient_id}")
    patient = get_patient(session, actor, patient_id, "patient.erase")
    digests = list(session.scalars(select(PatientBlob.digest).where(PatientBlob.patient_id == patient.id)))
    erasure = Erasure(
        id=ids.new_id(),
        project_id=patient.project_id,
        patient_code=patient.code,
        contents=witnessed(session, patient.id),
        erased_at=clock.now(),
        erased_by_id=actor.user_id or None,
        erased_by=actor.name[:200],
    )
    remove(session, patient)
    session.add(erasure)
    after_commit(session, app.database.truncate_journal)
    publish(session, PatientErased(patient_id=patient_id))
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


def finish(app: AppContext, erasure_id: str, patient_id: str, digests: list[str]) -> None:
    """Destroy the files, look whether anything is left anywhere, and complete the certificate once nothing is."""
    destroy_unnamed_blobs(app, digests)
    with app.database.writing() as session:
        erasure = session.get(Erasure, erasure_id)
        if erasure is None:
            return
        left = {name: value for name, value in witnessed(session, patient_id).items() if value}
        # The same bytes may have come in for somebody else too, whose they stay.
        others = set(session.scalars(select(PatientBlob.digest).where(PatientBlob.digest.in_(digests))))
        files = sum(app.blobs.has(digest) for digest in digests if digest not in others)
        if left or files:
            raise Unavailable("Something of an erased patient is still there.", left=", ".join(sorted(left)))
        erasure.completed_at = clock.now()


def get_erasure(session: Session, actor: Actor, erasure_id: str) -> Erasure:
    """A certificate of a project of the actor's."""
    erasure = session.get(Erasure, erasure_id)
    if erasure is None:
        raise ErasureNotFound("There is no such certificate, or it is not of a project of yours.")
    actor.require("erasure.read", erasure.project_id, "certificate")
    return erasure


def list_erasures(
    session: Session, actor: Actor, *, project_id: str | None, query: str | None, offset: int, limit: int
) -> tuple[list[Erasure], int]:
    """A page of certificates, newest first."""
    chosen = select(Erasure).where(Erasure.project_id.in_(actor.projects("erasure.read", project_id)))
    if query:
        chosen = chosen.where(func.lower(Erasure.patient_code).contains(query.lower(), autoescape=True))
    total = pagination.count_rows(session, chosen)
    page = chosen.order_by(Erasure.erased_at.desc(), Erasure.id).offset(offset).limit(limit)
    return list(session.scalars(page)), total
