# SPDX-License-Identifier: Apache-2.0
"""Tables of what classifiers said, and of which classifier reads the images of which pathway."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from medhub.foundation.database import Base


class Prediction(Base):
    """What one classifier said of one image; a classifier of another digest says anew."""

    __tablename__ = "predictions"
    __table_args__ = (
        UniqueConstraint("image_id", "digest"),
        Index("ix_predictions_digest", "digest"),
        Index("ix_predictions_label", "project_id", "label", "imaged_at", "image_id"),
        Index("ix_predictions_uncertain", "project_id", "uncertain", "imaged_at", "image_id"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    image_id: Mapped[str] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    # Of the image, which keeps both, so that images are counted and put in order by what was said of them alone.
    project_id: Mapped[str] = mapped_column(String(32))
    imaged_at: Mapped[datetime]
    classifier: Mapped[str] = mapped_column(String(100))
    version: Mapped[str] = mapped_column(String(40))
    digest: Mapped[str] = mapped_column(String(64))
    label: Mapped[str] = mapped_column(String(100))
    uncertain: Mapped[bool]
    reason: Mapped[str | None] = mapped_column(Text)
    likeliest: Mapped[str] = mapped_column(String(100))
    confidence: Mapped[float]
    threshold: Mapped[float]
    probabilities: Mapped[dict[str, Any]]
    novelty: Mapped[float]
    novel: Mapped[bool]
    milliseconds: Mapped[float]
    evidence: Mapped[str | None] = mapped_column(String(64))  # blob: an 8-bit grey PNG of the size of the feature map
    created_at: Mapped[datetime]


class ShadowPrediction(Base):
    """What a classifier in the shadow said of an image; no list, report or queue reads it."""

    __tablename__ = "shadow_predictions"
    __table_args__ = (
        UniqueConstraint("image_id", "digest"),
        Index("ix_shadow_predictions_digest", "digest"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    image_id: Mapped[str] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    classifier: Mapped[str] = mapped_column(String(100))
    version: Mapped[str] = mapped_column(String(40))
    digest: Mapped[str] = mapped_column(String(64))
    label: Mapped[str] = mapped_column(String(100))
    uncertain: Mapped[bool]
    likeliest: Mapped[str] = mapped_column(String(100))
    confidence: Mapped[float]
    threshold: Mapped[float]
    probabilities: Mapped[dict[str, Any]]
    novelty: Mapped[float]
    novel: Mapped[bool]
    milliseconds: Mapped[float]
    created_at: Mapped[datetime]


class Appointment(Base):
    """From when until when a classifier read the images of a pathway in a project, in use or in the shadow; by whom."""

    __tablename__ = "appointments"
    __table_args__ = (Index("ix_appointments_pathway", "project_id", "pathway", "part", "until"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    pathway: Mapped[str] = mapped_column(String(60))
    part: Mapped[str] = mapped_column(String(8))  # in use, shadow
    classifier: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(String(64))
    since: Mapped[datetime]
    until: Mapped[datetime | None]
    by_id: Mapped[str] = mapped_column(String(32))
    by: Mapped[str] = mapped_column(String(200))
    # The one before it, to which it is rolled back; none where the pathway's own classifier was in use.
    replaces_id: Mapped[str | None] = mapped_column(ForeignKey("appointments.id"))
