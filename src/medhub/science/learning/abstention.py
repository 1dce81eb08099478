# SPDX-License-Identifier: Apache-2.0
"""The abstention threshold: a selective classifier with a guaranteed error rate among its answers.

The threshold is the lowest confidence above which the classifier answers. It is learned on validation images, and has
this guarantee: in a new set of images from the same source, with as many images and patients as the validation set, the
error rate among the answers is at most the target, with the given confidence level. The guarantee is about the observed
error rate of the new set, not about its expectation, so it includes the sampling variation of that set.

The test is the conditional test of two counts (Przyborowski & Wilenski, Biometrika 1940), which assumes no model of the
images. Let k be the number of errors in the validation set, and c the smallest number of errors that exceeds the target
in a new set of as many answers. If the new set exceeds the target, both sets together have at least k + c errors. Both
sets come from the same distribution, so each error is in either set with probability 1/2. The threshold passes if the
probability of at most k successes in k + c such trials is at most 1 minus the confidence level. For any total number of
errors, the probability that a threshold passes and the new set then exceeds the target is then at most 1 minus the
confidence level. Answers are drawn without replacement, which makes this probability smaller, never larger.

Errors of images of one patient are correlated. Both counts are therefore divided by the design effect (Rao & Scott,
Biometrics 1992): the ratio of the variance of the errors between patients to the variance for independent images. The
estimate from few patients is uncertain, so it is increased by the ratio of the quantiles of Student's t and the normal
distribution.

Candidate thresholds are tested in descending order, and the search stops at the first that fails (fixed-sequence
testing, as in Angelopoulos et al., "Learn then test", 2021). The candidates depend on the confidences, not on the
labels: from the threshold that answers half of the images, in steps of 1/40 of the images. If the error rate grows as
the threshold falls, the multiple tests have almost no cost; ``bench/conformal.py`` measures it on real predictions.
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
    """A learned abstention threshold.

    Attributes
    ----------
    threshold
        Lowest confidence at which the classifier answers.
    answered
        Coverage: share of the validation images that are answered.
    error
        Selective risk: error rate among these.
    n, groups
        Number of validation images, and of their groups (patients).
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
    """Learn the lowest threshold that guarantees the target error rate.

    Parameters
    ----------
    confidence
        N, probability of the predicted label; 0 if the classifier abstains for another reason.
    right
        N, whether the predicted label is correct.
    target_error
        Largest error rate among the answers.
    trust
        Confidence level of the guarantee.
    groups
        N, the group (patient) of each image; by default each image is its own group.

    Returns
    -------
    Limit | None
        None if no threshold passes: there are too few images or groups, or too many errors at high confidence.
    """
    n = len(confidence)
    names = np.arange(n) if groups is None else np.asarray(groups, dtype=str)
    _, members = np.unique(names, return_inverse=True)
    order = np.argsort(-confidence, kind="stable")
    ordered, wrong, members = confidence[order], ~right[order], members[order]
    # Images of equal confidence are answered together, so a threshold lies only before a lower confidence.
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
    """Compute the p-value of a threshold: the probability of so few errors, given that a new set exceeds the target.

    Parameters
    ----------
    errors
        Number of wrong answers in the validation set.
    answered
        Number of answers in the validation set.
    target_error
        Largest error rate among the answers.
    effect
        Design effect, by which the counts are divided.

    Returns
    -------
    float
        An upper bound of the p-value; exact for a design effect of 1.
    """
    if math.isinf(effect):
        return 1.0
    # The smallest count above the target; 1e-9 corrects the rounding of a product such as 0.07 * 100.
    breaking = math.floor(target_error * answered + 1e-9) + 1
    return binomial_cdf(errors / effect, breaking / effect)


def design_effect(wrong: NDArray[np.bool_], members: NDArray[np.int64], trust: float) -> float:
    """Compute the design effect of the errors, at least 1.

    Parameters
    ----------
    wrong
        N, whether an answer is wrong.
    members
        N, index of the group of each answer.
    trust
        Confidence level of the correction for few groups.

    Returns
    -------
    float
        Infinite if all answers are of one group, because the variance between groups is then unknown.
    """
    answers = np.bincount(members)
    errors = np.bincount(members, wrong)[answers > 0]
    answers = answers[answers > 0]
    if len(answers) == len(wrong):  # each image is its own group
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
    """Indices of the images whose confidences are candidate thresholds, in descending order of confidence."""
    # With fewer answers the test fails even without errors, which would end the search at once.
    first = max(fewest_images(target_error, trust), math.ceil(n * _FIRST_SHARE))
    return range(first - 1, n, max(1, n // _STEPS))


def fewest_images(target_error: float, trust: float = 0.9) -> int:
    """Compute the smallest number of answers, all of them correct, that passes the test."""
    tosses = math.ceil(math.log2(1 / (1 - trust)) - 1e-9)
    return max(1, math.ceil((tosses - 1) / target_error - 1e-9))


def curve(confidence: Floats, right: NDArray[np.bool_], shares: tuple[float, ...]) -> list[tuple[float, float]]:
    """Compute the accuracy-coverage curve: pairs of coverage and selective accuracy.

    Parameters
    ----------
    confidence, right
        As in ``learn_limit``.
    shares
        Coverages, in (0, 1].

    Returns
    -------
    list[tuple[float, float]]
    """
    ordered = right[np.argsort(-confidence, kind="stable")]
    return [(share, float(ordered[: max(1, round(share * len(ordered)))].mean())) for share in shares]
