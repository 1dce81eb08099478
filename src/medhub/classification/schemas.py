# SPDX-License-Identifier: Apache-2.0
"""What the JSON API sends of predictions and classifiers."""

from __future__ import annotations

from typing import Any

from medhub.classification.models import Prediction
from medhub.foundation.http import Moment, Schema


class PredictionOut(Schema):
    """What a classifier said of an image; ``label`` is "Uncertain" where it abstained."""

    classifier: str
    version: str
    digest: str
    label: str
    uncertain: bool
    reason: str | None
    likeliest: str
    confidence: float
    threshold: float
    probabilities: dict[str, float]
    novelty: float
    novel: bool
    milliseconds: float
    evidence: bool
    created_at: Moment

    @classmethod
    def of(cls, prediction: Prediction) -> PredictionOut:
        """The prediction as it is sent."""
        return cls(
            classifier=prediction.classifier,
            version=prediction.version,
            digest=prediction.digest,
            label=prediction.label,
            uncertain=prediction.uncertain,
            reason=prediction.reason,
            likeliest=prediction.likeliest,
            confidence=prediction.confidence,
            threshold=prediction.threshold,
            probabilities=prediction.probabilities,
            novelty=prediction.novelty,
            novel=prediction.novel,
            milliseconds=prediction.milliseconds,
            evidence=prediction.evidence is not None,
            created_at=prediction.created_at,
        )


class ClassifierOut(Schema):
    """A classifier, with what its card says."""

    name: str
    version: str
    title: str
    digest: str
    architecture: str
    labels: list[str]
    licence: str
    figures: dict[str, Any]
    intended_use: str
    not_for: list[str]
    limitations: list[str]
    per_label: list[dict[str, Any]]
    strangers: list[dict[str, Any]]
    data: list[dict[str, Any]]
    trained_here: bool
    in_use_on: list[str]
    shadow_on: list[str]
