# SPDX-License-Identifier: Apache-2.0
"""Cases and the moving of images between studies: a case under review keeps its images."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from medhub.audit.service import AuditAct, record
from medhub.errors import Conflict
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.records.models import Image, Study
from medhub.review.models import Case, CaseEvent, Verdict
from medhub.review.service import current_case, open_case


class CaseUnderReview(Conflict):
    """The case of a study is under review."""

    code = "case-begun"
    title = "A case under review keeps its images"


def refuse_moves_under_review(session: Session, study_ids: Collection[str]) -> None:
    """Raise ``CaseUnderReview`` if a case of the studies has a verdict, is signed or is a correction."""
    under_review = or_(
        Case.version > 1,
        Case.signed_at.is_not(None),
        exists().where(Verdict.case_id == Case.id),
        exists().where(CaseEvent.case_id == Case.id, CaseEvent.action != "opened"),
    )
    query = select(Study).join(Case, Case.study_id == Study.id).where(Case.study_id.in_(study_ids), under_review)
    study = session.scalars(query.limit(1)).first()
    if study is not None:
        name = f"“{study.description}”" if study.description else "of these images"
        raise CaseUnderReview(
            f"The case of the study {name} is under review: its images have verdicts. "
            "Withdraw the verdicts, or sign the case as it is. Nothing was moved."
        )


def follow_images(app: AppContext, from_study_id: str, to_study_id: str) -> None:
    """Close the case of a study without images, and open one for a study that got classified images."""
    with app.database.writing() as session:
        study = session.get(Study, from_study_id)
        if study is not None:
            serialize_writers(session, f"patient {study.patient_id}")
            _close_empty_case(session, study)
    with app.database.reading() as session:
        read = select(Image.id).where(Image.study_id == to_study_id, Image.state != "waiting").limit(1)
        needs_case = session.scalar(read) is not None
    if needs_case:
        open_case(app, to_study_id)


def _close_empty_case(session: Session, study: Study) -> None:
    case = current_case(session, study.id)
    if case is None or session.scalar(select(Image.id).where(Image.study_id == study.id).limit(1)) is not None:
        return
    if case.version > 1 or case.signed_at is not None:
        return
    session.delete(case)
    record(
        session,
        AuditAct("case.close", "case", case.id, project_id=case.project_id, patient_id=case.patient_id),
    )
