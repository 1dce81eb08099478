# SPDX-License-Identifier: Apache-2.0
"""k-anonymity of tables with known classes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medhub.errors import Invalid
from medhub.science.deid.anonymity import k_anonymity

# Two people of the same kind, three of another, one alone.
ROWS = [
    {"patient": "P-1", "sex": "F", "age": "040Y"},
    {"patient": "P-2", "sex": "F", "age": "040Y"},
    {"patient": "P-3", "sex": "M", "age": "061Y"},
    {"patient": "P-4", "sex": "M", "age": "061Y"},
    {"patient": "P-5", "sex": "M", "age": "061Y"},
    {"patient": "P-6", "sex": "M", "age": "090Y"},
]


def test_k_is_the_size_of_the_smallest_class() -> None:
    anonymity = k_anonymity(ROWS, ["sex", "age"], least=3)
    assert (anonymity.k, anonymity.patients, anonymity.classes) == (1, 6, 3)
    assert (anonymity.below, anonymity.rows, anonymity.share) == (3, (0, 1, 5), 0.5)
    assert anonymity.sizes == ((1, 1), (2, 1), (3, 1))
    assert anonymity.risk == 1.0


def test_fewer_columns_hide_people_better() -> None:
    assert k_anonymity(ROWS, ["sex"]).k == 2
    assert k_anonymity(ROWS, []).k == 6


def test_people_are_counted_and_not_images() -> None:
    many = [{"patient": "P-1", "sex": "F"}] * 40 + [{"patient": "P-2", "sex": "M"}]
    anonymity = k_anonymity(many, ["sex"], least=2)
    assert (anonymity.k, anonymity.patients, anonymity.below) == (1, 2, 2)
    assert anonymity.rows == tuple(range(41))


def test_all_rows_of_a_person_are_read_together() -> None:
    rows = [
        {"patient": "P-1", "year": "2020"},
        {"patient": "P-1", "year": "2021"},
        {"patient": "P-2", "year": "2020"},
        {"patient": "P-3", "year": "2020"},
    ]
    anonymity = k_anonymity(rows, ["year"], least=2)
    assert (anonymity.k, anonymity.classes, anonymity.rows) == (1, 2, (0, 1))


def test_a_missing_value_is_a_value_of_its_own() -> None:
    rows: list[dict[str, object]] = [
        {"patient": 1, "sex": ""},
        {"patient": 2},
        {"patient": 3, "sex": None},
        {"patient": 4, "sex": "F"},
    ]
    assert k_anonymity(rows, ["sex"]).sizes == ((1, 1), (3, 1))


def test_no_rows_mean_nobody() -> None:
    anonymity = k_anonymity([], ["sex"])
    assert (anonymity.k, anonymity.patients, anonymity.share, anonymity.risk) == (0, 0, 0.0, 0.0)


def test_a_row_of_nobody_is_refused() -> None:
    with pytest.raises(Invalid, match="Row 2"):
        k_anonymity([{"patient": "P-1"}, {"sex": "F"}], ["sex"])


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("FM"), st.integers(0, 2)), max_size=40))
def test_it_agrees_with_a_count_by_hand(drawn: list[tuple[int, str, int]]) -> None:
    rows = [{"patient": f"P-{code}", "sex": sex, "decade": decade} for code, sex, decade in drawn]
    classes = {
        code: frozenset((sex, decade) for patient, sex, decade in drawn if patient == code) for code, _, _ in drawn
    }
    sizes = Counter(classes.values())
    anonymity = k_anonymity(rows, ["sex", "decade"], least=3)
    assert anonymity.k == min(sizes.values(), default=0)
    assert anonymity.patients == sum(sizes.values())
    assert set(anonymity.rows) == {number for number, (code, _, _) in enumerate(drawn) if sizes[classes[code]] < 3}
