# SPDX-License-Identifier: Apache-2.0
"""Whether a classifier keeps the limits of a promotion, as a pure function of what two classifiers said of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medhub.science.learning.metrics import mcnemar

BINS = 15


@dataclass(frozen=True)
class PromotionCriteria:
    """What a classifier must keep; fixed before it is asked for.

    Attributes
    ----------
    margin
        By how much its balanced accuracy may lie below that of the classifier in use.
    ece
        Largest expected calibration error.
    abstention
        Largest share of images on which it abstains.
    images
        Fewest images with a signed verdict that both classifiers have read.
    """

    margin: float
    ece: float
    abstention: float
    images: int


@dataclass(frozen=True)
class ClassifierAnswers:
    """What one classifier said of one image."""

    likeliest: str
    confidence: float
    uncertain: bool


@dataclass(frozen=True)
class Pair:
    """What a person signed of an image, and what two classifiers said of it."""

    truth: str
    first: ClassifierAnswers
    second: ClassifierAnswers


@dataclass(frozen=True)
class CriterionCheck:
    """One limit: what was measured, what is demanded, and whether that is met."""

    name: str
    value: float | None
    limit: float
    met: bool
    words: str

    def as_json(self) -> dict[str, Any]:
        """The check as plain values."""
        return vars(self)


def check_criteria(limits: PromotionCriteria, pairs: Sequence[Pair]) -> list[CriterionCheck]:
    """Hold a classifier (the first of each pair) against the one in use (the second); all must be met."""
    first, second = [pair.first for pair in pairs], [pair.second for pair in pairs]
    truths = [pair.truth for pair in pairs]
    own, others = balanced_accuracy(truths, first), balanced_accuracy(truths, second)
    behind = others - own if own is not None and others is not None else None
    error, abstained = calibration_error(truths, first), abstention(first)
    return [
        CriterionCheck(
            "images",
            len(pairs),
            limits.images,
            len(pairs) >= limits.images,
            "Images with a signed verdict that both classifiers have read and that were not learned from",
        ),
        CriterionCheck(
            "margin",
            behind,
            limits.margin,
            behind is not None and behind <= limits.margin + 1e-12,
            "Balanced accuracy below that of the classifier in use, at most",
        ),
        CriterionCheck(
            "ece",
            error,
            limits.ece,
            error is not None and error <= limits.ece + 1e-12,
            "Expected calibration error, at most",
        ),
        CriterionCheck(
            "abstention",
            abstained,
            limits.abstention,
            abstained is not None and abstained <= limits.abstention + 1e-12,
            "Share of images on which it abstains, at most",
        ),
    ]


def balanced_accuracy(truths: Sequence[str], answers: Sequence[ClassifierAnswers]) -> float | None:
    """Mean over the labels that occur of the share found, by the likeliest label; none without images."""
    by_label: dict[str, list[bool]] = {}
    for truth, answer in zip(truths, answers, strict=True):
        by_label.setdefault(truth, []).append(answer.likeliest == truth)
    return sum(sum(right) / len(right) for right in by_label.values()) / len(by_label) if by_label else None


def accuracy(truths: Sequence[str], answers: Sequence[ClassifierAnswers]) -> float | None:
    """Share of images whose likeliest label is the true one; none without images."""
    right = [answer.likeliest == truth for truth, answer in zip(truths, answers, strict=True)]
    return sum(right) / len(right) if right else None


def abstention(answers: Sequence[ClassifierAnswers]) -> float | None:
    """Share of images on which a classifier abstained; none without images."""
    return sum(answer.uncertain for answer in answers) / len(answers) if answers else None


def calibration_error(truths: Sequence[str], answers: Sequence[ClassifierAnswers]) -> float | None:
    """Expected calibration error over 15 bins of equal width (Guo et al., ICML 2017); none without images."""
    if not answers:
        return None
    confidence = np.array([answer.confidence for answer in answers])
    right = np.array(
        [answer.likeliest == truth for truth, answer in zip(truths, answers, strict=True)], dtype=np.float64
    )
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    error = 0.0
    for number in range(BINS):
        inside = bins == number
        if inside.any():
            error += float(inside.mean()) * abs(float(confidence[inside].mean()) - float(right[inside].mean()))
    return error


@dataclass(frozen=True)
class Comparison:
    """How two classifiers did on the same images."""

    n: int
    accuracy: tuple[float, float] | None
    balanced_accuracy: tuple[float, float] | None
    abstention: tuple[float, float] | None
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    p: float | None  # exact McNemar test: as far apart by chance alone


def compare(pairs: Sequence[Pair]) -> Comparison:
    """Compare two classifiers by their likeliest labels with what was signed."""
    truths = [pair.truth for pair in pairs]
    sides = [[pair.first for pair in pairs], [pair.second for pair in pairs]]
    right = [(pair.first.likeliest == pair.truth, pair.second.likeliest == pair.truth) for pair in pairs]
    only_first, only_second = right.count((True, False)), right.count((False, True))

    def both(measure: Any) -> tuple[float, float] | None:
        return (measure(sides[0]), measure(sides[1])) if pairs else None

    return Comparison(
        n=len(pairs),
        accuracy=both(lambda answers: accuracy(truths, answers)),
        balanced_accuracy=both(lambda answers: balanced_accuracy(truths, answers)),
        abstention=both(abstention),
        both_right=right.count((True, True)),
        only_first=only_first,
        only_second=only_second,
        both_wrong=right.count((False, False)),
        p=mcnemar(only_first, only_second) if pairs else None,
    )
