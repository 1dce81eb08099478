# SPDX-License-Identifier: Apache-2.0
"""What classification holds of a patient, for the certificate of an erasure."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.classification.models import Prediction, ShadowPrediction
from medhub.records.models import Image


def count_held(session: Session, patient_id: str) -> dict[str, Any]:
    """Predictions, evidence maps, and predictions that nobody was shown."""
    shown, shadow = (
        select(func.count())
        .select_from(table)
        .join(Image, Image.id == table.image_id)
        .where(Image.patient_id == patient_id)
        for table in (Prediction, ShadowPrediction)
    )
    return {
        "predictions": session.scalar(shown) or 0,
        "evidence_maps": session.scalar(shown.where(Prediction.evidence.is_not(None))) or 0,
        "shadow_predictions": session.scalar(shadow) or 0,
    }
