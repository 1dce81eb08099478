# SPDX-License-Identifier: Apache-2.0
"""Tables of exports, of the images in them, and of what the last look found."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from medhub.foundation.database import Base


class Export(Base):
    """A data set on its way out: what was ordered, how far it is, and what became of it."""

    __tablename__ = "exports"
    __table_args__ = (
        Index("ix_exports_project_id", "project_id", "created_at"),
        Index("ix_exports_state", "state", "expires_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    form: Mapped[str] = mapped_column(String(8))  # dicom, training, metadata
    picture: Mapped[str | None] = mapped_column(String(4))  # png, jpeg: of a data set for training
    selection: Mapped[str] = mapped_column(String(8))  # project, patients, studies, series, images, search, verdicts
    pathway: Mapped[str | None] = mapped_column(String(60))
    wanted: Mapped[dict[str, Any] | None]  # of a search: DICOM keyword to value, as it was asked
    state: Mapped[str] = mapped_column(String(9))  # waiting, looking, blocked, packing, ready, and how it ended
    failure: Mapped[str | None] = mapped_column(Text)  # why it ended otherwise than ready
    images: Mapped[int]
    patients: Mapped[int]
    looked: Mapped[int] = mapped_column(default=0)
    left_out: Mapped[dict[str, Any]]  # reason to number of images
    anonymity: Mapped[dict[str, Any] | None]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    digest: Mapped[str | None] = mapped_column(String(64))  # SHA-256 of the packed file
    created_at: Mapped[datetime]
    created_by_id: Mapped[str] = mapped_column(String(32))
    created_by: Mapped[str] = mapped_column(String(200))
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]


class ExportImage(Base):
    """One image of an export; its patient is named without a reference, so that an erasure finds the export."""

    __tablename__ = "export_images"
    __table_args__ = (
        Index("ix_export_images_patient_id", "patient_id"),
        Index("ix_export_images_image_id", "image_id"),
    )

    export_id: Mapped[str] = mapped_column(ForeignKey("exports.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[str | None] = mapped_column(ForeignKey("images.id", ondelete="SET NULL"))
    patient_id: Mapped[str] = mapped_column(String(32))
    file: Mapped[str | None] = mapped_column(String(100))  # its neutral name in what leaves
    label: Mapped[str | None] = mapped_column(String(100))
    part: Mapped[str] = mapped_column(String(5))  # train, val, test
    looked: Mapped[bool] = mapped_column(default=False)
    excluded: Mapped[bool] = mapped_column(default=False)
    content: Mapped[str | None] = mapped_column(String(64))  # SHA-256 of the file that was looked at
    study_date: Mapped[str | None] = mapped_column(String(8))  # of the header that leaves, unless it was moved


class ExportSending(Base):
    """One time that a finished export was sent to a DICOM node, and how far it came."""

    __tablename__ = "export_sendings"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    export_id: Mapped[str] = mapped_column(ForeignKey("exports.id", ondelete="CASCADE"), index=True)
    node: Mapped[str] = mapped_column(String(16))  # its AE title
    state: Mapped[str] = mapped_column(String(7))  # waiting, sending, sent, failed
    total: Mapped[int]
    done: Mapped[int] = mapped_column(default=0)
    refused: Mapped[int] = mapped_column(default=0)  # objects that the node did not take
    failure: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(200))
    finished_at: Mapped[datetime | None]


class ExportFinding(Base):
    """Something that says, or may say, who somebody is; what it says is sealed under the patient's key."""

    __tablename__ = "export_findings"
    __table_args__ = (
        Index("ix_export_findings_export_id", "export_id", "state", "mark"),
        Index("ix_export_findings_patient_id", "patient_id"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    export_id: Mapped[str] = mapped_column(ForeignKey("exports.id", ondelete="CASCADE"))
    number: Mapped[int | None]  # of the image; none for what describes the whole
    patient_id: Mapped[str | None] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"))
    place: Mapped[str] = mapped_column(String(300))
    kind: Mapped[str] = mapped_column(String(60))
    mark: Mapped[str] = mapped_column(String(64))  # keyed hash of kind and value, by which the same is recognized
    sealed_excerpt: Mapped[bytes | None] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(String(8))  # open, cleared, excluded
    note: Mapped[str | None] = mapped_column(Text)
    decided_at: Mapped[datetime | None]
    decided_by_id: Mapped[str | None] = mapped_column(String(32))
    decided_by: Mapped[str | None] = mapped_column(String(200))
