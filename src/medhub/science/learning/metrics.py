# SPDX-License-Identifier: Apache-2.0
"""What a classifier reached, with the doubt that a finite test leaves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054


@dataclass(frozen=True)
class Interval:
    """A measured share and its 95 % interval."""

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


def bootstrap(right: NDArray[np.bool_], draws: int = 10_000, seed: int = 42) -> Interval:
    """Compute a share with the percentile bootstrap (Efron 1979) over images.

    Parameters
    ----------
    right
        N, whether each image was right.
    draws
        How many samples are drawn.
    seed
        Seed of the draws.

    Returns
    -------
    Interval
    """
    n = len(right)
    # The number of hits among n draws with replacement is binomial: no need to draw the images one by one.
    shares = np.random.default_rng(seed).binomial(n, right.mean(), draws) / n
    low, high = np.quantile(shares, (0.025, 0.975))
    return Interval(float(right.mean()), float(low), float(high), n)


@dataclass(frozen=True)
class PerLabel:
    """Recall and precision of one label."""

    n: int
    recall: float
    precision: float


def per_label(predicted: NDArray[np.int64], targets: NDArray[np.int64], classes: int) -> tuple[PerLabel, ...]:
    """Compute recall and precision of each label; a label that was never given has precision 0.

    Parameters
    ----------
    predicted, targets
        N label indices.
    classes
        Number of labels.

    Returns
    -------
    tuple[PerLabel, ...]
    """
    table = confusion(predicted, targets, classes)
    return tuple(
        PerLabel(
            n=int(table[label].sum()),
            recall=float(table[label, label] / max(1, table[label].sum())),
            precision=float(table[label, label] / max(1, table[:, label].sum())),
        )
        for label in range(classes)
    )


def confusion(predicted: NDArray[np.int64], targets: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Count images by true label (row) and predicted label (column)."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (targets, predicted), 1)
    return table


def calibration_error(probabilities: NDArray[np.float64], targets: NDArray[np.int64], bins: int = 15) -> float:
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
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == targets
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for index in range(bins):
        inside = place == index
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return float(error)
