# SPDX-License-Identifier: Apache-2.0
"""Storage and deletion of the blobs that belong to patients."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.foundation import jobs
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.records.models import PatientBlob


def enqueue_blob_deletion(session: Session, digests: list[str]) -> None:
    """Delete blobs in a job, once the rows that refer to them are deleted."""
    if digests:
        jobs.enqueue(session, "destroy-blobs", {"digests": digests})


def delete_unreferenced_blobs(app: AppContext, digests: Sequence[str]) -> None:
    """Delete the files of blobs that no row refers to."""
    with app.database.writing(durable=False) as session:
        serialize_writers(session, "blobs")
        referenced = set(session.scalars(select(PatientBlob.digest).where(PatientBlob.digest.in_(digests))))
        for digest in digests:
            if digest not in referenced:
                app.blobs.delete(digest)


def delete_orphaned_blobs(app: AppContext, *, older_than_s: float = 3600.0) -> int:
    """Delete blobs without a row, left by processes that died between writing the blob and its row."""
    with app.database.reading() as session:
        referenced = set(session.scalars(select(PatientBlob.digest).distinct()))
    orphaned = [digest for digest in app.blobs.digests(older_than_s=older_than_s) if digest not in referenced]
    for start in range(0, len(orphaned), 500):
        delete_unreferenced_blobs(app, orphaned[start : start + 500])
    return len(orphaned)


def store_blob(session: Session, app: AppContext, data: bytes, *, patient_id: str, image_id: str | None = None) -> str:
    """Store bytes derived from a patient's data, so that they are deleted with the patient."""
    # Not while blobs are being deleted: the last row that refers to equal bytes may be deleted at this moment.
    serialize_writers(session, "blobs")
    digest = app.blobs.put(data)
    if session.get(PatientBlob, (digest, patient_id)) is None:
        session.add(PatientBlob(digest=digest, patient_id=patient_id, image_id=image_id))
    return digest


def register_blob(session: Session, app: AppContext, digest: str, *, patient_id: str, image_id: str) -> bool:
    """Refer to a blob that was stored before this transaction; False if it no longer exists."""
    serialize_writers(session, "blobs")
    if not app.blobs.has(digest):
        return False
    if session.get(PatientBlob, (digest, patient_id)) is None:
        session.add(PatientBlob(digest=digest, patient_id=patient_id, image_id=image_id))
    return True
