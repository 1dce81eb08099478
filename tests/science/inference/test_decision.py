# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medhub.errors import Invalid
from medhub.science.inference.card import Abstention, load_card
from medhub.science.inference.classifier import ClassifierOutput
from medhub.science.inference.decision import UNCERTAIN, decide, limit_of, reason_without_instruction

ROOT = Path(__file__).resolve().parents[3]


def _reading(best: float, *, novel: bool = False) -> ClassifierOutput:
    return ClassifierOutput({"a": best, "b": 1 - best}, 1.0, novel, np.zeros((2, 2), np.float32), 1.0)


def test_a_sure_reading_gets_its_label() -> None:
    decision = decide(_reading(0.9), 0.75)
    assert decision.label == "a"
    assert not decision.uncertain
    assert decision.reason is None
    assert decision.confidence == 0.9


def test_below_the_threshold_it_abstains_and_says_by_how_much() -> None:
    decision = decide(_reading(0.61), 0.75)
    assert decision.label == UNCERTAIN == "Uncertain"
    assert decision.uncertain
    assert decision.reason == "Below the limit of this pathway: 0.61 of 0.75."
    assert decision.likeliest == "a"


def test_a_probability_at_the_threshold_is_enough() -> None:
    assert not decide(_reading(0.75), 0.75).uncertain


def test_a_probability_just_below_does_not_read_as_if_it_were_enough() -> None:
    reason = decide(_reading(0.7499), 0.75).reason
    assert reason is not None
    assert "0.74 of 0.75" in reason


def test_a_novel_image_is_uncertain_however_sure_the_probabilities_are() -> None:
    decision = decide(_reading(0.9999, novel=True), 0.75)
    assert decision.label == "Uncertain"
    assert decision.reason == "Not like the images this classifier was trained on."
    assert decision.confidence == 0.9999


def test_a_probability_that_is_no_number_is_uncertain() -> None:
    assert decide(
        ClassifierOutput({"a": float("nan"), "b": float("nan")}, 0, False, np.zeros((1, 1), np.float32), 1), 0.5
    ).uncertain


@pytest.mark.parametrize("threshold", [0, -1, 1.01, float("nan")])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(Invalid):
        decide(_reading(0.9), threshold)


def test_a_learned_limit_counts_where_the_classifier_has_one() -> None:
    card = load_card(ROOT / "models" / "blood-cells").model_copy(update={"abstention": None})
    assert limit_of(card, 0.75, learned=True) == 0.75
    learned = Abstention(
        threshold=0.83, target_error=0.02, confidence=0.9, answered=0.9, error=0.01, n=300, method="measured"
    )
    card = card.model_copy(update={"abstention": learned})
    assert limit_of(card, 0.75, learned=True) == 0.83
    assert limit_of(card, 0.75, learned=False) == 0.75


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (
            "Below the limit of this pathway: 0.61 of 0.75. A note is needed.",
            "Below the limit of this pathway: 0.61 of 0.75.",
        ),
        ("Not like the images this classifier was trained on.", "Not like the images this classifier was trained on."),
        ("A note is needed.", None),
        ("", None),
        (None, None),
    ],
)
def test_reasons_of_former_versions_read_without_the_request_for_a_note(stored: str | None, shown: str | None) -> None:
    assert reason_without_instruction(stored) == shown
