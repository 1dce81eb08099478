# SPDX-License-Identifier: Apache-2.0
"""Measuring a classifier as it ships: the folder's own files, through the code that serves, without torch."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from medhub.errors import Invalid
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.inference.card import (
    CurvePoint,
    Figure,
    LabelFigure,
    Measure,
    ModelCard,
    OutOfDistributionSet,
    SourceFigure,
)
from medhub.science.inference.classifier import Classifier
from medhub.science.learning import metrics
from medhub.science.learning.abstention import curve
from medhub.science.learning.dataset import ListingRow, read_image
from medhub.science.learning.metrics import Interval
from medhub.science.learning.out_of_distribution import generated, stored
from medhub.science.learning.recipe import OutOfDistributionRecipe

THRESHOLD = 0.75
GENERATED_OF_EACH_KIND = 50
ANSWERED = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)
INTERVAL = "bootstrap over groups, 95 %, 1,000 draws"
COMMAND = "medhub evaluate models/{name} --data DATA.csv --recipe RECIPE"

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Readings:
    """What a classifier read in N images.

    Attributes
    ----------
    probabilities
        N x C, in the order of the card's labels.
    novelty, novel
        N distances, and whether each is above the card's limit.
    """

    probabilities: NDArray[np.float64]
    novelty: NDArray[np.float64]
    novel: NDArray[np.bool_]

    @property
    def confidence(self) -> NDArray[np.float64]:
        """N: probability of the likeliest label, 0 where the image is unlike the training data."""
        confidence: NDArray[np.float64] = np.where(self.novel, 0.0, self.probabilities.max(1))
        return confidence


@dataclass(frozen=True)
class Measurement:
    """A classifier on images whose labels are known.

    Attributes
    ----------
    rows
        The images that could be read and whose label the classifier knows.
    targets
        N indices into the card's labels.
    left_out
        Labels that the classifier does not know, and how many images have each.
    unreadable
        Files that are no images.
    threshold
        Least confidence with which a label is said.
    """

    rows: tuple[ListingRow, ...]
    readings: Readings
    targets: NDArray[np.int64]
    labels: tuple[str, ...]
    left_out: dict[str, int]
    unreadable: tuple[str, ...]
    threshold: float

    @property
    def predicted(self) -> NDArray[np.int64]:
        """N indices of the likeliest labels."""
        indices: NDArray[np.int64] = self.readings.probabilities.argmax(1).astype(np.int64)
        return indices

    @property
    def right(self) -> NDArray[np.bool_]:
        """N: whether the likeliest label is right."""
        matches: NDArray[np.bool_] = self.predicted == self.targets
        return matches

    @property
    def answered(self) -> NDArray[np.bool_]:
        """N: whether a label is said."""
        answered: NDArray[np.bool_] = self.readings.confidence >= self.threshold
        return answered


def read_images(classifier: Classifier, images: Iterable[Picture]) -> Readings:
    """Read images with a classifier."""
    outputs = [classifier.classify(image) for image in images]
    return Readings(
        np.array([list(output.probabilities.values()) for output in outputs]).reshape(len(outputs), -1),
        np.array([output.novelty for output in outputs], np.float64),
        np.array([output.novel for output in outputs], bool),
    )


def limit_of(card: ModelCard, threshold: float | None = None) -> float:
    """The least confidence with which a label is said: the one given, the learned one, or 0.75."""
    if threshold is not None:
        return threshold
    return card.abstention.threshold if card.abstention is not None else THRESHOLD


def measure(
    classifier: Classifier,
    rows: Sequence[ListingRow],
    threshold: float | None = None,
    change: Callable[[Picture], Picture] = lambda image: image,
    done: Callable[[], None] = lambda: None,
) -> Measurement:
    """Read images whose labels are known.

    Parameters
    ----------
    classifier
        As it ships.
    rows
        The images.
    threshold
        Least confidence with which a label is said; see ``limit_of``.
    change
        Done to each image first.
    done
        Called after each image.

    Returns
    -------
    Measurement

    Raises
    ------
    Invalid
        No image is left to measure with.
    """
    labels = classifier.card.labels
    left_out: dict[str, int] = {}
    unreadable: list[str] = []
    readable: list[ListingRow] = []
    readings: list[Readings] = []
    for row in rows:
        if row.label not in labels:
            left_out[row.label] = left_out.get(row.label, 0) + 1
            continue
        try:
            readings.append(read_images(classifier, [change(read_image(row.path))]))
            readable.append(row)
        except (Unacceptable, OSError):
            unreadable.append(row.name)
        done()
    if not readable:
        raise Invalid(
            f"No image is left to measure with: {len(unreadable)} cannot be read, and {sum(left_out.values())} have "
            f"labels that the classifier does not know. It knows {', '.join(labels)}."
        )
    return Measurement(
        rows=tuple(readable),
        readings=Readings(
            np.concatenate([reading.probabilities for reading in readings]),
            np.concatenate([reading.novelty for reading in readings]),
            np.concatenate([reading.novel for reading in readings]),
        ),
        targets=np.array([labels.index(row.label) for row in readable], np.int64),
        labels=labels,
        left_out=left_out,
        unreadable=tuple(unreadable),
        threshold=limit_of(classifier.card, threshold),
    )


@dataclass(frozen=True)
class Results:
    """All figures of a measurement, with their intervals."""

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
    """Compute every figure of a measurement."""
    weights = metrics.draw_groups([row.group for row in measurement.rows], draws)
    correct, answered, n = measurement.right, measurement.answered, len(measurement.targets)
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
        per_label=metrics.per_label(measurement.readings.probabilities, measurement.targets, weights),
        sources={
            source: share(correct, np.array([row.source == source for row in measurement.rows])) for source in sources
        },
        ece=metrics.calibration_error(measurement.readings.probabilities, measurement.targets),
        answered=share(answered, everything),
        answered_accuracy=share(correct, answered) if answered.any() else None,
        novel=share(measurement.readings.novel, everything),
        curve=curve(measurement.readings.confidence, correct, ANSWERED),
        confusion=metrics.confusion(measurement.predicted, measurement.targets, len(measurement.labels)),
    )


def as_json(measurement: Measurement, results: Results, card: ModelCard, digest: str) -> dict[str, Any]:
    """The figures as ``medhub evaluate --json`` prints them; what cannot be measured is null."""
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


def card_parts(measurement: Measurement, results: Results, command: str) -> dict[str, Any]:
    """The figures of a measurement as a card says them."""
    figures = [
        _figure("accuracy on the test images", results.accuracy, command),
        _figure("balanced accuracy on the test images", results.balanced_accuracy, command),
        _figure(f"test images that get a label at {measurement.threshold:.4g}", results.answered, command),
        _figure("test images taken for unlike the training data", results.novel, command),
    ]
    if results.answered_accuracy is not None:
        figures.append(
            _figure(
                f"accuracy where a label is said at {measurement.threshold:.4g}", results.answered_accuracy, command
            )
        )
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
            SourceFigure(source=name, n=figure.n, accuracy=_triple(figure)) for name, figure in results.sources.items()
        ),
        "curve": tuple(CurvePoint(answered=share, accuracy=round(value, 4)) for share, value in results.curve),
        "confusion": tuple(tuple(int(value) for value in line) for line in results.confusion),
    }


def _label_figure(label: str, metrics_of_label: metrics.PerLabel) -> LabelFigure:
    precision = (
        metrics_of_label.precision
        if math.isfinite(metrics_of_label.precision.value)
        else Interval(0.0, 0.0, 0.0, metrics_of_label.precision.n)
    )
    sensitivity = _triple(metrics_of_label.sensitivity) if metrics_of_label.n else (0.0, 0.0, 0.0)
    return LabelFigure(
        label=label,
        n=metrics_of_label.n,
        recall=sensitivity[0],
        precision=_triple(precision)[0],
        recall_interval=sensitivity[1:] if metrics_of_label.n else None,
        precision_interval=_triple(precision)[1:],
        specificity=_optional(metrics_of_label.specificity),
        f1=_optional(metrics_of_label.f1),
        auroc=_optional(metrics_of_label.auroc),
        auprc=_optional(metrics_of_label.auprc),
    )


def _optional(interval: Interval) -> tuple[float, float, float] | None:
    return _triple(interval) if math.isfinite(interval.value) else None


def _triple(interval: Interval) -> tuple[float, float, float]:
    return round(interval.value, 4), round(interval.low, 4), round(interval.high, 4)


def measure_changes(
    classifier: Classifier, rows: Sequence[ListingRow], threshold: float | None, command: str
) -> tuple[Figure, ...]:
    """Measure the test images as users might send them: of other sizes, compressed, turned, without color."""
    figures = []
    for name, change in CHANGES.items():
        measurement = measure(classifier, rows, threshold, change)
        weights = metrics.draw_groups([row.group for row in measurement.rows], 200)
        figures.append(
            _figure(f"accuracy, {name}", metrics.accuracy(measurement.predicted, measurement.targets, weights), command)
        )
        uncertain = metrics.share(~measurement.answered, np.ones(len(measurement.targets), bool), weights)
        figures.append(_figure(f"Uncertain, {name}", uncertain, command))
    return tuple(figures)


def measure_out_of_distribution(
    classifier: Classifier,
    kinds: Sequence[OutOfDistributionRecipe],
    data: Path,
    reference: Readings,
    threshold: float | None = None,
) -> tuple[OutOfDistributionSet, ...]:
    """Measure how much of what a classifier was not made for comes out Uncertain.

    Parameters
    ----------
    classifier
        As it ships.
    kinds
        Patterns of files.
    data
        What the patterns are relative to; kinds of which nothing is there are left out.
    known
        Readings of the test images, to tell the strangers from.
    threshold
        See ``limit_of``.

    Returns
    -------
    tuple[Stranger, ...]
    """
    limit = limit_of(classifier.card, threshold)
    sets = [
        _measure_set(kind.name, read_images(classifier, stored(data, kind)), reference, limit)
        for kind in kinds
        if any(data.glob(kind.pattern))
    ]
    for name, images in generated(GENERATED_OF_EACH_KIND).items():
        sets.append(_measure_set(f"generated: {name}", read_images(classifier, images), reference, limit))
    return tuple(sets)


def _measure_set(name: str, readings: Readings, reference: Readings, limit: float) -> OutOfDistributionSet:
    both = np.concatenate([readings.novelty, reference.novelty])
    positive = np.arange(len(both)) < len(readings.novelty)
    area = float(metrics.auroc(both, positive, np.ones((1, len(both))))[0])
    return OutOfDistributionSet(
        name=name,
        n=len(readings.novel),
        uncertain=round(float((readings.confidence < limit).mean()), 4),
        novel=round(float(readings.novel.mean()), 4),
        auroc=round(area, 4),
    )


def _figure(name: str, interval: Interval, command: str) -> Figure:
    value, low, high = _triple(interval)
    return Figure(name=name, value=value, low=low, high=high, n=interval.n, interval=INTERVAL, command=command)


def _resize_to(height: int, width: int) -> Callable[[Picture], Picture]:
    def change(image: Picture) -> Picture:
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))

    return change


def _recompress_at(quality: int) -> Callable[[Picture], Picture]:
    def change(image: Picture) -> Picture:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))

    return change


def _sharpen(image: Picture) -> Picture:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.UnsharpMask(radius=1.5, percent=80, threshold=0)))


def _add_noise(image: Picture) -> Picture:
    noise = np.random.default_rng(0).normal(0, 4, (*image.shape[:2], 1))
    return (image + noise).round().clip(0, 255).astype(np.uint8)


def _turn(image: Picture) -> Picture:
    return np.ascontiguousarray(np.rot90(image))


def _remove_color(image: Picture) -> Picture:
    return np.repeat(image.mean(2, keepdims=True), 3, 2).astype(np.uint8)


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "images of 100 x 100 px": _resize_to(100, 100),
    "images of 512 x 512 px": _resize_to(512, 512),
    "JPEG again at quality 50": _recompress_at(50),
    "sharpened": _sharpen,
    "with fine noise": _add_noise,
    "a quarter turned": _turn,
    "colors taken away": _remove_color,
}


def differences(card: ModelCard, parts: dict[str, Any]) -> list[str]:
    """List where a card says something else than what was measured."""
    return [
        f"The card's {ModelCard.model_fields[name].alias or name} differ from what was measured."
        for name, value in parts.items()
        if getattr(card, name) != value
    ]
