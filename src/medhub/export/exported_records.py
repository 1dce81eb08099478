# SPDX-License-Identifier: Apache-2.0
"""The images of an export, and the facts that an export states about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.records.models import Image, Patient, Series, Study
from medhub.science.learning.patient_splits import Part

QUERY_BATCH = 500


@dataclass(frozen=True)
class SelectedImage:
    """An image that a selection contains."""

    image_id: str
    series_id: str
    study_id: str
    patient_id: str
    label: str | None
    part: Part


@dataclass(frozen=True)
class ExportedRecords:
    """The rows of an image, of its series, study and patient: all that an export may state beside the file."""

    image: Image
    series: Series
    study: Study
    patient: Patient


def load_records(session: Session, image_ids: Sequence[str]) -> dict[str, ExportedRecords]:
    """The records of those images that still exist, by image id."""
    records: dict[str, ExportedRecords] = {}
    for start in range(0, len(image_ids), QUERY_BATCH):
        rows: Any = session.execute(
            select(Image, Series, Study, Patient)
            .join(Series, Series.id == Image.series_id)
            .join(Study, Study.id == Image.study_id)
            .join(Patient, Patient.id == Image.patient_id)
            .where(Image.id.in_(image_ids[start : start + QUERY_BATCH]))
        )
        records |= {row[0].id: ExportedRecords(*row) for row in rows}
    return records
