# SPDX-License-Identifier: Apache-2.0
"""Tables of cases, their events and verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from medhub.foundation import clock
from medhub.foundation.database import Base
from medhub.foundation.etags import compute_etag


class Case(Base):
    """A study that moves along a pathway; a correction is a case of the next version that refers to the one before."""

    __tablename__ = "cases"
    __table_args__ = (
        UniqueConstraint("study_id", "version"),
        Index("ix_cases_project_id_stage", "project_id", "stage", "opened_at"),
        Index("ix_cases_patient_id", "patient_id"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    patient_id: Mapped[str] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"))
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    pathway: Mapped[str] = mapped_column(String(60))
    pathway_digest: Mapped[str] = mapped_column(String(64))
    stage: Mapped[str] = mapped_column(String(60))
    version: Mapped[int]
    supersedes_id: Mapped[str | None] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    superseded: Mapped[bool] = mapped_column(default=False)
    correction_reason: Mapped[str | None] = mapped_column(Text)
    opened_at: Mapped[datetime]
    signed_at: Mapped[datetime | None]
    signed_by_id: Mapped[str | None] = mapped_column(String(32))
    signed_by: Mapped[str | None] = mapped_column(String(200))
    signed_role: Mapped[str | None] = mapped_column(String(16))
    sign_note: Mapped[str | None] = mapped_column(Text)


class CaseEvent(Base):
    """An event in the history of a case."""

    __tablename__ = "case_events"
    __table_args__ = (Index("ix_case_events_case_id", "case_id", "id"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"))
    image_id: Mapped[str | None] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime]
    by_id: Mapped[str | None] = mapped_column(String(32))
    by: Mapped[str] = mapped_column(String(200))
    role: Mapped[str | None] = mapped_column(String(16))
    action: Mapped[str] = mapped_column(String(40))
    detail: Mapped[dict[str, Any]]


class Verdict(Base):
    """The verdict of a person on an image in a case."""

    __tablename__ = "verdicts"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), primary_key=True)
    image_id: Mapped[str] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), primary_key=True, index=True)
    label: Mapped[str] = mapped_column(String(100))
    note: Mapped[str | None] = mapped_column(Text)
    by_id: Mapped[str] = mapped_column(String(32))
    by: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]
    agrees: Mapped[bool]  # with the prediction
    prediction_digest: Mapped[str | None] = mapped_column(String(64))  # of the classifier whose prediction was shown


def verdict_etag(case: Case | None, verdict: Verdict | None) -> str:
    """The entity tag of the verdict on an image in the current version of its case."""
    if case is None or verdict is None:
        return compute_etag("no verdict")
    return compute_etag("verdict", case.id, verdict.label, verdict.note, verdict.by_id, clock.iso(verdict.at))


def case_etag(case: Case, verdicts: Iterable[Verdict]) -> str:
    """The entity tag of a case with its verdicts."""
    tags = sorted((verdict.image_id, verdict_etag(case, verdict)) for verdict in verdicts)
    return compute_etag("case", case.id, case.stage, case.superseded, tags)
