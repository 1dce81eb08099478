# SPDX-License-Identifier: Apache-2.0
"""Tables of arrivals: every received file and what became of it, by which profile, and what was done to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

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
    pathway: Mapped[str | None] = mapped_column(String(60))
    outcome: Mapped[str] = mapped_column(String(11))  # accepted, duplicate, quarantined, discarded
    code: Mapped[str | None] = mapped_column(String(40))
    reason: Mapped[str | None] = mapped_column(Text)
    size_bytes: Mapped[int]
    by_id: Mapped[str | None] = mapped_column(String(32))
    by: Mapped[str] = mapped_column(String(120))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    # What could not be accepted, sealed under the patient's key until it expires.
    sealed_bytes: Mapped[str | None] = mapped_column(String(64))
    # Where writing may be in its pixels: frame (from 1), x0, y0, x1, y1; for the person who looks through them.
    boxes: Mapped[list[Any] | None]
    resolved_at: Mapped[datetime | None]
    resolved_by: Mapped[str | None] = mapped_column(String(120))
    note: Mapped[str | None] = mapped_column(Text)


class Receipt(Base):
    """A keyed hash of received bytes, by which the same file is recognized when it comes again."""

    __tablename__ = "receipts"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    received_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    image_id: Mapped[str] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), index=True)


class ProjectProfile(Base):
    """A profile that a project chose; the newest holds, and the older stay, since objects name them."""

    __tablename__ = "project_profiles"
    __table_args__ = (Index("ix_project_profiles_project_id", "project_id", "chosen_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(63))
    version: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of its text
    text: Mapped[str] = mapped_column(Text)
    keep_identity: Mapped[bool] = mapped_column(default=False)  # what files say of the person goes to the vault
    by: Mapped[str] = mapped_column(String(120))
    chosen_at: Mapped[datetime]


class Manifest(Base):
    """What was done to one image before it was written; never a value of what was received."""

    __tablename__ = "manifests"

    image_id: Mapped[str] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), primary_key=True)
    profile: Mapped[str] = mapped_column(String(63))
    profile_version: Mapped[int]
    profile_digest: Mapped[str] = mapped_column(String(64))
    engine: Mapped[str] = mapped_column(String(40))
    lines: Mapped[str] = mapped_column(ForeignKey("manifest_lines.digest"))
    looked_through: Mapped[str] = mapped_column(String(8))  # program, person, no: its pixels
    boxes: Mapped[list[Any]]  # made black: frame (from 1), x0, y0, x1, y1
    kept: Mapped[list[Any]]  # harmless writing that stays, in the same form
    created_at: Mapped[datetime]


class ManifestLines(Base):
    """What was done to which attribute, kept once for all images to which the same was done."""

    __tablename__ = "manifest_lines"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    lines: Mapped[list[Any]]
