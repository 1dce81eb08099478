# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from medhub.science.inference.classifier import softmax
from medhub.science.learning.calibration import (
    FEWEST_GROUPS,
    STRENGTHS,
    Calibrator,
    cross_validated_losses,
    fit_calibrator,
    fit_temperature,
)
from medhub.science.learning.metrics import calibration_error


def _probabilities(
    temperature: float, offsets: tuple[float, ...], n: int = 1200, seed: int = 5
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Logits of a network whose probabilities are right after this calibration; three images a group."""
    chance = np.random.default_rng(seed)
    logits = chance.normal(0, 2.5, (n, len(offsets)))
    truth = softmax(logits / temperature + np.array(offsets))
    targets = (chance.random((n, 1)) > truth.cumsum(1)).sum(1)
    return logits, targets, [str(index // 3) for index in range(n)]


def test_temperature_and_offsets_are_found_again() -> None:
    calibrator = fit_calibrator(*_probabilities(2.0, (1.0, -0.6, -0.4), 3000))
    assert calibrator.temperature == pytest.approx(2.0, rel=0.1)
    assert calibrator.offsets == pytest.approx((1.0, -0.6, -0.4), abs=0.2)


def test_offsets_make_confidence_mean_what_it_says_where_a_temperature_cannot() -> None:
    logits, targets, groups = _probabilities(1.5, (1.5, -1.0, -0.5))
    fresh, truth, _ = _probabilities(1.5, (1.5, -1.0, -0.5), 6000, seed=6)
    with_offsets = fit_calibrator(logits, targets, groups).probabilities(fresh)
    alone = Calibrator(fit_temperature(logits, targets)).probabilities(fresh)
    assert (with_offsets.argmax(1) == truth).mean() > (alone.argmax(1) == truth).mean() + 0.02
    assert calibration_error(with_offsets, truth) < 0.03


def test_where_no_label_is_said_too_seldom_offsets_stay_small() -> None:
    calibrator = fit_calibrator(*_probabilities(2.0, (0.0, 0.0, 0.0)))
    assert all(abs(offset) < 0.15 for offset in calibrator.offsets)
    assert calibrator.temperature == pytest.approx(2.0, rel=0.1)


def test_the_strength_is_that_of_the_least_loss_on_groups_that_were_left_out() -> None:
    logits, targets, groups = _probabilities(1.0, (1.0, 0.0, -1.0), 300)
    members = np.unique(groups, return_inverse=True)[1]
    losses = cross_validated_losses(logits, targets, members)
    assert len(losses) == len(STRENGTHS)
    assert losses.argmin() > 0
    # The stronger the ridge, the nearer to no offsets at all.
    assert abs(losses[1] - losses[0]) < abs(losses[-1] - losses[0])


def test_few_groups_get_a_temperature_alone() -> None:
    logits, targets, _ = _probabilities(1.0, (2.0, 0.0, -2.0), 300)
    few = [str(index % (FEWEST_GROUPS - 1)) for index in range(300)]
    assert fit_calibrator(logits, targets, few).offsets == ()


def test_a_network_that_is_never_wrong_is_calibrated_too() -> None:
    targets = np.arange(90) % 3
    calibrator = fit_calibrator(np.eye(3)[targets] * 4, targets, [str(index) for index in range(90)])
    assert 0.05 <= calibrator.temperature <= 20
    assert np.isfinite(calibrator.probabilities(np.eye(3))).all()
