# SPDX-License-Identifier: Apache-2.0
"""When to say nothing: a limit of confidence above which at most a chosen share of the answers is wrong.

The limit is found on images that the network did not learn from. What it promises can be looked at with bare eyes:
*take a further set of like images, of as many patients and as large as the one that the limit was learned on; among
its answers above the limit at most the chosen share is wrong, and of such sets at least nine in ten keep to it* (for a
confidence of 90 %). That is more than a promise about the error in the long run, since a further set has luck of its
own.

The test behind it needs no model of the images (the conditional test of two counts, Przyborowski & Wilenski,
Biometrika 1940). Say that k answers of this set are wrong, and that c wrong ones would break the promise in a further
set of as many answers. If it were broken, the two sets had k + c errors or more between them. Both sets come from the
same source, so each error could as well have fallen into the other one: a coin was tossed for it. The limit is
accepted if so many tosses show at most k heads in at most a tenth of cases. Whatever the number of errors in both sets
together is, the chance that this set lets a limit pass and the further one then breaks the promise is at most a tenth.
(Answers are drawn without putting back; that makes the true chance smaller, never larger.)

Images of one patient are alike, and their errors come together. Both counts are therefore divided by the design effect
(Rao & Scott, Biometrics 1992): by how much more the errors vary from patient to patient than they would if each image
were a patient of its own. It is estimated, and from few patients badly, so it is widened as Student's quantile is
wider than the normal one.

Many limits are tried, one after another, from the surest downwards, and the first that does not pass ends the search
(fixed-sequence testing, as in Angelopoulos et al., "Learn then test", 2021). Which are tried depends on the
confidences and not on the labels: from the one that half of the images pass, in steps of a fortieth. Where the error
grows as the limit falls, the search costs nothing worth naming; ``bench/conformal.py`` counts what it costs on real
predictions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from medhub.science.learning.distributions import binomial_cdf, student_quantile

Floats = NDArray[np.float64]
METHOD = (
    "The lowest limit that passes this test: if its promise were broken in a further set of as many answers, a fair "
    "coin that says for each error of both sets into which it falls would hardly have put so few of them here "
    "(conditional test of two counts, Przyborowski and Wilenski 1940; errors of one group come together: design effect "
    "of Rao and Scott 1992). Limits are tried downwards from the one that half of the validation images pass, and the "
    "first that fails ends the search"
)
_FIRST_SHARE = 0.5
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
    n, groups
        Images that it was learned on, and groups (patients) that they belong to.
    """

    threshold: float
    answered: float
    error: float
    n: int
    groups: int


def learn_limit(
    confidence: Floats,
    right: NDArray[np.bool_],
    target_error: float,
    trust: float = 0.9,
    groups: Sequence[str] | None = None,
) -> Limit | None:
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
    groups
        N, the group (patient) of each image; each image is one of its own if not given.

    Returns
    -------
    Limit | None
        None where no limit can be shown to keep the promise: too few images or groups, or too many errors among the
        surest.
    """
    n = len(confidence)
    names = np.arange(n) if groups is None else np.asarray(groups, dtype=str)
    _, members = np.unique(names, return_inverse=True)
    order = np.argsort(-confidence, kind="stable")
    ordered, wrong, members = confidence[order], ~right[order], members[order]
    # Only where the next image is less sure can a limit lie; equal ones are answered together.
    ends = np.flatnonzero(np.diff(ordered, append=-1.0))
    limit: Limit | None = None
    candidates = _tried(int((ordered > 0).sum()), target_error, trust)
    for answered in dict.fromkeys(int(ends[np.searchsorted(ends, index)]) + 1 for index in candidates):
        errors = int(wrong[:answered].sum())
        effect = design_effect(wrong[:answered], members[:answered], trust)
        if chance_of_luck(errors, answered, target_error, effect) > 1 - trust + 1e-12:
            break
        limit = Limit(float(ordered[answered - 1]), answered / n, errors / answered, n, int(members.max()) + 1)
    return limit


def chance_of_luck(errors: int, answered: int, target_error: float, effect: float = 1.0) -> float:
    """Compute the chance of so few errors here, if a further set of as many answers broke the promise.

    Parameters
    ----------
    errors
        Wrong answers in the set at hand.
    answered
        Answers in the set at hand.
    target_error
        Greatest share of wrong answers that the promise allows.
    effect
        Design effect: how many errors count as one.

    Returns
    -------
    float
        At most this, in exactness, for a design effect of 1.
    """
    if math.isinf(effect):
        return 1.0
    # The fewest that are more than the share; a product such as 0.07 * 100 lies a rounding beside the whole number.
    breaking = math.floor(target_error * answered + 1e-9) + 1
    return binomial_cdf(errors / effect, breaking / effect)


def design_effect(wrong: NDArray[np.bool_], members: NDArray[np.int64], trust: float) -> float:
    """Compute by how much more errors vary between groups than between images, at least 1.

    Parameters
    ----------
    wrong
        N, whether an answer is wrong.
    members
        N, index of the group of each answer.
    trust
        Confidence for which the estimate is widened.

    Returns
    -------
    float
        Infinite where all answers are of one group: nothing is known of another then.
    """
    answers = np.bincount(members)
    errors = np.bincount(members, wrong)[answers > 0]
    answers = answers[answers > 0]
    if len(answers) == len(wrong):  # each image a group of its own
        return 1.0
    if len(answers) == 1:
        return math.inf
    share = float(wrong.mean())
    if share in (0.0, 1.0):
        return 1.0
    spread = float(((errors - share * answers) ** 2).sum()) * len(answers) / (len(answers) - 1)
    widened = student_quantile(trust, len(answers) - 1) / NormalDist().inv_cdf(trust)
    return max(1.0, spread / (len(wrong) * share * (1 - share)) * widened**2)


def _tried(n: int, target_error: float, trust: float) -> range:
    """Which images' confidences are tried as limits, counted from the surest."""
    # With fewer answers the promise cannot be shown even if all are right: trying would end the search at once.
    first = max(fewest_images(target_error, trust), math.ceil(n * _FIRST_SHARE))
    return range(first - 1, n, max(1, n // _STEPS))


def fewest_images(target_error: float, trust: float = 0.9) -> int:
    """Compute how many answers, all of them right, show the promise at least."""
    # So many tosses in a row must all show tails.
    tosses = math.ceil(math.log2(1 / (1 - trust)) - 1e-9)
    return max(1, math.ceil((tosses - 1) / target_error - 1e-9))


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
