# SPDX-License-Identifier: Apache-2.0
"""The figures of a measurement with their confidence intervals, and their JSON form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medhub.science.inference.card import ModelCard
from medhub.science.learning import metrics
from medhub.science.learning.abstention import curve
from medhub.science.learning.measurement import Measurement
from medhub.science.learning.metrics import Interval

ANSWERED = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)
INTERVAL = "bootstrap over groups, 95 %, 1,000 draws"


@dataclass(frozen=True)
class Results:
    """All figures of a measurement.

    Attributes
    ----------
    n
        Number of images.
    sources
        Accuracy by source.
    ece
        Expected calibration error.
    answered
        Coverage: the share of images for which the classifier does not abstain.
    answered_accuracy
        Accuracy on the answered images; none if it abstains from all of them.
    novel
        Share of images whose novelty score exceeds the limit.
    curve
        Pairs of coverage and selective accuracy.
    confusion
        C x C, true label by predicted label.
    """

    n: int
    accuracy: Interval
    balanced_accuracy: Interval
    per_label: tuple[metrics.PerLabel, ...]
    sources: dict[str, Interval]
    ece: float
    answered: Interval
    answered_accuracy: Interval | None
    novel: Interval
    curve: list[tuple[float, float]]
    confusion: NDArray[np.int64]


def compute_results(measurement: Measurement, draws: int = metrics.DRAWS) -> Results:
    """Compute the figures of a measurement.

    Parameters
    ----------
    measurement
        Predictions for labeled images.
    draws
        Number of bootstrap samples.

    Returns
    -------
    Results
    """
    weights = metrics.draw_groups([row.group for row in measurement.rows], draws)
    correct, answered, n = measurement.correct, measurement.answered, len(measurement.targets)
    sources = sorted({row.source for row in measurement.rows} - {""})

    def share(part: NDArray[np.bool_], of: NDArray[np.bool_]) -> Interval:
        return metrics.share(part, of, weights)

    everything = np.ones(n, bool)
    return Results(
        n=n,
        accuracy=share(correct, everything),
        balanced_accuracy=metrics.balanced_accuracy(
            measurement.predicted, measurement.targets, len(measurement.labels), weights
        ),
        per_label=metrics.per_label(measurement.predictions.probabilities, measurement.targets, weights),
        sources={
            source: share(correct, np.array([row.source == source for row in measurement.rows])) for source in sources
        },
        ece=metrics.calibration_error(measurement.predictions.probabilities, measurement.targets),
        answered=share(answered, everything),
        answered_accuracy=share(correct, answered) if answered.any() else None,
        novel=share(measurement.predictions.novel, everything),
        curve=curve(measurement.predictions.confidence, correct, ANSWERED),
        confusion=metrics.confusion(measurement.predicted, measurement.targets, len(measurement.labels)),
    )


def as_json(measurement: Measurement, results: Results, card: ModelCard, digest: str) -> dict[str, Any]:
    """Convert the figures to the JSON of ``medhub evaluate --json``; undefined values are null."""
    return {
        "classifier": card.name,
        "version": card.version,
        "digest": digest,
        "n": results.n,
        "labels": list(measurement.labels),
        "accuracy": _ranged(results.accuracy),
        "balanced_accuracy": _ranged(results.balanced_accuracy),
        "per_class": {
            label: {
                "n": figure.n,
                **{
                    name: _ranged(getattr(figure, name))
                    for name in ("sensitivity", "specificity", "precision", "f1", "auroc", "auprc")
                },
            }
            for label, figure in zip(measurement.labels, results.per_label, strict=True)
        },
        "per_source": {name: {"n": figure.n, **_ranged(figure)} for name, figure in results.sources.items()},
        "ece": round(results.ece, 6),
        "answered": {
            "threshold": measurement.threshold,
            "share": _number(results.answered.value),
            "share_interval": _ranged(results.answered),
            "accuracy": None if results.answered_accuracy is None else _number(results.answered_accuracy.value),
            "accuracy_interval": None if results.answered_accuracy is None else _ranged(results.answered_accuracy),
        },
        "unlike_training_data": _ranged(results.novel),
        "curve": [{"answered": share, "accuracy": round(value, 6)} for share, value in results.curve],
        "confusion": {"labels": list(measurement.labels), "rows": results.confusion.tolist()},
        "interval": INTERVAL,
        "left_out": measurement.left_out,
        "unreadable": list(measurement.unreadable),
    }


def _ranged(interval: Interval) -> dict[str, float | None]:
    return {"value": _number(interval.value), "low": _number(interval.low), "high": _number(interval.high)}


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
