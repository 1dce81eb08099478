# SPDX-License-Identifier: Apache-2.0
"""Making probabilities mean what they say: a temperature, and where they help an offset for each label.

Dividing the logits by one temperature (Guo et al., ICML 2017) makes all answers less sure, and moves none. A network
that says one label too seldom stays wrong about it. An offset for each label beside the temperature (bias-corrected
temperature scaling; Alexandari et al., ICML 2020) mends that, and can overfit; so the offsets are drawn to zero by a
ridge, whose strength is chosen among a few, "no offsets" among them, by cross-validation over groups of the validation
part. Like every calibration it holds where labels are about as frequent as there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medhub.science.inference.classifier import softmax

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
# Squared offsets are charged so much beside the mean log loss; with the first there are none.
STRENGTHS = (math.inf, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
FEWEST_GROUPS = 10
_RANGE = (0.05, 20.0)
_GOLDEN = (5**0.5 - 1) / 2
_FOLDS = 5
_REPEATS = 10
_STEPS = 100


@dataclass(frozen=True)
class Calibrator:
    """Turns logits into probabilities.

    Attributes
    ----------
    temperature
        By which the logits are divided.
    offsets
        C, added afterwards; empty for none.
    """

    temperature: float
    offsets: tuple[float, ...] = ()

    def probabilities(self, logits: Floats) -> Floats:
        """Map N x C logits to N x C probabilities."""
        return softmax(logits / self.temperature + np.array(self.offsets or 0.0))


def fit_calibrator(logits: Floats, targets: Indices, groups: Sequence[str]) -> Calibrator:
    """Find temperature and offsets.

    Parameters
    ----------
    logits
        N x C, of images that the network did not learn from.
    targets
        N label indices.
    groups
        N; images of one group (patient) are in one fold of the cross-validation.

    Returns
    -------
    Calibrator
        Rounded to what a card holds. Without offsets where there are fewer than ten groups, or where offsets predict
        images that were left out no better.
    """
    _, members = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    strength_index = 0
    if members.max() + 1 >= FEWEST_GROUPS:
        # The first of equals is taken: no offsets, or the smallest.
        strength_index = int(np.argmin(cross_validated_losses(logits, targets, members)))
    calibrator = _fit_path(logits, targets)[strength_index]
    return Calibrator(round(calibrator.temperature, 6), tuple(round(offset, 4) for offset in calibrator.offsets))


def cross_validated_losses(logits: Floats, targets: Indices, members: Indices) -> Floats:
    """Compute the mean negative log likelihood of groups that the calibration did not see, for each strength.

    Parameters
    ----------
    logits, targets
        N x C, and N.
    members
        N, index of the group of each image.

    Returns
    -------
    Floats
        One for each of ``STRENGTHS``: the mean over ten divisions into five folds.
    """
    count, total = int(members.max()) + 1, np.zeros(len(STRENGTHS))
    for repeat in range(_REPEATS):
        fold = (np.random.default_rng(repeat).permutation(count) % _FOLDS)[members]
        for left_out in (fold == index for index in range(_FOLDS)):
            for index, calibrator in enumerate(_fit_path(logits[~left_out], targets[~left_out])):
                total[index] += _losses(calibrator.probabilities(logits[left_out]), targets[left_out]).sum()
    return total / len(targets) / _REPEATS


def fit_temperature(logits: Floats, targets: Indices) -> float:
    """Find the temperature with the least negative log likelihood (Guo et al., ICML 2017).

    Parameters
    ----------
    logits
        N x C, of images that the network did not learn from.
    targets
        N label indices.

    Returns
    -------
    float
        The temperature, within 0.05..20.
    """
    # The likelihood has one peak in log(temperature): golden section search.
    low, high = np.log(_RANGE[0]), np.log(_RANGE[1])
    while high - low > 1e-5:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if log_loss(logits, targets, float(np.exp(left))) < log_loss(logits, targets, float(np.exp(right))):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def log_loss(logits: Floats, targets: Indices, temperature: float) -> float:
    """Compute the mean negative log likelihood at a temperature."""
    return float(_losses(softmax(logits / temperature), targets).mean())


def _losses(probabilities: Floats, targets: Indices) -> Floats:
    likelihoods: Floats = np.maximum(probabilities[np.arange(len(targets)), targets], 1e-300)
    return -np.log(likelihoods)


def _fit_path(logits: Floats, targets: Indices) -> list[Calibrator]:
    """Fit with each of ``STRENGTHS``, each from where the one before it ended."""
    solution = np.r_[1 / fit_temperature(logits, targets), np.zeros(logits.shape[1])]
    calibrators = [Calibrator(float(1 / solution[0]))]
    for strength in STRENGTHS[1:]:
        solution = _minimize(logits, targets, strength, solution)
        calibrators.append(Calibrator(float(1 / solution[0]), tuple(solution[1:].tolist())))
    return calibrators


def _minimize(logits: Floats, targets: Indices, strength: float, at: Floats) -> Floats:
    """Find the inverse of the temperature, and the offsets; the loss is convex in them together."""
    n, classes = logits.shape
    target_matrix = np.eye(classes)[targets]

    def loss(at: Floats) -> float:
        ridge = strength * float((at[1:] ** 2).sum())
        return float(_losses(softmax(at[0] * logits + at[1:]), targets).mean()) + ridge

    current = loss(at)
    for _ in range(_STEPS):
        probabilities = softmax(at[0] * logits + at[1:])
        residuals, centered = probabilities - target_matrix, logits - (probabilities * logits).sum(1, keepdims=True)
        gradient = np.r_[(residuals * logits).sum(1).mean(), residuals.mean(0) + 2 * strength * at[1:]]
        hessian = np.empty((classes + 1, classes + 1))
        hessian[0, 0] = (probabilities * centered**2).sum(1).mean()
        hessian[0, 1:] = hessian[1:, 0] = (probabilities * centered).mean(0)
        hessian[1:, 1:] = np.diag(probabilities.mean(0) + 2 * strength) - probabilities.T @ probabilities / n
        step = np.linalg.solve(hessian + 1e-9 * np.eye(classes + 1), gradient)
        length, candidate, reduced = 1.0, at, current
        while length > 1e-6:  # halved until the loss falls
            candidate = at - length * step
            candidate[0] = np.clip(candidate[0], 1 / _RANGE[1], 1 / _RANGE[0])
            reduced = loss(candidate)
            if reduced <= current:
                break
            length /= 2
        if current - reduced < 1e-10:
            break
        at, current = candidate, reduced
    return at
