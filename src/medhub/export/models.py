# SPDX-License-Identifier: Apache-2.0
"""Tables of exports, their images, findings and transmissions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from medhub.foundation.database import Base


class Export(Base):
    """A data set that leaves the hub: the order, its progress and its result."""

    __tablename__ = "exports"
    __table_args__ = (
        Index("ix_exports_project_id", "project_id", "created_at"),
        Index("ix_exports_state", "state", "expires_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    form: Mapped[str] = mapped_column(String(8))  # dicom, training, metadata
    picture: Mapped[str | None] = mapped_column(String(4))  # png or jpeg, in a data set for training
    selection: Mapped[str] = mapped_column(String(8))  # project, patients, studies, series, images, search, verdicts
    pathway: Mapped[str | None] = mapped_column(String(60))
    search: Mapped[dict[str, Any] | None] = mapped_column("wanted")  # DICOM keyword to value
    state: Mapped[str] = mapped_column(String(9))  # waiting, looking, blocked, packing, ready, or an end state
    failure: Mapped[str | None] = mapped_column(Text)  # why it did not become ready
    images: Mapped[int]
    patients: Mapped[int]
    scanned: Mapped[int] = mapped_column("looked", default=0)  # images that passed the PHI scan step
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
    """One image of an export; the patient id has no foreign key, so that an erasure still finds the export."""

    __tablename__ = "export_images"
    __table_args__ = (
        Index("ix_export_images_patient_id", "patient_id"),
        Index("ix_export_images_image_id", "image_id"),
    )

    export_id: Mapped[str] = mapped_column(ForeignKey("exports.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[str | None] = mapped_column(ForeignKey("images.id", ondelete="SET NULL"))
    patient_id: Mapped[str] = mapped_column(String(32))
    file: Mapped[str | None] = mapped_column(String(100))  # its neutral path in the ZIP
    label: Mapped[str | None] = mapped_column(String(100))
    part: Mapped[str] = mapped_column(String(5))  # train, val, test
    scanned: Mapped[bool] = mapped_column("looked", default=False)
    excluded: Mapped[bool] = mapped_column(default=False)
    content: Mapped[str | None] = mapped_column(String(64))  # SHA-256 of the scanned file
    study_date: Mapped[str | None] = mapped_column(String(8))  # of the exported header, unless dates were modified


class ExportSending(Base):
    """One transmission of a finished export to a DICOM node, and its progress."""

    __tablename__ = "export_sendings"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    export_id: Mapped[str] = mapped_column(ForeignKey("exports.id", ondelete="CASCADE"), index=True)
    node: Mapped[str] = mapped_column(String(16))  # its AE title
    state: Mapped[str] = mapped_column(String(7))  # waiting, sending, sent, failed
    total: Mapped[int]
    done: Mapped[int] = mapped_column(default=0)
    refused: Mapped[int] = mapped_column(default=0)  # objects that the node rejected
    failure: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(200))
    finished_at: Mapped[datetime | None]


class ExportFinding(Base):
    """A value that identifies, or may identify, a patient; its excerpt is sealed under the patient's key."""

    __tablename__ = "export_findings"
    __table_args__ = (
        Index("ix_export_findings_export_id", "export_id", "state", "mark"),
        Index("ix_export_findings_patient_id", "patient_id"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    export_id: Mapped[str] = mapped_column(ForeignKey("exports.id", ondelete="CASCADE"))
    number: Mapped[int | None]  # of the image; none for an index file of the export
    patient_id: Mapped[str | None] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"))
    location: Mapped[str] = mapped_column("place", String(300))
    kind: Mapped[str] = mapped_column(String(60))
    mark: Mapped[str] = mapped_column(String(64))  # keyed hash, equal for equal values
    sealed_excerpt: Mapped[bytes | None] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(String(8))  # open, cleared, excluded
    note: Mapped[str | None] = mapped_column(Text)
    decided_at: Mapped[datetime | None]
    decided_by_id: Mapped[str | None] = mapped_column(String(32))
    decided_by: Mapped[str | None] = mapped_column(String(200))
