# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest

from medhub.science.learning.abstention import binomial_tail, curve, fewest_images, learn_limit


def _world(chance: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidence and truth of a well-calibrated classifier."""
    confidence = 1 - chance.beta(0.4, 3, n)
    return confidence, chance.random(n) < confidence


def test_the_binomial_tail_is_that_of_the_textbook() -> None:
    assert binomial_tail(0, 10, 0.1) == pytest.approx(0.9**10)
    assert binomial_tail(2, 5, 0.5) == pytest.approx(16 / 32)
    assert binomial_tail(5, 5, 0.5) == 1
    exact = sum(math.comb(400, k) * 0.02**k * 0.98 ** (400 - k) for k in range(4))
    assert binomial_tail(3, 400, 0.02) == pytest.approx(exact)


def test_with_too_few_images_nothing_is_promised() -> None:
    assert fewest_images(0.02, 0.9) == 114
    assert learn_limit(np.full(113, 0.99), np.ones(113, bool), 0.02) is None
    found = learn_limit(np.full(114, 0.99), np.ones(114, bool), 0.02)
    assert found is not None
    assert (found.threshold, found.answered, found.error) == (0.99, 1.0, 0.0)


def test_if_the_surest_are_wrong_nothing_is_promised() -> None:
    confidence = np.linspace(0.99, 0.5, 500)
    right = np.arange(500) >= 20
    assert learn_limit(confidence, right, 0.02) is None


def test_an_image_unlike_the_training_data_is_never_answered() -> None:
    confidence = np.r_[np.full(200, 0.9), np.zeros(50)]
    found = learn_limit(confidence, np.ones(250, bool), 0.02)
    assert found is not None
    assert found.threshold == 0.9
    assert found.answered == pytest.approx(0.8)


@pytest.mark.parametrize("target", [0.02, 0.05, 0.10])
def test_the_promise_holds_as_often_as_it_says(target: float) -> None:
    chance = np.random.default_rng(7)
    sure, truth = _world(chance, 400_000)  # so many that its error is the true one
    broken = promised = 0
    for _ in range(300):
        confidence, right = _world(chance, 800)
        found = learn_limit(confidence, right, target)
        if found is None:
            continue
        promised += 1
        answered = sure >= found.threshold
        broken += (~truth[answered]).mean() > target
    assert promised > 250
    # At most a tenth, and what chance adds to a tenth of 300 (two standard deviations).
    assert broken <= 0.1 * promised + 2 * math.sqrt(0.09 * promised)


def test_the_curve_counts_the_surest() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    right = np.array([True, True, False, True])
    assert curve(confidence, right, (1.0, 0.5, 0.75)) == [(1.0, 0.75), (0.5, 1.0), (0.75, pytest.approx(2 / 3))]
