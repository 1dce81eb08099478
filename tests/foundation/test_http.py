# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Column, Integer, String, select

from medhub.errors import Invalid, MedhubError, NotFound
from medhub.foundation import clock
from medhub.foundation.http import Line, PageQuery, Schema, Text
from medhub.foundation.sorting import sort_clause

COLUMNS: dict[str, Column[Any]] = {"name": Column("name", String), "age": Column("age", Integer)}


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_what_no_database_holds_is_refused_at_the_door(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Text).validate_python(text)


@pytest.mark.parametrize("text", ["", "陈美玲", "😀", "முருகன்", "a\nb"])
def test_every_other_text_passes(text: str) -> None:
    assert TypeAdapter(Text).validate_python(text) == text


def test_a_line_is_neither_empty_nor_endless() -> None:
    for text in ("", "x" * 201):
        with pytest.raises(ValidationError):
            TypeAdapter(Line).validate_python(text)


def test_an_unknown_member_is_refused() -> None:
    class Item(Schema):
        name: str

    with pytest.raises(ValidationError, match="nmae"):
        Item.model_validate({"name": "a", "nmae": "b"})


def test_a_page_says_where_it_lies() -> None:
    query = PageQuery(page=3, page_size=20, query="  siti ", sort=None)
    assert (query.offset, query.query) == (40, "siti")
    page = query.of([1, 2], 42)
    assert page.model_dump() == {"items": [1, 2], "total": 42, "page": 3, "page_size": 20}
    assert PageQuery(query="   ").query is None


@pytest.mark.parametrize(
    ("sort", "sql"),
    [(None, "age DESC NULLS LAST"), ("name", "name ASC NULLS LAST"), ("-name", "name DESC NULLS LAST")],
)
def test_a_list_is_sorted_by_a_column_that_it_offers(sort: str | None, sql: str) -> None:
    assert str(select(COLUMNS["name"]).order_by(sort_clause(sort, COLUMNS, "-age"))).endswith(f"ORDER BY {sql}")


@pytest.mark.parametrize("sort", ["", "--name", "name; DROP TABLE t", "-", "Name"])
def test_any_other_column_is_refused_with_those_that_there_are(sort: str) -> None:
    if not sort:
        assert sort_clause(sort, COLUMNS, "name") is not None
        return
    with pytest.raises(Invalid, match="age, name") as caught:
        sort_clause(sort, COLUMNS, "name")
    assert caught.value.facts == {"field": "sort"}


def test_moments_are_written_in_utc_with_microseconds() -> None:
    assert clock.now().utcoffset() is not None
    assert len(clock.iso(clock.now())) == len("2026-11-21T03:20:00.000001Z")


def test_an_error_keeps_its_facts_between_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(NotFound("There is none.", image="1")))  # noqa: S301 - our own bytes
    assert isinstance(error, MedhubError)
    assert (type(error), error.message, error.facts) == (NotFound, "There is none.", {"image": "1"})
