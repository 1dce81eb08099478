# SPDX-License-Identifier: Apache-2.0
"""What the JSON API sends of predictions and classifiers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from medhub.classification.models import Prediction
from medhub.classification.registry import Installed
from medhub.foundation.http import Moment, Schema
from medhub.science.inference.card import DataSource, LabelFigure, OutOfDistributionSet
from medhub.science.inference.decision import reason_without_instruction


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
            reason=reason_without_instruction(prediction.reason),
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


class FigureOut(Schema):
    """A measured share with its 95 % interval, and the number of images."""

    value: float
    low: float
    high: float
    n: int


class ClassifierOut(Schema):
    """A classifier with the main parts of its card, and the pathways that it reads for."""

    name: str
    version: str
    title: str
    digest: str
    architecture: str
    labels: list[str]
    display_names: dict[str, str]
    licence: str
    figures: dict[str, FigureOut]
    intended_use: str
    not_for: list[str]
    limitations: list[str]
    per_label: list[LabelFigure]
    out_of_distribution: Annotated[list[OutOfDistributionSet], Field(serialization_alias="strangers")]
    data: list[DataSource]
    trained_here: bool
    in_use_on: list[str]
    shadow_on: list[str]

    @classmethod
    def of(
        cls, installed: Installed, *, trained_here: bool, in_use_on: list[str], shadow_on: list[str]
    ) -> ClassifierOut:
        """The classifier as it is sent."""
        card = installed.card
        return cls(
            name=card.name,
            version=str(card.version),
            title=card.title,
            digest=installed.digest,
            architecture=card.architecture,
            labels=list(card.labels),
            display_names=card.display_names(),
            licence=card.licence,
            figures={
                figure.name: FigureOut(value=figure.value, low=figure.low, high=figure.high, n=figure.n)
                for figure in card.figures
            },
            intended_use=card.intended_use,
            not_for=list(card.not_for),
            limitations=list(card.limitations),
            per_label=list(card.per_label),
            out_of_distribution=list(card.out_of_distribution),
            data=list(card.data),
            trained_here=trained_here,
            in_use_on=in_use_on,
            shadow_on=shadow_on,
        )
