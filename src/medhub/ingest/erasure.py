# SPDX-License-Identifier: Apache-2.0
"""What ingest holds of a patient, for the certificate of an erasure."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.ingest.models import Arrival, Manifest, Receipt
from medhub.records.models import Image


def held_of(session: Session, patient_id: str) -> dict[str, Any]:
    """Arrivals, files that wait in quarantine, receipts and manifests."""
    arrivals = select(func.count()).select_from(Arrival).where(Arrival.patient_id == patient_id)
    of_images = [
        select(func.count())
        .select_from(table)
        .join(Image, Image.id == table.image_id)
        .where(Image.patient_id == patient_id)
        for table in (Receipt, Manifest)
    ]
    names = ("arrivals", "quarantined_files", "receipts", "manifests")
    chosen = (arrivals, arrivals.where(Arrival.sealed_bytes.is_not(None)), *of_images)
    return {name: session.scalar(one) or 0 for name, one in zip(names, chosen, strict=True)}
