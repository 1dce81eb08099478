# SPDX-License-Identifier: Apache-2.0
"""Calibration of probabilities: temperature scaling, with a bias for each label if it helps.

Temperature scaling (Guo et al., ICML 2017) changes the confidence of all predictions, and never the predicted label, so
it cannot correct a label that is predicted too rarely. Bias-corrected temperature scaling (Alexandari et al., ICML
2020) adds an offset to the scaled logits of each label, and can overfit. The offsets therefore have a ridge penalty,
whose strength is chosen by cross-validation over groups of the validation part; one of the strengths means no offsets.
The calibration is valid for data with similar label frequencies.
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
# Ridge penalties of the offsets, relative to the mean log loss; the infinite one means no offsets.
STRENGTHS = (math.inf, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
FEWEST_GROUPS = 10
_RANGE = (0.05, 20.0)
_GOLDEN = (5**0.5 - 1) / 2
_FOLDS = 5
_REPEATS = 10
_STEPS = 100


@dataclass(frozen=True)
class Calibrator:
    """A fitted calibration.

    Attributes
    ----------
    temperature
        Divisor of the logits.
    offsets
        C offsets that are added to the scaled logits; empty for none.
    """

    temperature: float
    offsets: tuple[float, ...] = ()

    def probabilities(self, logits: Floats) -> Floats:
        """Compute calibrated probabilities, N x C, of logits, N x C."""
        return softmax(logits / self.temperature + np.array(self.offsets or 0.0))


def fit_calibrator(logits: Floats, targets: Indices, groups: Sequence[str]) -> Calibrator:
    """Fit temperature and offsets.

    Parameters
    ----------
    logits
        N x C, of validation images.
    targets
        N label indices.
    groups
        N groups (patients); a group is not divided between folds of the cross-validation.

    Returns
    -------
    Calibrator
        Rounded to the precision of a card. Without offsets if there are fewer than ten groups, or if offsets do not
        reduce the cross-validated loss.
    """
    _, members = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    strength_index = 0
    if members.max() + 1 >= FEWEST_GROUPS:
        # argmin returns the first minimum, which has the strongest penalty.
        strength_index = int(np.argmin(cross_validated_losses(logits, targets, members)))
    calibrator = _fit_path(logits, targets)[strength_index]
    return Calibrator(round(calibrator.temperature, 6), tuple(round(offset, 4) for offset in calibrator.offsets))


def cross_validated_losses(logits: Floats, targets: Indices, members: Indices) -> Floats:
    """Compute the cross-validated log loss of each penalty strength.

    Parameters
    ----------
    logits, targets
        N x C, and N.
    members
        N, index of the group of each image.

    Returns
    -------
    Floats
        One value for each of ``STRENGTHS``: the mean of 10 repetitions of 5-fold cross-validation.
    """
    count, total = int(members.max()) + 1, np.zeros(len(STRENGTHS))
    for repeat in range(_REPEATS):
        fold = (np.random.default_rng(repeat).permutation(count) % _FOLDS)[members]
        for left_out in (fold == index for index in range(_FOLDS)):
            for index, calibrator in enumerate(_fit_path(logits[~left_out], targets[~left_out])):
                total[index] += _losses(calibrator.probabilities(logits[left_out]), targets[left_out]).sum()
    return total / len(targets) / _REPEATS


def fit_temperature(logits: Floats, targets: Indices) -> float:
    """Fit the temperature that minimizes the log loss (Guo et al., ICML 2017).

    Parameters
    ----------
    logits
        N x C, of validation images.
    targets
        N label indices.

    Returns
    -------
    float
        The temperature, within 0.05..20.
    """
    # The log loss has one minimum in log(temperature): golden-section search.
    low, high = np.log(_RANGE[0]), np.log(_RANGE[1])
    while high - low > 1e-5:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if log_loss(logits, targets, float(np.exp(left))) < log_loss(logits, targets, float(np.exp(right))):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def log_loss(logits: Floats, targets: Indices, temperature: float) -> float:
    """Compute the mean log loss at a temperature."""
    return float(_losses(softmax(logits / temperature), targets).mean())


def _losses(probabilities: Floats, targets: Indices) -> Floats:
    likelihoods: Floats = np.maximum(probabilities[np.arange(len(targets)), targets], 1e-300)
    return -np.log(likelihoods)


def _fit_path(logits: Floats, targets: Indices) -> list[Calibrator]:
    """Fit a calibrator for each of ``STRENGTHS``, starting from the solution of the previous one."""
    solution = np.r_[1 / fit_temperature(logits, targets), np.zeros(logits.shape[1])]
    calibrators = [Calibrator(float(1 / solution[0]))]
    for strength in STRENGTHS[1:]:
        solution = _minimize(logits, targets, strength, solution)
        calibrators.append(Calibrator(float(1 / solution[0]), tuple(solution[1:].tolist())))
    return calibrators


def _minimize(logits: Floats, targets: Indices, strength: float, at: Floats) -> Floats:
    """Minimize the penalized log loss, which is convex in inverse temperature and offsets, by Newton's method."""
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
        while length > 1e-6:  # backtracking line search
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
