# SPDX-License-Identifier: Apache-2.0
"""What ingest holds of a patient, for the certificate of an erasure."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.ingest.models import Arrival, Manifest, Receipt
from medhub.ingest.quarantine import destroy_sealed
from medhub.records.models import Image


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
    return {"files_that_may_be_theirs": candidates} | {
        name: session.scalar(query) or 0 for name, query in zip(names, queries, strict=True)
    }


def candidate_arrivals(session: Session, patient_id: str) -> list[Arrival]:
    """Quarantined files without a patient that may belong to this patient."""
    query = select(Arrival).where(Arrival.patient_id.is_(None), Arrival.sealed_bytes.is_not(None))
    return [arrival for arrival in session.scalars(query) if patient_id in (arrival.candidates or ())]


def destroy_claimed(app: AppContext, patient_id: str) -> None:
    """Destroy quarantined files that may belong to an erased patient: they can no longer be assigned to another."""
    with app.database.writing() as session:
        for arrival in candidate_arrivals(session, patient_id):
            destroy_sealed(session, [arrival])
            arrival.outcome, arrival.note = "discarded", "The patient whose it may have been was erased."
            arrival.resolved_at, arrival.candidates = clock.now(), None
