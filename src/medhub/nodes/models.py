# SPDX-License-Identifier: Apache-2.0
"""The table of DICOM nodes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from medhub.foundation.database import Base


class DicomNode(Base):
    """A remote DICOM application entity that is registered with a project: titles, address and permissions."""

    __tablename__ = "dicom_nodes"
    __table_args__ = (UniqueConstraint("ae_title", "called_ae"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    ae_title: Mapped[str] = mapped_column(String(16))
    called_ae: Mapped[str] = mapped_column(String(16))  # our AE title that the node calls
    host: Mapped[str] = mapped_column(String(255), default="")  # for sending and C-MOVE; empty without an address
    port: Mapped[int] = mapped_column(default=0)
    only_from_host: Mapped[bool] = mapped_column(default=False)
    tls: Mapped[bool] = mapped_column(default=False)
    may_store: Mapped[bool] = mapped_column(default=True)
    may_query: Mapped[bool] = mapped_column(default=False)
    # The node gets the identities of patients for whom a study is scheduled.
    may_read_worklist: Mapped[bool] = mapped_column(default=False, server_default=false())
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(120))
