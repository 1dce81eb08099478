# SPDX-License-Identifier: Apache-2.0
"""When to say nothing: a limit of confidence above which at most a chosen share of the answers is wrong.

The limit is found on images that the network did not learn from. It is a promise about new images of the same kind:
with the chosen confidence over the choice of these images, the share of wrong answers among all answers is at most the
chosen one. The way is that of risk control by testing (Angelopoulos et al., "Learn then test", 2021; the same aim as
conformal risk control, Angelopoulos et al. 2022, whose own bound needs a loss that can only fall as the limit rises,
which the error *among the answered* does not): limits are tried one after another, each by the exact binomial tail,
and the first that cannot be shown to keep the promise ends the search (fixed-sequence testing, so that trying many
limits costs nothing). Which limits are tried depends on the confidences and not on the labels: from the one that a
quarter of the images pass downwards, in steps of a fortieth. Fewer images would show little, and one error among the
very surest would end the search before it began.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_FIRST_SHARE = 0.25
_STEPS = 40


@dataclass(frozen=True)
class Limit:
    """A learned limit.

    Attributes
    ----------
    threshold
        Least confidence with which a label is said.
    answered
        Share of the images that it was learned on which get an answer.
    error
        Share of wrong answers among these.
    n
        Images that it was learned on.
    """

    threshold: float
    answered: float
    error: float
    n: int


def learn_limit(confidence: Floats, right: NDArray[np.bool_], target_error: float, trust: float = 0.9) -> Limit | None:
    """Learn the lowest limit that keeps the promise.

    Parameters
    ----------
    confidence
        N, probability of the likeliest label; 0 where the classifier abstains for another reason.
    right
        N, whether the likeliest label is right.
    target_error
        Greatest share of wrong answers among the answers.
    trust
        Confidence of the promise.

    Returns
    -------
    Limit | None
        None where no limit can be shown to keep the promise: too few images, or too many errors among the surest.
    """
    order = np.argsort(-confidence, kind="stable")
    ordered, wrong = confidence[order], np.cumsum(~right[order])
    # Only where the next image is less sure can a limit lie; equal ones are answered together.
    ends = np.flatnonzero(np.diff(ordered, append=-1.0))
    found: Limit | None = None
    tried = _tried(int((ordered > 0).sum()), target_error, trust)
    for end in dict.fromkeys(int(ends[np.searchsorted(ends, at)]) for at in tried):
        answered = end + 1
        if binomial_tail(int(wrong[end]), answered, target_error) > 1 - trust:
            break
        found = Limit(float(ordered[end]), answered / len(ordered), int(wrong[end]) / answered, len(ordered))
    return found


def _tried(n: int, target_error: float, trust: float) -> range:
    """Which images' confidences are tried as limits, counted from the surest."""
    # With fewer answers the promise cannot be shown even if all are right: trying would end the search at once.
    first = max(fewest_images(target_error, trust), math.ceil(n * _FIRST_SHARE))
    return range(first - 1, n, max(1, n // _STEPS))


def fewest_images(target_error: float, trust: float = 0.9) -> int:
    """Compute how many answers, all of them right, show the promise at least."""
    return math.ceil(math.log(1 - trust) / math.log(1 - target_error))


def binomial_tail(wrong: int, n: int, share: float) -> float:
    """Compute the chance of at most so many wrong among n answers, if the true share of wrong ones is ``share``."""
    if wrong >= n:
        return 1.0
    # Summed as logarithms: powers of small shares vanish.
    logs = [
        math.lgamma(n + 1)
        - math.lgamma(k + 1)
        - math.lgamma(n - k + 1)
        + k * math.log(share)
        + (n - k) * math.log1p(-share)
        for k in range(wrong + 1)
    ]
    top = max(logs)
    return min(1.0, math.exp(top) * sum(math.exp(value - top) for value in logs))


def curve(confidence: Floats, right: NDArray[np.bool_], shares: tuple[float, ...]) -> list[tuple[float, float]]:
    """Compute the accuracy among the surest: for each share of answered images, (share, accuracy).

    Parameters
    ----------
    confidence, right
        As in ``learn_limit``.
    shares
        Shares of the images that are answered, in (0, 1].

    Returns
    -------
    list[tuple[float, float]]
    """
    ordered = right[np.argsort(-confidence, kind="stable")]
    return [(share, float(ordered[: max(1, round(share * len(ordered)))].mean())) for share in shares]
