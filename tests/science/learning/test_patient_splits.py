# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medhub.science.learning.patient_splits import PARTS, SHARES, assign, missing_labels, part_of_group

KEY = b"0123456789abcdef"


def test_the_part_of_a_group_is_the_same_for_ever() -> None:
    # Written down (r of train, a of val, e of test): should it ever change, patients would move from test to train.
    assert (
        "".join(part_of_group(KEY, f"P-{index}")[1] for index in range(40))
        == "arerrrrerrrrrrrrrreerarerrrrrrrraaerrrrr"
    )


def test_the_shares_come_out_and_another_key_divides_otherwise() -> None:
    groups = [f"P-{index}" for index in range(200_000)]
    counts = Counter(part_of_group(KEY, group) for group in groups)
    for part, share in zip(PARTS, SHARES, strict=True):
        assert counts[part] / len(groups) == pytest.approx(share, abs=0.005)
    other = b"fedcba9876543210"
    assert any(part_of_group(KEY, group) != part_of_group(other, group) for group in groups[:50])


def test_a_short_key_and_odd_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        part_of_group(b"short", "a")
    with pytest.raises(ValueError, match="sum"):
        part_of_group(KEY, "a", (0.5, 0.1, 0.1))


@given(st.lists(st.tuples(st.text(max_size=5), st.sampled_from("abc")), max_size=60), st.data())
def test_whoever_has_a_part_keeps_it_whatever_comes_later(images: list[tuple[str, str]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(images)))
    early = assign(images[:cut], KEY)
    late = assign(images, KEY, early)
    assert {group: late[group] for group in early} == early
    assert set(late) == {group for group, _ in images}


def test_few_groups_of_each_label_are_divided_evenly() -> None:
    images = [(f"{label}{index}", label) for label in "abcd" for index in range(10)]
    parts = assign(images, KEY)
    for label in "abcd":
        counts = Counter(parts[f"{label}{index}"] for index in range(10))
        assert counts == {"train": 7, "val": counts["val"], "test": counts["test"]}
        assert counts["val"] + counts["test"] == 3
        assert min(counts.values()) >= 1
    assert missing_labels([label for _, label in images], [parts[group] for group, _ in images]) == []


def test_a_part_without_a_label_is_named() -> None:
    assert missing_labels(["a", "a", "b"], ["train", "test", "train"]) == [
        ("val", "a"),
        ("val", "b"),
        ("test", "b"),
    ]
