# SPDX-License-Identifier: Apache-2.0
"""The figures of a measurement in the form in which a model card holds them."""

from __future__ import annotations

import math
from typing import Any

from medhub.science.inference.card import CurvePoint, Figure, LabelFigure, Measure, ModelCard, SourceFigure
from medhub.science.learning import metrics
from medhub.science.learning.evaluation import INTERVAL, Results
from medhub.science.learning.measurement import Measurement
from medhub.science.learning.metrics import Interval

COMMAND = "medhub evaluate models/{name} --data DATA.csv --recipe RECIPE"


def card_parts(measurement: Measurement, results: Results, command: str) -> dict[str, Any]:
    """Convert the figures of a measurement into fields of ``ModelCard``.

    Parameters
    ----------
    measurement
        Predictions for the test images.
    results
        The figures of the measurement.
    command
        The command that prints the figures again.

    Returns
    -------
    dict[str, Any]
        Values by the names of the fields.
    """
    figures = [
        make_figure("accuracy on the test images", results.accuracy, command),
        make_figure("balanced accuracy on the test images", results.balanced_accuracy, command),
        make_figure(f"test images that get a label at {measurement.threshold:.4g}", results.answered, command),
        make_figure("test images taken for unlike the training data", results.novel, command),
    ]
    if results.answered_accuracy is not None:
        name = f"accuracy where a label is said at {measurement.threshold:.4g}"
        figures.append(make_figure(name, results.answered_accuracy, command))
    return {
        "figures": tuple(figures),
        "measures": (
            Measure(
                name="expected calibration error, 15 bins, test images",
                value=round(results.ece, 4),
                n=results.n,
                command=command,
            ),
        ),
        "per_label": tuple(
            _label_figure(label, figure) for label, figure in zip(measurement.labels, results.per_label, strict=True)
        ),
        "sources": tuple(
            SourceFigure(source=name, n=figure.n, accuracy=_estimate(figure))
            for name, figure in results.sources.items()
        ),
        "curve": tuple(CurvePoint(answered=share, accuracy=round(value, 4)) for share, value in results.curve),
        "confusion": tuple(tuple(int(value) for value in line) for line in results.confusion),
    }


def make_figure(name: str, interval: Interval, command: str) -> Figure:
    """Make the card's entry for a share with its confidence interval."""
    value, low, high = _estimate(interval)
    return Figure(name=name, value=value, low=low, high=high, n=interval.n, interval=INTERVAL, command=command)


def list_differences(card: ModelCard, parts: dict[str, Any]) -> list[str]:
    """List the fields in which a card differs from a measurement, as sentences."""
    return [
        f"The card's {ModelCard.model_fields[name].alias or name} differ from what was measured."
        for name, value in parts.items()
        if getattr(card, name) != value
    ]


def _label_figure(label: str, metrics_of_label: metrics.PerLabel) -> LabelFigure:
    precision = (
        metrics_of_label.precision
        if math.isfinite(metrics_of_label.precision.value)
        else Interval(0.0, 0.0, 0.0, metrics_of_label.precision.n)
    )
    sensitivity = _estimate(metrics_of_label.sensitivity) if metrics_of_label.n else (0.0, 0.0, 0.0)
    return LabelFigure(
        label=label,
        n=metrics_of_label.n,
        recall=sensitivity[0],
        precision=_estimate(precision)[0],
        recall_interval=sensitivity[1:] if metrics_of_label.n else None,
        precision_interval=_estimate(precision)[1:],
        specificity=_finite_estimate(metrics_of_label.specificity),
        f1=_finite_estimate(metrics_of_label.f1),
        auroc=_finite_estimate(metrics_of_label.auroc),
        auprc=_finite_estimate(metrics_of_label.auprc),
    )


def _finite_estimate(interval: Interval) -> tuple[float, float, float] | None:
    return _estimate(interval) if math.isfinite(interval.value) else None


def _estimate(interval: Interval) -> tuple[float, float, float]:
    return round(interval.value, 4), round(interval.low, 4), round(interval.high, 4)
