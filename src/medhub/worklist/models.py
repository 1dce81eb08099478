# SPDX-License-Identifier: Apache-2.0
"""Tables of scheduled studies, and of the procedure steps that modalities perform for them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from medhub.foundation.database import Base


class ScheduledStudy(Base):
    """A study that a modality is to make of a patient; its texts are encrypted with the key of the patient."""

    __tablename__ = "scheduled_studies"
    __table_args__ = (
        Index("ix_scheduled_studies_project_id_start", "project_id", "start_date", "start_time"),
        Index("ix_scheduled_studies_study_uid", "study_uid", unique=True),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    patient_id: Mapped[str] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"), index=True)
    study_uid: Mapped[str] = mapped_column(String(64))  # as the modality gets it; stored objects have another
    step_id: Mapped[str] = mapped_column(String(16))
    modality: Mapped[str] = mapped_column(String(16))
    station_ae: Mapped[str] = mapped_column(String(16), default="")  # empty: any station
    start_date: Mapped[str] = mapped_column(String(8))  # YYYYMMDD, local time of the institution, as in DICOM
    start_time: Mapped[str] = mapped_column(String(6))  # HHMMSS
    # scheduled, in-progress, completed, discontinued, canceled
    state: Mapped[str] = mapped_column(String(12))
    sealed_details: Mapped[bytes] = mapped_column(LargeBinary)  # accession number, description, requesting physician
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(120))
    changed_at: Mapped[datetime]


class PerformedStep(Base):
    """A procedure step that a modality reports by MPPS, by a keyed hash of its UID."""

    __tablename__ = "performed_steps"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    uid_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    # None where the step was not scheduled here.
    scheduled_study_id: Mapped[str | None] = mapped_column(
        ForeignKey("scheduled_studies.id", ondelete="CASCADE"), index=True
    )
    state: Mapped[str] = mapped_column(String(12))  # in-progress, completed, discontinued
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
