# SPDX-License-Identifier: Apache-2.0
"""Tables of arrivals: every received file and what became of it, by which profile, and what was done to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from medhub.foundation.database import Base, Integer64

Route = Literal["upload", "folder", "stow", "dimse", "watch", "command"]


class Arrival(Base):
    """One received file; neither its name nor anything it says of a person is kept."""

    __tablename__ = "arrivals"
    __table_args__ = (
        Index("ix_arrivals_project_id_outcome", "project_id", "outcome", "created_at"),
        Index("ix_arrivals_instance_hash", "instance_hash"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    # None where nobody has said yet whose it is.
    patient_id: Mapped[str | None] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"), index=True)
    image_id: Mapped[str | None] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), index=True)
    # By which way it came (upload, folder, stow, dimse, watch, command), and from which application entity.
    route: Mapped[Route] = mapped_column(String(10), default="upload")
    peer: Mapped[str | None] = mapped_column(String(64))
    # Patients for whom it may be, where what it says of its patient does not fit what is known.
    candidates: Mapped[list[str] | None]
    pathway: Mapped[str | None] = mapped_column(String(60))
    outcome: Mapped[str] = mapped_column(String(11))  # accepted, duplicate, quarantined, discarded
    code: Mapped[str | None] = mapped_column(String(40))
    reason: Mapped[str | None] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(Integer64)
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
    # A keyed hash of the SOP Instance UID that it came with, by which its sender asks what became of it.
    instance_hash: Mapped[str | None] = mapped_column(String(64))


class Receipt(Base):
    """A keyed hash of received bytes, by which the same file is recognized when it comes again."""

    __tablename__ = "receipts"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    received_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    image_id: Mapped[str] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), index=True)


class IngestSettings(Base):
    """How a project takes in files that name their patient themselves, and by what it is searched."""

    __tablename__ = "archive_settings"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    duplicates: Mapped[str] = mapped_column(String(8), default="keep")  # keep, replace, changed
    settle_s: Mapped[int] = mapped_column(default=60)
    # Which pathway a study of a modality goes along: modality -> name; "*" for all others.
    pathways: Mapped[dict[str, Any]]
    # Keywords of attributes that are searched beside the usual ones.
    attributes: Mapped[list[str]]
    # How far the images that are here already have been searched for them.
    index_total: Mapped[int] = mapped_column(default=0)
    index_done: Mapped[int] = mapped_column(default=0)
    index_state: Mapped[str] = mapped_column(String(8), default="done")  # running, done
    index_turn: Mapped[int] = mapped_column(default=0)  # a later change of the settings ends the indexing before it
    changed_at: Mapped[datetime]
    changed_by: Mapped[str] = mapped_column(String(120))


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
