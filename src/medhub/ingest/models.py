# SPDX-License-Identifier: Apache-2.0
"""The table of arrivals: every received file and what became of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from medhub.foundation.database import Base


class Arrival(Base):
    """One received file; neither its name nor anything it says of a person is kept."""

    __tablename__ = "arrivals"
    __table_args__ = (Index("ix_arrivals_project_id_outcome", "project_id", "outcome", "created_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    patient_id: Mapped[str] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"), index=True)
    image_id: Mapped[str | None] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), index=True)
    outcome: Mapped[str] = mapped_column(String(11))  # accepted, duplicate, quarantined
    code: Mapped[str | None] = mapped_column(String(40))
    reason: Mapped[str | None] = mapped_column(Text)
    size_bytes: Mapped[int]
    by_id: Mapped[str | None] = mapped_column(String(32))
    by: Mapped[str] = mapped_column(String(120))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    # What could not be accepted, sealed under the patient's key until it expires.
    sealed_bytes: Mapped[str | None] = mapped_column(String(64))


class Receipt(Base):
    """A keyed hash of received bytes, by which the same file is recognized when it comes again."""

    __tablename__ = "receipts"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    received_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    image_id: Mapped[str] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), index=True)
