# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from medhub.training import dataset_contents
from medhub.training.dataset_contents import Entry, NothingToLearn, SingleLabel
from medhub.training.drift import PredictionPoint, critical_index, measure, stability_index
from medhub.training.promotion_criteria import (
    ClassifierAnswers,
    Pair,
    PromotionCriteria,
    calibration_error,
    check_criteria,
    compare,
)
from medhub.training.run_progress import Progress


def test_the_part_of_a_patient_depends_on_nothing_else() -> None:
    key = b"k" * 32
    entries = [Entry(content=str(n), group=f"patient {n % 40}", label="a") for n in range(200)]
    alone = {entry.group: dataset_contents.part_of(key, entry) for entry in entries}
    assert len(alone) == 40
    assert all(dataset_contents.part_of(key, entry) == alone[entry.group] for entry in reversed(entries))


def test_the_digest_depends_on_every_fact_and_not_on_the_order() -> None:
    rows = [Entry(content=c, group="p", label="a").line("train", "g") for c in "xyz"]
    assert dataset_contents.digest_of_rows(rows) == dataset_contents.digest_of_rows(reversed(rows))
    assert dataset_contents.digest_of_rows(rows) != dataset_contents.digest_of_rows(rows[:2])
    changed = Entry(content="x", group="p", label="b").line("train", "g")
    assert dataset_contents.digest_of_rows([changed, *rows[1:]]) != dataset_contents.digest_of_rows(rows)


def test_a_version_needs_two_labels() -> None:
    with pytest.raises(NothingToLearn):
        dataset_contents.check_labels([])
    with pytest.raises(SingleLabel, match="red"):
        dataset_contents.check_labels(["red", "red"])
    dataset_contents.check_labels(["red", "green"])


def test_what_a_part_lacks_is_told() -> None:
    counted = dataset_contents.count_labels(["a", "a", "a", "b"], ["train", "val", "test", "train"])
    assert counted == {"a": {"train": 1, "val": 1, "test": 1}, "b": {"train": 1, "val": 0, "test": 0}}
    val, test = dataset_contents.describe_gaps(counted)
    assert "No image of b is in the part “val”" in val
    assert "measured" in test


# Progress.


def line_of(**event: object) -> str:
    return json.dumps(event)


def test_progress_is_what_was_said_last() -> None:
    progress = Progress()
    for line in (
        line_of(event="stage", name="reading"),
        line_of(event="stage", name="learning"),
        line_of(event="step", step=12, of=400, loss=0.8, eta_s=95.0),
        line_of(event="epoch", epoch=1, of=8, loss=1.0, validation_loss=0.9, validation_accuracy=0.5),
    ):
        progress = progress.after_line(line)
    assert (progress.stage, progress.step, progress.steps, progress.eta_s) == ("learning", 12, 400, 95.0)
    assert [item["validation_accuracy"] for item in progress.curve] == [0.5]
    assert progress.after_line(line_of(event="done", digest="d")).digest == "d"
    assert progress.after_line(line_of(event="failed", message="No labels.")).failure == "No labels."


def test_an_epoch_that_is_told_again_is_not_counted_twice() -> None:
    progress = Progress()
    for epoch, loss in ((1, 1.0), (2, 0.9), (2, 0.8)):
        progress = progress.after_line(line_of(event="epoch", epoch=epoch, of=3, loss=loss))
    assert [item["loss"] for item in progress.curve] == [1.0, 0.8]


@pytest.mark.parametrize("line", ["", "{", "[]", "null", '"x"', '{"event": 1}', "x" * 100_000, '{"event":"step"}'])
def test_what_makes_no_sense_changes_little(line: str) -> None:
    progress = Progress(stage="learning")
    assert progress.after_line(line).stage == "learning"


def test_a_number_that_is_none_is_left_out() -> None:
    progress = Progress().after_line('{"event": "step", "step": NaN, "of": -1, "eta_s": "soon"}')
    assert (progress.step, progress.steps, progress.eta_s) == (None, None, None)


# Limits.

LIMITS = PromotionCriteria(margin=0.02, ece=0.05, abstention=0.2, images=4)


def sure(label: str) -> ClassifierAnswers:
    return ClassifierAnswers(label, 1.0, uncertain=False)


def test_a_classifier_that_is_as_good_keeps_the_limits() -> None:
    pairs = [Pair(label, sure(label), sure(label)) for label in "aabb"]
    checks = check_criteria(LIMITS, pairs)
    assert [(item.name, item.value, item.met) for item in checks] == [
        ("images", 4, True),
        ("margin", 0.0, True),
        ("ece", 0.0, True),
        ("abstention", 0.0, True),
    ]


@pytest.mark.parametrize(
    ("pairs", "failed"),
    [
        ([], {"images", "margin", "ece", "abstention"}),
        ([Pair("a", sure("a"), sure("a"))] * 3, {"images"}),
        (
            [*[Pair("a", sure("a"), sure("a"))] * 9, Pair("b", ClassifierAnswers("a", 0.0, False), sure("b"))],
            {"margin"},
        ),
        ([Pair("a", ClassifierAnswers("a", 0.5, False), sure("a"))] * 4, {"ece"}),
        (
            [*[Pair("a", sure("a"), sure("a"))] * 3, Pair("a", ClassifierAnswers("a", 1.0, True), sure("a"))],
            {"abstention"},
        ),
    ],
)
def test_each_limit_is_judged_by_itself(pairs: list[Pair], failed: set[str]) -> None:
    assert {item.name for item in check_criteria(LIMITS, pairs) if not item.met} == failed


def test_the_margin_counts_labels_and_not_images() -> None:
    """Nine of ten images right, but one of two labels never found: the balanced accuracy is a half."""
    pairs = [*[Pair("a", sure("a"), sure("a"))] * 9, Pair("b", sure("a"), sure("b"))]
    (margin,) = [item for item in check_criteria(LIMITS, pairs) if item.name == "margin"]
    assert margin.value == 0.5


def test_the_calibration_error_is_that_of_a_table_by_hand() -> None:
    # Two bins: 0.9 with 1 of 2 right (apart 0.4), 0.6 with 2 of 2 right (apart 0.4).
    predictions = [
        ClassifierAnswers("a", 0.9, False),
        ClassifierAnswers("a", 0.9, False),
        ClassifierAnswers("a", 0.6, False),
        ClassifierAnswers("a", 0.6, False),
    ]
    assert calibration_error(["a", "b", "a", "a"], predictions) == pytest.approx(0.4)


def test_a_comparison_counts_who_was_right_where() -> None:
    right, wrong = sure("a"), sure("b")
    pairs = [Pair("a", right, right)] * 5 + [Pair("a", right, wrong)] * 8 + [Pair("a", wrong, right)]
    result = compare(pairs)
    assert (result.n, result.both_right, result.only_first, result.only_second, result.both_wrong) == (14, 5, 8, 1, 0)
    assert result.accuracy == pytest.approx((13 / 14, 6 / 14))
    assert result.p == pytest.approx(2 * sum([1, 9]) / 2**9)  # exact binomial: 0 or 1 of 9, both sides
    assert compare([]).p is None


# Drift.


def points(labels: list[str], starts: datetime, novel: float = 0.0) -> list[PredictionPoint]:
    return [
        PredictionPoint(starts + timedelta(minutes=n), label, 0.9, label == "Uncertain", n < novel * len(labels))
        for n, label in enumerate(labels)
    ]


START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday


def drawn(seed: int, n: int, shares: dict[str, float]) -> list[str]:
    return [str(item) for item in np.random.default_rng(seed).choice(list(shares), n, p=list(shares.values()))]


def test_what_stays_the_same_raises_no_alarm() -> None:
    shares = {"a": 0.5, "b": 0.3, "c": 0.2}
    predictions = points(drawn(0, 200, shares), START)
    for week in range(1, 40):
        predictions += points(drawn(week, 60, shares), START + timedelta(weeks=week))
    result = measure(predictions, "week")
    assert result.reference is not None
    assert result.reference.n == 200
    assert len(result.spans) == 39
    assert [span.alarm for span in result.spans if span.alarm] == []


def test_other_labels_raise_an_alarm_that_names_them() -> None:
    predictions = points(["a", "b"] * 100, START) + points(["a"] * 80 + ["b"] * 10, START + timedelta(weeks=1))
    result = measure(predictions, "week")
    assert result.spans[0].starts == date(2026, 1, 12)
    assert result.spans[0].psi is not None
    assert result.spans[0].psi > 0.25
    assert result.alarm is not None
    assert "50% then, 11% now" in result.alarm


def test_strange_images_raise_an_alarm() -> None:
    predictions = points(["a", "b"] * 100, START) + points(["a", "b"] * 50, START + timedelta(days=3), novel=0.2)
    result = measure(predictions, "day")
    assert result.alarm is not None
    assert "20% of the images are unlike" in result.alarm


def test_few_images_raise_none() -> None:
    predictions = points(["a", "b"] * 100, START) + points(["c"] * 49, START + timedelta(days=3), novel=1.0)
    assert measure(predictions, "day").alarm is None
    assert measure([], "day").reference is None


def test_the_index_is_that_of_a_table_by_hand() -> None:
    result = stability_index(
        {"a": 99, "b": 99}, {"a": 49, "b": 149}
    )  # with a half each: 0.5, 0.5 against 49.5/199, 149.5/199
    p = 49.5 / 199
    assert result == pytest.approx((p - 0.5) * np.log(p / 0.5) + (0.5 - p) * np.log((1 - p) / 0.5))
    assert stability_index({"a": 5}, {"a": 500}) == 0


def test_the_bound_of_chance_holds_on_drawn_data() -> None:
    random = np.random.default_rng(1)
    shares = [0.4, 0.3, 0.2, 0.1]
    over = 0
    for _ in range(400):
        first, second = random.multinomial(300, shares), random.multinomial(150, shares)
        table = [dict(zip("abcd", map(int, counts), strict=True)) for counts in (first, second)]
        over += stability_index(*table) > critical_index(4, 300, 150)
    assert over / 400 < 0.03
