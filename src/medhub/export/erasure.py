# SPDX-License-Identifier: Apache-2.0
"""The number of exports with images of a patient, for the certificate of an erasure."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.export.models import ExportImage


def count_held(session: Session, patient_id: str) -> dict[str, Any]:
    """Exports that contain, or contained, images of a patient."""
    exports = select(func.count(func.distinct(ExportImage.export_id))).where(ExportImage.patient_id == patient_id)
    return {"exports": session.scalar(exports) or 0}
