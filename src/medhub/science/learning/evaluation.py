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
        found: NDArray[np.float64] = np.where(self.novel, 0.0, self.probabilities.max(1))
        return found


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
        found: NDArray[np.int64] = self.readings.probabilities.argmax(1).astype(np.int64)
        return found

    @property
    def right(self) -> NDArray[np.bool_]:
        """N: whether the likeliest label is right."""
        found: NDArray[np.bool_] = self.predicted == self.targets
        return found

    @property
    def answered(self) -> NDArray[np.bool_]:
        """N: whether a label is said."""
        found: NDArray[np.bool_] = self.readings.confidence >= self.threshold
        return found


def read(classifier: Classifier, images: Iterable[Picture]) -> Readings:
    """Read images with a classifier."""
    found = [classifier.classify(image) for image in images]
    return Readings(
        np.array([list(one.probabilities.values()) for one in found]).reshape(len(found), -1),
        np.array([one.novelty for one in found], np.float64),
        np.array([one.novel for one in found], bool),
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
    kept: list[ListingRow] = []
    found: list[Readings] = []
    for row in rows:
        if row.label not in labels:
            left_out[row.label] = left_out.get(row.label, 0) + 1
            continue
        try:
            found.append(read(classifier, [change(read_image(row.path))]))
            kept.append(row)
        except (Unacceptable, OSError):
            unreadable.append(row.name)
        done()
    if not kept:
        raise Invalid(
            f"No image is left to measure with: {len(unreadable)} cannot be read, and {sum(left_out.values())} have "
            f"labels that the classifier does not know. It knows {', '.join(labels)}."
        )
    return Measurement(
        rows=tuple(kept),
        readings=Readings(
            np.concatenate([one.probabilities for one in found]),
            np.concatenate([one.novelty for one in found]),
            np.concatenate([one.novel for one in found]),
        ),
        targets=np.array([labels.index(row.label) for row in kept], np.int64),
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


def results(found: Measurement, draws: int = metrics.DRAWS) -> Results:
    """Compute every figure of a measurement."""
    drawn = metrics.draw_groups([row.group for row in found.rows], draws)
    right, said, n = found.right, found.answered, len(found.targets)
    sources = sorted({row.source for row in found.rows} - {""})

    def share(part: NDArray[np.bool_], of: NDArray[np.bool_]) -> Interval:
        return metrics.share(part, of, drawn)

    everything = np.ones(n, bool)
    return Results(
        n=n,
        accuracy=share(right, everything),
        balanced_accuracy=metrics.balanced_accuracy(found.predicted, found.targets, len(found.labels), drawn),
        per_label=metrics.per_label(found.readings.probabilities, found.targets, drawn),
        sources={one: share(right, np.array([row.source == one for row in found.rows])) for one in sources},
        ece=metrics.calibration_error(found.readings.probabilities, found.targets),
        answered=share(said, everything),
        answered_accuracy=share(right, said) if said.any() else None,
        novel=share(found.readings.novel, everything),
        curve=curve(found.readings.confidence, right, ANSWERED),
        confusion=metrics.confusion(found.predicted, found.targets, len(found.labels)),
    )


def as_json(found: Measurement, reached: Results, card: ModelCard, digest: str) -> dict[str, Any]:
    """The figures as ``medhub evaluate --json`` prints them; what cannot be measured is null."""
    return {
        "classifier": card.name,
        "version": card.version,
        "digest": digest,
        "n": reached.n,
        "labels": list(found.labels),
        "accuracy": _ranged(reached.accuracy),
        "balanced_accuracy": _ranged(reached.balanced_accuracy),
        "per_class": {
            label: {
                "n": one.n,
                **{
                    name: _ranged(getattr(one, name))
                    for name in ("sensitivity", "specificity", "precision", "f1", "auroc", "auprc")
                },
            }
            for label, one in zip(found.labels, reached.per_label, strict=True)
        },
        "per_source": {name: {"n": one.n, **_ranged(one)} for name, one in reached.sources.items()},
        "ece": round(reached.ece, 6),
        "answered": {
            "threshold": found.threshold,
            "share": _number(reached.answered.value),
            "share_interval": _ranged(reached.answered),
            "accuracy": None if reached.answered_accuracy is None else _number(reached.answered_accuracy.value),
            "accuracy_interval": None if reached.answered_accuracy is None else _ranged(reached.answered_accuracy),
        },
        "unlike_training_data": _ranged(reached.novel),
        "curve": [{"answered": share, "accuracy": round(value, 6)} for share, value in reached.curve],
        "confusion": {"labels": list(found.labels), "rows": reached.confusion.tolist()},
        "interval": INTERVAL,
        "left_out": found.left_out,
        "unreadable": list(found.unreadable),
    }


def _ranged(one: Interval) -> dict[str, float | None]:
    return {"value": _number(one.value), "low": _number(one.low), "high": _number(one.high)}


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def card_parts(found: Measurement, reached: Results, command: str) -> dict[str, Any]:
    """The figures of a measurement as a card says them."""
    figures = [
        _figure("accuracy on the test images", reached.accuracy, command),
        _figure("balanced accuracy on the test images", reached.balanced_accuracy, command),
        _figure(f"test images that get a label at {found.threshold:.4g}", reached.answered, command),
        _figure("test images taken for unlike the training data", reached.novel, command),
    ]
    if reached.answered_accuracy is not None:
        figures.append(
            _figure(f"accuracy where a label is said at {found.threshold:.4g}", reached.answered_accuracy, command)
        )
    return {
        "figures": tuple(figures),
        "measures": (
            Measure(
                name="expected calibration error, 15 bins, test images",
                value=round(reached.ece, 4),
                n=reached.n,
                command=command,
            ),
        ),
        "per_label": tuple(
            _label_figure(label, one) for label, one in zip(found.labels, reached.per_label, strict=True)
        ),
        "sources": tuple(
            SourceFigure(source=name, n=one.n, accuracy=_triple(one)) for name, one in reached.sources.items()
        ),
        "curve": tuple(CurvePoint(answered=share, accuracy=round(value, 4)) for share, value in reached.curve),
        "confusion": tuple(tuple(int(value) for value in line) for line in reached.confusion),
    }


def _label_figure(label: str, one: metrics.PerLabel) -> LabelFigure:
    precision = one.precision if math.isfinite(one.precision.value) else Interval(0.0, 0.0, 0.0, one.precision.n)
    found = _triple(one.sensitivity) if one.n else (0.0, 0.0, 0.0)
    return LabelFigure(
        label=label,
        n=one.n,
        recall=found[0],
        precision=_triple(precision)[0],
        recall_interval=found[1:] if one.n else None,
        precision_interval=_triple(precision)[1:],
        specificity=_optional(one.specificity),
        f1=_optional(one.f1),
        auroc=_optional(one.auroc),
        auprc=_optional(one.auprc),
    )


def _optional(one: Interval) -> tuple[float, float, float] | None:
    return _triple(one) if math.isfinite(one.value) else None


def _triple(one: Interval) -> tuple[float, float, float]:
    return round(one.value, 4), round(one.low, 4), round(one.high, 4)


def changes(
    classifier: Classifier, rows: Sequence[ListingRow], threshold: float | None, command: str
) -> tuple[Figure, ...]:
    """Measure the test images as users might send them: of other sizes, compressed, turned, without color."""
    figures = []
    for name, change in CHANGES.items():
        found = measure(classifier, rows, threshold, change)
        drawn = metrics.draw_groups([row.group for row in found.rows], 200)
        figures.append(_figure(f"accuracy, {name}", metrics.accuracy(found.predicted, found.targets, drawn), command))
        silent = metrics.share(~found.answered, np.ones(len(found.targets), bool), drawn)
        figures.append(_figure(f"Uncertain, {name}", silent, command))
    return tuple(figures)


def measure_out_of_distribution(
    classifier: Classifier,
    kinds: Sequence[OutOfDistributionRecipe],
    data: Path,
    known: Readings,
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
    found = [
        _stranger(kind.name, read(classifier, stored(data, kind)), known, limit)
        for kind in kinds
        if any(data.glob(kind.pattern))
    ]
    for name, images in generated(GENERATED_OF_EACH_KIND).items():
        found.append(_stranger(f"generated: {name}", read(classifier, images), known, limit))
    return tuple(found)


def _stranger(name: str, strange: Readings, known: Readings, limit: float) -> OutOfDistributionSet:
    both = np.concatenate([strange.novelty, known.novelty])
    positive = np.arange(len(both)) < len(strange.novelty)
    area = float(metrics.auroc(both, positive, np.ones((1, len(both))))[0])
    return OutOfDistributionSet(
        name=name,
        n=len(strange.novel),
        uncertain=round(float((strange.confidence < limit).mean()), 4),
        novel=round(float(strange.novel.mean()), 4),
        auroc=round(area, 4),
    )


def _figure(name: str, one: Interval, command: str) -> Figure:
    value, low, high = _triple(one)
    return Figure(name=name, value=value, low=low, high=high, n=one.n, interval=INTERVAL, command=command)


def _resized(height: int, width: int) -> Callable[[Picture], Picture]:
    def change(image: Picture) -> Picture:
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))

    return change


def _recompressed(quality: int) -> Callable[[Picture], Picture]:
    def change(image: Picture) -> Picture:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))

    return change


def _sharpened(image: Picture) -> Picture:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.UnsharpMask(radius=1.5, percent=80, threshold=0)))


def _noisy(image: Picture) -> Picture:
    noise = np.random.default_rng(0).normal(0, 4, (*image.shape[:2], 1))
    return (image + noise).round().clip(0, 255).astype(np.uint8)


def _turned(image: Picture) -> Picture:
    return np.ascontiguousarray(np.rot90(image))


def _without_color(image: Picture) -> Picture:
    return np.repeat(image.mean(2, keepdims=True), 3, 2).astype(np.uint8)


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "images of 100 x 100 px": _resized(100, 100),
    "images of 512 x 512 px": _resized(512, 512),
    "JPEG again at quality 50": _recompressed(50),
    "sharpened": _sharpened,
    "with fine noise": _noisy,
    "a quarter turned": _turned,
    "colors taken away": _without_color,
}


def differences(card: ModelCard, parts: dict[str, Any]) -> list[str]:
    """List where a card says something else than what was measured."""
    return [
        f"The card's {ModelCard.model_fields[name].alias or name} differ from what was measured."
        for name, value in parts.items()
        if getattr(card, name) != value
    ]
