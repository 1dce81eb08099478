# SPDX-License-Identifier: Apache-2.0
"""The number of a patient's reports, for the certificate of an erasure."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.reports.models import Report
from medhub.review.models import Case


def count_held(session: Session, patient_id: str) -> dict[str, Any]:
    """Count the issued reports of a patient."""
    reports = select(func.count()).select_from(Report).join(Case, Case.id == Report.case_id)
    return {"reports": session.scalar(reports.where(Case.patient_id == patient_id)) or 0}
