# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import date
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medhub.errors import Invalid
from medhub.records.field_values import (
    MAX_INTEGER,
    MAX_TEXT_LENGTH,
    FieldInvalid,
    Kind,
    check_definition,
    check_value,
    check_values,
)

KINDS = get_args(Kind)


@dataclass
class Defined:
    key: str = "x"
    label: str = "The field"
    kind: str = "text"
    required: bool = False
    choices: list[str] = field(default_factory=list)


def of_kind(kind: str, **more: Any) -> Defined:
    return Defined(kind=kind, choices=["low", "high", "1"] if kind == "choice" else [], **more)


TYPES: dict[str, type] = {
    "text": str,
    "integer": int,
    "decimal": float,
    "date": str,
    "boolean": bool,
    "choice": str,
}

values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["yes", "No", "TRUE", "0", "low", "high", "2026-11-21", "11.9", "-3", " 7 ", "1e400", "nan"])
    | st.dates().map(str)
    | st.integers().map(str)
    | st.floats().map(str)
)


@given(st.sampled_from(KINDS), values)
def test_a_value_is_stored_in_the_form_of_its_kind_or_refused(kind: str, value: Any) -> None:
    defined = of_kind(kind)
    try:
        stored = check_values({"x": value}, [defined])
    except FieldInvalid as error:
        refused = (error.facts["field"], "The field" in error.message)
        assert refused == ("fields.x", True)
        return
    if not stored:
        assert value is None or (isinstance(value, str) and not value.strip())
        return
    value = stored["x"]
    assert type(value) is TYPES[kind]
    assert check_value(value, defined) == value
    json.dumps(stored, allow_nan=False).encode()
    if kind == "text":
        assert isinstance(value, str)
        assert value == value.strip() != ""
        value.encode()
    if kind == "integer":
        assert isinstance(value, int)
        assert abs(value) <= MAX_INTEGER
    if kind == "decimal":
        assert isinstance(value, float)
        assert math.isfinite(value)
    if kind == "date":
        assert isinstance(value, str)
        assert date.fromisoformat(value).isoformat() == value
    if kind == "choice":
        assert value in defined.choices


@given(st.integers(-MAX_INTEGER, MAX_INTEGER))
def test_whole_numbers_keep_every_digit(number: int) -> None:
    for given_as in (number, str(number)):
        assert check_value(given_as, of_kind("integer")) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_their_value(number: float) -> None:
    for given_as in (number, repr(number)):
        assert check_value(given_as, of_kind("decimal")) == number


@given(st.dates())
def test_dates_keep_their_day(day: date) -> None:
    assert check_value(day.isoformat(), of_kind("date")) == day.isoformat()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", 7),
        ("text", True),
        ("text", "x" * (MAX_TEXT_LENGTH + 1)),
        ("text", "a\x00b"),
        ("text", "\ud800"),
        ("integer", "seven"),
        ("integer", 7.5),
        ("integer", True),
        ("integer", 2**53),
        ("integer", "9" * 5000),
        ("decimal", "high"),
        ("decimal", True),
        ("decimal", math.inf),
        ("decimal", 10**400),
        ("date", "2026-02-30"),
        ("date", "21.11.2026"),
        ("date", 20261121),
        ("boolean", "perhaps"),
        ("boolean", 2),
        ("choice", "medium"),
        ("choice", "LOW"),
        ("choice", 1),
    ],
)
def test_what_does_not_fit_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(FieldInvalid, match="The field"):
        check_values({"x": value}, [of_kind(kind)])


@pytest.mark.parametrize(("word", "meant"), [("yes", True), ("No", False), ("TRUE", True), ("0", False), (1, True)])
def test_yes_and_no_are_understood_in_several_words(word: Any, meant: bool) -> None:
    assert check_value(word, of_kind("boolean")) is meant


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("empty", [None, "", "   ", "\t\n"])
def test_an_empty_value_is_left_out_and_does_not_do_where_one_is_required(kind: str, empty: str | None) -> None:
    assert check_values({"x": empty}, [of_kind(kind)]) == {}
    with pytest.raises(FieldInvalid, match="“The field” is required"):
        check_values({"x": empty}, [of_kind(kind, required=True)])
    assert check_values({"x": empty}, [of_kind(kind, required=True)], complete=False) == {}


def test_a_required_field_that_is_not_given_is_missed() -> None:
    fields = [Defined("a", "A", required=True), Defined("b", "B")]
    with pytest.raises(FieldInvalid, match="“A” is required") as caught:
        check_values({"b": "x"}, fields)
    assert caught.value.facts["field"] == "fields.a"
    assert check_values({"a": "x"}, fields) == {"a": "x"}


def test_false_and_zero_are_values() -> None:
    fields = [Defined("a", "A", "boolean", required=True), Defined("b", "B", "integer", required=True)]
    assert check_values({"a": False, "b": 0}, fields) == {"a": False, "b": 0}


def test_a_key_that_nobody_defined_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(FieldInvalid, match=r"no field “ward”\. It has: age, sex") as caught:
        check_values({"ward": "4B"}, [Defined("sex", "Sex"), Defined("age", "Age")])
    assert caught.value.facts["field"] == "fields.ward"
    with pytest.raises(FieldInvalid, match="It has: none"):
        check_values({"ward": "4B"}, [])


@pytest.mark.parametrize("key", ["a", "haemoglobin", "x2_y", "a" * 40])
def test_a_key_is_a_small_word(key: str) -> None:
    check_definition(key, "text", [])


@pytest.mark.parametrize("key", ["", "A", "2a", "_a", "a-b", "a b", "ä", "a" * 41, "a\n", "a'; DROP", '"'])
def test_any_other_key_is_refused(key: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_definition(key, "text", [])
    assert caught.value.facts["field"] == "key"


@pytest.mark.parametrize(
    ("kind", "choices"), [("choice", []), ("choice", ["a", "a"]), ("choice", ["a", ""]), ("text", ["a"])]
)
def test_choices_belong_to_a_choice_and_are_different(kind: str, choices: list[str]) -> None:
    with pytest.raises(Invalid) as caught:
        check_definition("a", kind, choices)
    assert caught.value.facts["field"] == "choices"
