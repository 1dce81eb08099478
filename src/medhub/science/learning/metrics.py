# SPDX-License-Identifier: Apache-2.0
"""Classification metrics with 95 % confidence intervals.

The intervals come from the cluster bootstrap (Field & Welsh, JRSS B 2007): groups (patients) are resampled, not images,
because images of one patient are correlated. Each bootstrap sample is a vector of weights, so every metric is computed
with weights.
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
    """An estimate with its 95 % confidence interval; NaN if it is undefined. ``n`` is the number of images."""

    value: float
    low: float
    high: float
    n: int


def wilson(hits: int, n: int) -> Interval:
    """Compute a proportion with Wilson's score interval (Wilson, JASA 1927), which is also valid near 0 and 1.

    Parameters
    ----------
    hits, n
        Number of successes, and of trials.

    Returns
    -------
    Interval
    """
    if not 0 <= hits <= n or n < 1:
        raise ValueError("hits lie between 0 and n, and n is at least 1")
    share, square = hits / n, Z_95**2
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = Z_95 / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    # The bound equals the estimate at 0 and n hits; rounding errors must not move it past the estimate.
    return Interval(share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)), n)


def draw_groups(groups: Sequence[str], draws: int = DRAWS, seed: int = SEED) -> Draws:
    """Draw bootstrap samples of groups.

    Parameters
    ----------
    groups
        N, the group of each image.
    draws
        Number of bootstrap samples.
    seed
        Seed of the random numbers.

    Returns
    -------
    Draws
        (draws + 1) x N weights of the images. The first row is the original data, with weight 1 for each image.
    """
    _, members = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    count = int(members.max()) + 1
    chance = np.random.default_rng(seed)
    times = np.stack([np.bincount(chance.integers(0, count, count), minlength=count) for _ in range(draws)])
    return np.concatenate([np.ones((1, len(members))), times[:, members].astype(np.float64)])


def interval(values: Floats, n: int) -> Interval:
    """Compute a percentile bootstrap interval (Efron 1979).

    Parameters
    ----------
    values
        The estimate, then its value in each bootstrap sample; NaN values are left out.
    n
        Number of images.

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
    """Compute the proportion of images with a property.

    If all bootstrap samples give the same proportion, 0 or 1, the bootstrap interval has no width. Wilson's interval
    for the number of groups is returned instead.

    Parameters
    ----------
    part
        N, whether an image has the property.
    of
        N, whether an image is in the denominator.
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
    """Metrics of one label against all others."""

    n: int
    sensitivity: Interval
    specificity: Interval
    precision: Interval
    f1: Interval
    auroc: Interval
    auprc: Interval


def confusions(predicted: Indices, targets: Indices, classes: int, draws: Draws) -> Floats:
    """Compute the confusion matrix of each bootstrap sample, true label by predicted label: draws x C x C."""
    cell = targets * classes + predicted
    indicators = np.zeros((len(cell), classes * classes))
    indicators[np.arange(len(cell)), cell] = 1
    return (draws @ indicators).reshape(len(draws), classes, classes)


def confusion(predicted: Indices, targets: Indices, classes: int) -> Indices:
    """Compute the confusion matrix, true label by predicted label: C x C."""
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
    """Compute the accuracy."""
    return share(predicted == targets, np.ones(len(targets), bool), draws)


def balanced_accuracy(predicted: Indices, targets: Indices, classes: int, draws: Draws) -> Interval:
    """Compute the balanced accuracy: the mean sensitivity of the labels that occur."""
    tables = confusions(predicted, targets, classes, draws)
    hits = np.diagonal(tables, axis1=1, axis2=2)
    actual = tables.sum(2)
    there = actual > 0
    sensitivities = np.where(there, hits / np.maximum(actual, 1e-12), 0)
    return interval(_ratio(sensitivities.sum(1), there.sum(1)), len(targets))


def auroc(scores: Floats, positive: NDArray[np.bool_], draws: Draws) -> Floats:
    """Compute the area under the ROC curve for each bootstrap sample.

    It is the probability that a positive has a higher score than a negative; ties count one half (Hanley & McNeil,
    Radiology 1982).
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
    """Compute the average precision for each bootstrap sample: the mean precision at the scores of the positives."""
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
        Number of confidence bins of equal width.

    Returns
    -------
    float
        Mean absolute difference of confidence and accuracy, weighted by the share of images in each bin.
    """
    return float(sum(b.share * abs(b.accuracy - b.confidence) for b in reliability(probabilities, targets, bins)))


@dataclass(frozen=True)
class Bin:
    """A confidence bin: its share of the images, their mean confidence, and their accuracy."""

    share: float
    confidence: float
    accuracy: float


def reliability(probabilities: Floats, targets: Indices, bins: int = 15) -> list[Bin]:
    """Compute the bins of a reliability diagram (DeGroot & Fienberg 1983); empty bins are left out."""
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
    """Comparison of two classifiers on the same images.

    Attributes
    ----------
    first, second
        Accuracy of each.
    difference
        Accuracy of the second minus that of the first.
    only_first, only_second
        Number of images that only this classifier predicted correctly.
    p_value
        Two-sided p-value of McNemar's exact test.
    """

    first: Interval
    second: Interval
    difference: Interval
    only_first: int
    only_second: int
    p_value: float


def compare(first: NDArray[np.bool_], second: NDArray[np.bool_], draws: Draws) -> Compared:
    """Compare the correctness of two classifiers.

    Parameters
    ----------
    first, second
        N, whether the prediction of each is correct.
    draws
        From ``draw_groups``; the bootstrap is paired.

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
    """Compute the interval of a metric that is a function of the weights."""
    return interval(measured(draws), n)


def _ratio(above: Floats, below: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Floats = np.where(below > 0, above / below, np.nan)
    return result
