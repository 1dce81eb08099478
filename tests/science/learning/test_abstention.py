# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest

from medhub.science.learning.abstention import chance_of_luck, curve, design_effect, fewest_images, learn_limit
from medhub.science.learning.distributions import binomial_cdf, incomplete_beta, student_quantile


def _world(chance: np.random.Generator, patients: int, images: int, apart: float) -> tuple[np.ndarray, np.ndarray]:
    """Confidence and truth, patient after patient; how hard a patient is varies by so much (on the logit)."""
    logits = chance.normal(2.6, 1.6, (patients, images))
    hard = chance.normal(0, apart, (patients, 1))
    right = chance.random((patients, images)) < 1 / (1 + np.exp(-(logits + hard)))
    return (1 / (1 + np.exp(-logits))).ravel(), right.ravel()


def _ways(n: int, k: int) -> int:
    return math.comb(n, k) if 0 <= k <= n else 0


def test_the_tails_are_those_of_the_textbook() -> None:
    assert binomial_cdf(0, 4) == pytest.approx(1 / 16)
    assert binomial_cdf(3, 5) == pytest.approx(sum(_ways(8, k) for k in range(4)) / 2**8)
    assert binomial_cdf(300, 400) == pytest.approx(sum(_ways(700, k) for k in range(301)) / 2**700)
    assert incomplete_beta(2, 3, 0.4) == pytest.approx(sum(_ways(4, k) * 0.4**k * 0.6 ** (4 - k) for k in (2, 3, 4)))
    # Student's table: one degree of freedom is Cauchy's distribution, many are the normal one.
    assert student_quantile(0.9, 1) == pytest.approx(math.tan(math.pi * 0.4))
    assert student_quantile(0.975, 10) == pytest.approx(2.2281, abs=1e-4)
    assert student_quantile(0.9, 100_000) == pytest.approx(1.28155, abs=1e-4)


@pytest.mark.parametrize(("answered", "target"), [(40, 0.1), (150, 0.02), (60, 0.05)])
def test_no_number_of_errors_makes_luck_likelier_than_is_said(answered: int, target: float) -> None:
    """Both sets are halves of one heap of answers, drawn without putting back; the chance is counted exactly."""
    breaking = math.floor(target * answered) + 1
    passes = [errors for errors in range(answered) if chance_of_luck(errors, answered, target) <= 0.1]
    assert passes == list(range(len(passes)))
    for heap in range(2 * answered + 1):
        broken = sum(
            _ways(heap, errors) * _ways(2 * answered - heap, answered - errors)
            for errors in passes
            if heap - errors >= breaking
        )
        assert broken <= 0.1 * _ways(2 * answered, answered)


def test_with_too_few_images_nothing_is_promised() -> None:
    assert fewest_images(0.02, 0.9) == 150
    assert fewest_images(0.05, 0.95) == 80
    assert learn_limit(np.full(149, 0.99), np.ones(149, bool), 0.02) is None
    limit = learn_limit(np.full(150, 0.99), np.ones(150, bool), 0.02)
    assert limit is not None
    assert (limit.threshold, limit.answered, limit.error, limit.n, limit.groups) == (0.99, 1.0, 0.0, 150, 150)


def test_one_patient_promises_nothing_about_another() -> None:
    confidence, right = np.full(400, 0.99), np.ones(400, bool)
    assert learn_limit(confidence, right, 0.02, groups=["same"] * 400) is None
    assert learn_limit(confidence, right, 0.02, groups=["one"] * 200 + ["other"] * 200) is not None


def test_if_the_surest_are_wrong_nothing_is_promised() -> None:
    confidence = np.linspace(0.99, 0.5, 500)
    right = np.arange(500) >= 20
    assert learn_limit(confidence, right, 0.02) is None


def test_an_image_unlike_the_training_data_is_never_answered() -> None:
    confidence = np.r_[np.full(200, 0.9), np.zeros(50)]
    limit = learn_limit(confidence, np.ones(250, bool), 0.02)
    assert limit is not None
    assert limit.threshold == 0.9
    assert limit.answered == pytest.approx(0.8)


def test_errors_that_come_together_count_less_than_their_number() -> None:
    members = np.repeat(np.arange(40), 10)
    scattered, together = np.zeros(400, bool), np.zeros(400, bool)
    scattered[::20] = True
    together[:20] = True
    assert design_effect(scattered, members, 0.9) == 1
    assert design_effect(together, members, 0.9) == pytest.approx(10, rel=0.1)
    assert design_effect(together, np.arange(400), 0.9) == 1
    assert math.isinf(design_effect(together, np.zeros(400, int), 0.9))


@pytest.mark.parametrize(
    ("patients", "images", "apart", "target"),
    [(400, 1, 0.0, 0.05), (400, 1, 0.0, 0.1), (22, 20, 1.0, 0.1), (6, 100, 1.0, 0.1), (44, 20, 2.0, 0.1)],
)
def test_a_further_set_keeps_the_promise_as_often_as_is_said(
    patients: int, images: int, apart: float, target: float
) -> None:
    chance = np.random.default_rng(7)
    groups = [str(patient) for patient in range(patients) for _ in range(images)]
    broken = promised = 0
    for _ in range(300):
        limit = learn_limit(*_world(chance, patients, images, apart), target, groups=groups)
        confidence, right = _world(chance, patients, images, apart)
        if limit is None:
            continue
        promised += 1
        answered = confidence >= limit.threshold
        broken += bool(answered.any()) and (~right[answered]).mean() > target
    assert promised > 20
    # At most a tenth, and what chance adds to a tenth of 300 (two standard deviations).
    assert broken <= 0.1 * 300 + 2 * math.sqrt(0.09 * 300)


def test_the_curve_counts_the_surest() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    right = np.array([True, True, False, True])
    assert curve(confidence, right, (1.0, 0.5, 0.75)) == [(1.0, 0.75), (0.5, 1.0), (0.75, pytest.approx(2 / 3))]
