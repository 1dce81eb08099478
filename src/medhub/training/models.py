# SPDX-License-Identifier: Apache-2.0
"""Tables of data-set versions, of trainings, and of promotions with the limits that were fixed for them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from medhub.foundation.database import Base


class DataSet(Base):
    """One version of a data set; what was written once does not change, only an erased patient's rows are emptied."""

    __tablename__ = "datasets"
    __table_args__ = (
        UniqueConstraint("project_id", "name", "version"),
        Index("ix_datasets_project_id", "project_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(String(100))
    version: Mapped[int]
    origin: Mapped[str] = mapped_column(String(8))  # verdicts, uploaded
    pathway: Mapped[str | None] = mapped_column(String(60))
    digest: Mapped[str] = mapped_column(String(64))  # of all rows as they were made
    images: Mapped[int]
    counts: Mapped[dict[str, Any]]  # label to part to number of images
    left_out: Mapped[dict[str, Any]]  # reason to number of images
    created_at: Mapped[datetime]
    created_by_id: Mapped[str] = mapped_column(String(32))
    created_by: Mapped[str] = mapped_column(String(200))


class DataSetRow(Base):
    """One labeled image of a version. Once its patient is erased, what is left names neither image nor patient."""

    __tablename__ = "dataset_rows"
    __table_args__ = (
        Index("ix_dataset_rows_case_id", "case_id"),
        Index("ix_dataset_rows_image_id", "image_id"),
        Index("ix_dataset_rows_patient_id", "patient_id"),
    )

    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[str | None] = mapped_column(ForeignKey("images.id", ondelete="SET NULL"))
    patient_id: Mapped[str | None] = mapped_column(ForeignKey("patients.id", ondelete="SET NULL"))
    content: Mapped[str | None] = mapped_column(String(64))  # of an uploaded image: digest of its stored picture
    group_key: Mapped[str | None] = mapped_column(String(32))  # of an uploaded image: keyed hash
    label: Mapped[str] = mapped_column(String(100))
    part: Mapped[str] = mapped_column(String(5))  # train, val, test
    # Where the label comes from: of uploaded images nothing but who uploaded them, which the version says.
    case_id: Mapped[str | None] = mapped_column(ForeignKey("cases.id", ondelete="SET NULL"))
    case_version: Mapped[int | None]
    labeled_by: Mapped[str | None] = mapped_column("said_by", String(200))
    labeled_at: Mapped[datetime | None] = mapped_column("said_at")


class TrainingRun(Base):
    """One training: what it was asked for, how far it is, and what came of it."""

    __tablename__ = "training_runs"
    __table_args__ = (
        Index("ix_training_runs_project_id", "project_id", "created_at"),
        Index("ix_training_runs_digest", "digest"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    name: Mapped[str] = mapped_column(String(63))
    recipe: Mapped[str] = mapped_column(String(100))  # name of a recipe that ships, or empty
    recipe_text: Mapped[str | None] = mapped_column(Text)
    init: Mapped[str | None] = mapped_column(String(200))
    overrule: Mapped[str | None] = mapped_column(Text)  # why a leak between the parts is accepted
    state: Mapped[str] = mapped_column(String(8))  # waiting, running, stopped, failed, done
    stop_asked: Mapped[bool] = mapped_column(default=False)
    stage: Mapped[str | None] = mapped_column(String(40))
    step: Mapped[int | None]
    steps: Mapped[int | None]
    eta_s: Mapped[float | None]
    epochs: Mapped[dict[str, Any]]  # {"curve": [...]}
    failure: Mapped[str | None] = mapped_column(Text)
    classifier: Mapped[str | None] = mapped_column(String(100))
    digest: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime]
    created_by_id: Mapped[str] = mapped_column(String(32))
    created_by: Mapped[str] = mapped_column(String(200))
    started_at: Mapped[datetime | None]
    heard_at: Mapped[datetime | None]  # when the trainer last said something
    finished_at: Mapped[datetime | None]


class PromotionLimits(Base):
    """What a classifier must keep before it may be taken into use on a pathway in a project."""

    __tablename__ = "promotion_limits"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    pathway: Mapped[str] = mapped_column(String(60), primary_key=True)
    margin: Mapped[float]  # by how much its balanced accuracy may lie below that of the one in use
    ece: Mapped[float]
    abstention: Mapped[float]
    images: Mapped[int]
    changed_at: Mapped[datetime]
    changed_by_id: Mapped[str] = mapped_column(String(32))
    changed_by: Mapped[str] = mapped_column(String(200))


class Promotion(Base):
    """A person's request to take a classifier into use, and another person's answer."""

    __tablename__ = "promotions"
    __table_args__ = (Index("ix_promotions_pathway", "project_id", "pathway", "requested_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    pathway: Mapped[str] = mapped_column(String(60))
    classifier: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(String(64))
    replaces: Mapped[str] = mapped_column(String(64))  # digest of the one in use when it was requested
    margin: Mapped[float]
    state: Mapped[str] = mapped_column(String(8))  # waiting, approved, rejected
    evidence: Mapped[dict[str, Any]]  # the limits and what was measured, at the request and at the decision
    requested_at: Mapped[datetime]
    requested_by_id: Mapped[str] = mapped_column(String(32))
    requested_by: Mapped[str] = mapped_column(String(200))
    decided_at: Mapped[datetime | None]
    decided_by_id: Mapped[str | None] = mapped_column(String(32))
    decided_by: Mapped[str | None] = mapped_column(String(200))
    reason: Mapped[str | None] = mapped_column(Text)
