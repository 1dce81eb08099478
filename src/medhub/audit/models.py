# SPDX-License-Identifier: Apache-2.0
"""The table of audit entries, each chained to the one before it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from medhub.foundation.database import Base, Integer64


class AuditEntry(Base):
    """An act with person, object, time, origin and outcome; never an identity."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("ix_audit_entries_patient_id", "patient_id", "seq"),
        Index("ix_audit_entries_actor_id", "actor_id", "seq"),
        Index("ix_audit_entries_project_id", "project_id", "seq"),
        Index("ix_audit_entries_action", "action", "seq"),
    )

    seq: Mapped[int] = mapped_column(Integer64, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor_id: Mapped[str | None] = mapped_column(String(32))
    actor: Mapped[str] = mapped_column(
        String(120)
    )  # name of the account at that time, or the component of Medhub that acted
    action: Mapped[str] = mapped_column(String(40))
    object_type: Mapped[str] = mapped_column(String(24))
    object_id: Mapped[str | None] = mapped_column(String(64))
    project_id: Mapped[str | None] = mapped_column(String(32))
    patient_id: Mapped[str | None] = mapped_column(String(32))
    origin: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[str] = mapped_column(String(12))  # done, refused
    detail: Mapped[dict[str, Any]]
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
