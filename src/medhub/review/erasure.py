# SPDX-License-Identifier: Apache-2.0
"""The number of a patient's cases and verdicts, for the certificate of an erasure."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.review.models import Case, Verdict


def count_held(session: Session, patient_id: str) -> dict[str, Any]:
    """Count the cases and verdicts of a patient."""
    cases = select(func.count()).select_from(Case).where(Case.patient_id == patient_id)
    verdicts = select(func.count()).select_from(Verdict).join(Case, Case.id == Verdict.case_id)
    return {
        "cases": session.scalar(cases) or 0,
        "verdicts": session.scalar(verdicts.where(Case.patient_id == patient_id)) or 0,
    }
