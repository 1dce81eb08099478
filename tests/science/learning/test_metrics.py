# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from medhub.science.inference.classifier import softmax
from medhub.science.learning.calibration import fit_temperature
from medhub.science.learning.metrics import bootstrap, calibration_error, confusion, per_label, wilson


def test_wilsons_interval_has_the_published_values() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    for hits, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        found = wilson(hits, n)
        assert found.low == pytest.approx(low, abs=5e-5)
        assert found.high == pytest.approx(high, abs=5e-5)


def test_the_value_lies_in_its_interval_also_at_the_ends() -> None:
    for hits in (0, 1, 19, 20):
        found = wilson(hits, 20)
        assert 0 <= found.low <= found.value <= found.high <= 1
    with pytest.raises(ValueError, match="hits"):
        wilson(3, 2)


def test_the_bootstrap_agrees_with_the_binomial() -> None:
    right = np.arange(400) >= 40
    found = bootstrap(right)
    assert found.value == 0.9
    assert found.low == pytest.approx(0.87, abs=0.005)
    assert found.high == pytest.approx(0.93, abs=0.005)
    assert found == bootstrap(right)


def test_recall_and_precision_are_counted_by_label() -> None:
    targets = np.array([0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 1, 1, 1, 0])
    assert confusion(predicted, targets, 3).tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    first, second, third = per_label(predicted, targets, 3)
    assert [one.n for one in (first, second, third)] == [3, 2, 1]
    assert [one.recall for one in (first, second, third)] == pytest.approx([2 / 3, 1, 0])
    assert [one.precision for one in (first, second, third)] == pytest.approx([2 / 3, 2 / 3, 0])


def test_the_calibration_error_is_the_distance_of_confidence_and_accuracy() -> None:
    probabilities = np.array([[0.8, 0.2]] * 10)
    assert calibration_error(probabilities, np.array([0] * 8 + [1] * 2)) == pytest.approx(0)
    assert calibration_error(probabilities, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.3)


def test_the_temperature_is_found_again() -> None:
    chance = np.random.default_rng(0)
    logits = chance.normal(size=(20_000, 4)) * 2
    targets = np.array([chance.choice(4, p=row) for row in softmax(logits)])
    assert fit_temperature(logits, targets) == pytest.approx(1, abs=0.05)
    assert fit_temperature(logits * 3, targets) == pytest.approx(3, abs=0.15)
