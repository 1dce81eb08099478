# SPDX-License-Identifier: Apache-2.0
"""The table of issued reports."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from medhub.foundation.database import Base


class Report(Base):
    """The document issued for a signed case, with and without the identity, encrypted with the patient's key."""

    __tablename__ = "reports"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), primary_key=True)
    issued_at: Mapped[datetime]
    record: Mapped[dict[str, Any]]  # the facts of the report, without identity and pictures
    digest: Mapped[str] = mapped_column(String(64))  # of that record; printed in the last section
    identified_blob: Mapped[str] = mapped_column(String(64))
    plain_blob: Mapped[str] = mapped_column(String(64))
