# SPDX-License-Identifier: Apache-2.0
"""The table of what classifiers said."""

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
        Index("ix_predictions_label", "label"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    image_id: Mapped[str] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
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
