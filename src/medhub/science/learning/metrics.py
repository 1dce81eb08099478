# SPDX-License-Identifier: Apache-2.0
"""What a classifier reached, with the doubt that a finite test leaves.

Every figure has a 95 % interval by the bootstrap over groups (patients): images of one patient are alike, so drawing
images one by one would promise more than the data hold (Field & Welsh, JRSS B 2007). A draw gives each group a number
of times that it counts, so all figures are computed with weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054
DRAWS = 1000
SEED = 42

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Draws = Floats


@dataclass(frozen=True)
class Interval:
    """A measured value and its 95 % interval; not a number where it cannot be measured."""

    value: float
    low: float
    high: float
    n: int


def wilson(hits: int, n: int) -> Interval:
    """Compute a share with Wilson's score interval (Wilson, JASA 1927), which also holds near 0 and 1.

    Parameters
    ----------
    hits, n
        How many of how many.

    Returns
    -------
    Interval
    """
    if not 0 <= hits <= n or n < 1:
        raise ValueError("hits lie between 0 and n, and n is at least 1")
    share, square = hits / n, Z_95**2
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = Z_95 / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    # At 0 and n the bound is exact; rounding must not push it past the value.
    return Interval(share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)), n)


def draw_groups(groups: Sequence[str], draws: int = DRAWS, seed: int = SEED) -> Draws:
    """Draw groups with replacement, again and again.

    Parameters
    ----------
    groups
        Group of each of N images.
    draws
        How often.
    seed
        Seed of the draws.

    Returns
    -------
    Draws
        (draws + 1) x N: how often each image counts. The first row counts each image once: the data as they are.
    """
    _, members = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    count = int(members.max()) + 1
    chance = np.random.default_rng(seed)
    times = np.stack([np.bincount(chance.integers(0, count, count), minlength=count) for _ in range(draws)])
    return np.concatenate([np.ones((1, len(members))), times[:, members].astype(np.float64)])


def interval(values: Floats, n: int) -> Interval:
    """Make an interval (percentile bootstrap, Efron 1979) of the value of each draw, the first of which is the data's.

    Parameters
    ----------
    values
        1 + draws values; draws in which the figure does not exist are no number, and are left out.
    n
        Images behind it.

    Returns
    -------
    Interval
    """
    value = float(values[0])
    drawn = values[1:][np.isfinite(values[1:])]
    if not math.isfinite(value) or not len(drawn):
        return Interval(value, value, value, n)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(value, min(value, float(low)), max(value, float(high)), n)


def share(part: NDArray[np.bool_], of: NDArray[np.bool_], draws: Draws) -> Interval:
    """Compute what share of some images has a property.

    Where no draw ever differs (no error was seen, say), the bootstrap knows nothing of the doubt that is left; Wilson's
    interval over the number of groups takes its place.

    Parameters
    ----------
    part
        N, whether an image has the property.
    of
        N, which images are looked at.
    draws
        From ``draw_groups``.

    Returns
    -------
    Interval
    """
    n = int(of.sum())
    estimate = interval(_ratio(draws @ (part & of).astype(float), draws @ of.astype(float)), n)
    if not n or estimate.low < estimate.high or estimate.value not in (0.0, 1.0):
        return estimate
    groups = len({draws[:, index].tobytes() for index in np.flatnonzero(of)})
    bounds = wilson(int(estimate.value) * groups, groups)
    return Interval(estimate.value, bounds.low, bounds.high, n)


@dataclass(frozen=True)
class PerLabel:
    """What was reached for one label against all others."""

    n: int
    sensitivity: Interval
    specificity: Interval
    precision: Interval
    f1: Interval
    auroc: Interval
    auprc: Interval


def confusions(predicted: Indices, targets: Indices, classes: int, draws: Draws) -> Floats:
    """Count images by true label (row) and predicted label (column), for each draw: draws x C x C."""
    cell = targets * classes + predicted
    indicators = np.zeros((len(cell), classes * classes))
    indicators[np.arange(len(cell)), cell] = 1
    return (draws @ indicators).reshape(len(draws), classes, classes)


def confusion(predicted: Indices, targets: Indices, classes: int) -> Indices:
    """Count images by true label (row) and predicted label (column)."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (targets, predicted), 1)
    return table


def per_label(probabilities: Floats, targets: Indices, draws: Draws) -> tuple[PerLabel, ...]:
    """Compute sensitivity, specificity, precision, F1, AUROC and AUPRC of each label.

    Parameters
    ----------
    probabilities
        N x C.
    targets
        N label indices.
    draws
        From ``draw_groups``.

    Returns
    -------
    tuple[PerLabel, ...]
    """
    classes = probabilities.shape[1]
    tables = confusions(probabilities.argmax(1), targets, classes, draws)
    labels = []
    for label in range(classes):
        hit = tables[:, label, label]
        actual, predicted = tables[:, label].sum(1), tables[:, :, label].sum(1)
        positive, predicted_positive = targets == label, probabilities.argmax(1) == label
        scores = probabilities[:, label]
        labels.append(
            PerLabel(
                n=int(positive.sum()),
                sensitivity=share(predicted_positive, positive, draws),
                specificity=share(~predicted_positive, ~positive, draws),
                precision=share(positive, predicted_positive, draws),
                f1=interval(_ratio(2 * hit, actual + predicted), len(targets)),
                auroc=interval(auroc(scores, positive, draws), len(targets)),
                auprc=interval(average_precision(scores, positive, draws), len(targets)),
            )
        )
    return tuple(labels)


def accuracy(predicted: Indices, targets: Indices, draws: Draws) -> Interval:
    """Compute the share of images whose label was predicted."""
    return share(predicted == targets, np.ones(len(targets), bool), draws)


def balanced_accuracy(predicted: Indices, targets: Indices, classes: int, draws: Draws) -> Interval:
    """Compute the mean of the sensitivities of the labels that occur."""
    tables = confusions(predicted, targets, classes, draws)
    hits = np.diagonal(tables, axis1=1, axis2=2)
    actual = tables.sum(2)
    there = actual > 0
    sensitivities = np.where(there, hits / np.maximum(actual, 1e-12), 0)
    return interval(_ratio(sensitivities.sum(1), there.sum(1)), len(targets))


def auroc(scores: Floats, positive: NDArray[np.bool_], draws: Draws) -> Floats:
    """Compute the area under the ROC curve for each draw: the chance that a positive scores above a negative.

    Ties count a half (Hanley & McNeil, Radiology 1982).
    """
    order = np.argsort(scores, kind="stable")
    _, ties = np.unique(scores[order], return_inverse=True)
    ups = draws[:, order] * positive[order]
    downs = draws[:, order] * ~positive[order]
    edges = np.flatnonzero(np.diff(ties, prepend=-1))
    up, down = np.add.reduceat(ups, edges, axis=1), np.add.reduceat(downs, edges, axis=1)
    below = np.cumsum(down, axis=1) - down
    area = (up * (below + down / 2)).sum(1)
    return _ratio(area, up.sum(1) * down.sum(1))


def average_precision(scores: Floats, positive: NDArray[np.bool_], draws: Draws) -> Floats:
    """Compute the area under the precision-recall curve for each draw, as the mean precision over the positives."""
    order = np.argsort(-scores, kind="stable")
    _, ties = np.unique(-scores[order], return_inverse=True)
    edges = np.flatnonzero(np.diff(ties, prepend=-1))
    ups = np.add.reduceat(draws[:, order] * positive[order], edges, axis=1)
    total = np.cumsum(np.add.reduceat(draws[:, order], edges, axis=1), axis=1)
    hits = np.cumsum(ups, axis=1)
    return _ratio((ups * hits / np.maximum(total, 1e-12)).sum(1), ups.sum(1))


def calibration_error(probabilities: Floats, targets: Indices, bins: int = 15) -> float:
    """Compute the expected calibration error (Naeini et al., AAAI 2015; Guo et al., ICML 2017).

    Parameters
    ----------
    probabilities
        N x C.
    targets
        N label indices.
    bins
        Number of equal bins of the confidence.

    Returns
    -------
    float
        Mean distance of confidence and accuracy, weighted by the images in each bin.
    """
    return float(sum(b.share * abs(b.accuracy - b.confidence) for b in reliability(probabilities, targets, bins)))


@dataclass(frozen=True)
class Bin:
    """Images of about the same confidence: their share of all, their mean confidence, and how many were right."""

    share: float
    confidence: float
    accuracy: float


def reliability(probabilities: Floats, targets: Indices, bins: int = 15) -> list[Bin]:
    """Compute the points of a reliability diagram (DeGroot & Fienberg 1983); bins without images are left out."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == targets
    bin_index = np.minimum((confidence * bins).astype(int), bins - 1)
    bin_members = [bin_index == index for index in range(bins)]
    return [
        Bin(float(members.mean()), float(confidence[members].mean()), float(right[members].mean()))
        for members in bin_members
        if members.any()
    ]


@dataclass(frozen=True)
class Compared:
    """Two classifiers on the same images.

    Attributes
    ----------
    first, second
        Accuracy of each.
    difference
        Accuracy of the second minus that of the first.
    only_first, only_second
        Images that only one of them had right.
    p_value
        Of McNemar's exact test: how likely so uneven a split is if both are equally good.
    """

    first: Interval
    second: Interval
    difference: Interval
    only_first: int
    only_second: int
    p_value: float


def compare(first: NDArray[np.bool_], second: NDArray[np.bool_], draws: Draws) -> Compared:
    """Compare two classifiers by whether each had each image right.

    Parameters
    ----------
    first, second
        N, whether each had the image right.
    draws
        From ``draw_groups``: a paired bootstrap over groups.

    Returns
    -------
    Compared
    """
    n = len(first)
    a, b = (_ratio(draws @ correct.astype(float), draws.sum(1)) for correct in (first, second))
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return Compared(
        interval(a, n),
        interval(b, n),
        interval(b - a, n),
        only_first,
        only_second,
        mcnemar(only_first, only_second),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Compute the two-sided p-value of McNemar's exact test (McNemar, Psychometrika 1947)."""
    n, least = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(n, k) for k in range(least + 1)) / 2**n
    return float(min(1.0, 2 * tail))


def bootstrap(measured: Callable[[Floats], Floats], draws: Draws, n: int) -> Interval:
    """Make an interval of any figure that is computed with weights."""
    return interval(measured(draws), n)


def _ratio(above: Floats, below: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Floats = np.where(below > 0, above / below, np.nan)
    return result
