# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from medhub.science.inference.classifier import softmax
from medhub.science.learning import metrics
from medhub.science.learning.calibration import fit_temperature
from medhub.science.learning.metrics import (
    accuracy,
    auroc,
    average_precision,
    balanced_accuracy,
    calibration_error,
    confusion,
    draw_groups,
    mcnemar,
    per_label,
    reliability,
    wilson,
)

ONCE = np.ones((1, 6))


def test_wilsons_interval_has_the_published_values() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    for hits, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        result = wilson(hits, n)
        assert result.low == pytest.approx(low, abs=5e-5)
        assert result.high == pytest.approx(high, abs=5e-5)


def test_the_value_lies_in_its_interval_also_at_the_ends() -> None:
    for hits in (0, 1, 19, 20):
        result = wilson(hits, 20)
        assert 0 <= result.low <= result.value <= result.high <= 1
    with pytest.raises(ValueError, match="hits"):
        wilson(3, 2)


def test_with_a_group_for_each_image_the_bootstrap_agrees_with_the_binomial() -> None:
    right = np.arange(400) >= 40
    targets = np.zeros(400, np.int64)
    drawn = draw_groups([str(index) for index in range(400)])
    result = accuracy(np.where(right, 0, 1), targets, drawn)
    assert result.value == 0.9
    assert result.low == pytest.approx(0.87, abs=0.006)
    assert result.high == pytest.approx(0.93, abs=0.006)


def test_images_of_one_patient_promise_less_than_images_of_many() -> None:
    right = np.arange(400) >= 40
    targets = np.zeros(400, np.int64)
    predicted = np.where(right, 0, 1)
    alone = accuracy(predicted, targets, draw_groups([str(index) for index in range(400)]))
    together = accuracy(predicted, targets, draw_groups([str(index // 40) for index in range(400)]))
    assert together.value == alone.value
    assert together.high - together.low > 3 * (alone.high - alone.low)


def test_where_no_error_was_seen_there_may_still_be_one() -> None:
    targets = np.zeros(45, np.int64)
    alone = accuracy(targets, targets, draw_groups([str(index) for index in range(45)]))
    assert (alone.value, alone.high) == (1, 1)
    assert alone.low == pytest.approx(wilson(45, 45).low)
    together = accuracy(targets, targets, draw_groups([str(index // 15) for index in range(45)]))
    assert together.low == pytest.approx(wilson(3, 3).low)


def test_each_draw_takes_as_many_groups_as_there_are() -> None:
    drawn = draw_groups(["a", "a", "b", "c"], draws=50)
    assert drawn.shape == (51, 4)
    assert (drawn[0] == 1).all()
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, [0, 2, 3]].sum(1) == 3).all()


def test_figures_of_each_label_are_counted() -> None:
    targets = np.array([0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 1, 1, 1, 0])
    assert confusion(predicted, targets, 3).tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    probabilities = np.eye(3)[predicted]
    first, second, third = per_label(probabilities, targets, draw_groups(list("abcdef"), 20))
    assert [row.n for row in (first, second, third)] == [3, 2, 1]
    assert [row.sensitivity.value for row in (first, second, third)] == pytest.approx([2 / 3, 1, 0])
    assert [row.specificity.value for row in (first, second, third)] == pytest.approx([2 / 3, 3 / 4, 1])
    assert [row.precision.value for row in (first, second)] == pytest.approx([2 / 3, 2 / 3])
    assert np.isnan(third.precision.value)  # never said: there is no such figure
    assert [row.f1.value for row in (first, second, third)] == pytest.approx([2 / 3, 4 / 5, 0])
    everything = draw_groups(list("abcdef"), 5)
    assert balanced_accuracy(predicted, targets, 3, everything).value == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_the_roc_area_is_the_chance_that_a_positive_scores_above_a_negative() -> None:
    chance = np.random.default_rng(0)
    scores = np.round(chance.normal(size=60), 1)  # with ties
    positive = chance.random(60) < 0.4
    above = scores[positive][:, None] - scores[~positive][None]
    expected = ((above > 0) + 0.5 * (above == 0)).mean()
    assert auroc(scores, positive, np.ones((1, 60)))[0] == pytest.approx(expected)
    # An image that counts twice is as two images.
    twice = np.ones((1, 60))
    twice[0, :10] = 2
    more = np.r_[np.arange(60), np.arange(10)]
    assert auroc(scores, positive, twice)[0] == pytest.approx(auroc(scores[more], positive[more], np.ones((1, 70)))[0])
    assert np.isnan(auroc(scores, np.zeros(60, bool), np.ones((1, 60)))[0])


def test_the_precision_recall_area_is_the_mean_precision_at_the_positives() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    positive = np.array([True, False, True, True, False, False])
    assert average_precision(scores, positive, ONCE)[0] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    same = np.full(6, 0.5)  # nothing is told apart: the share of positives
    assert average_precision(same, positive, ONCE)[0] == pytest.approx(0.5)


def test_mcnemars_test_has_the_values_of_the_binomial() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(5, 5) == 1
    assert mcnemar(0, 5) == pytest.approx(2 / 32)
    assert mcnemar(1, 9) == pytest.approx(2 * 11 / 1024)


def test_two_classifiers_are_compared_image_by_image() -> None:
    first = np.array([True] * 80 + [False] * 20)
    second = np.array([True] * 90 + [False] * 10)
    result = metrics.compare(first, second, draw_groups([str(index) for index in range(100)]))
    assert (result.only_first, result.only_second) == (0, 10)
    assert result.difference.value == pytest.approx(0.1)
    assert 0 < result.difference.low < 0.1 < result.difference.high
    assert result.p_value == pytest.approx(2 / 1024)


def test_the_calibration_error_is_the_distance_of_confidence_and_accuracy() -> None:
    probabilities = np.array([[0.8, 0.2]] * 10)
    assert calibration_error(probabilities, np.array([0] * 8 + [1] * 2)) == pytest.approx(0)
    assert calibration_error(probabilities, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.3)
    (point,) = reliability(probabilities, np.array([0] * 5 + [1] * 5))
    assert (point.share, point.confidence, point.accuracy) == pytest.approx((1, 0.8, 0.5))


def test_the_temperature_is_found_again() -> None:
    chance = np.random.default_rng(0)
    logits = chance.normal(size=(20_000, 4)) * 2
    targets = np.array([chance.choice(4, p=row) for row in softmax(logits)])
    assert fit_temperature(logits, targets) == pytest.approx(1, abs=0.05)
    assert fit_temperature(logits * 3, targets) == pytest.approx(3, abs=0.15)
