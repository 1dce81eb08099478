# SPDX-License-Identifier: Apache-2.0
"""Attribute matching of DICOM queries (PS3.4, C.2.2.2) as SQL conditions for SQLite and PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, false, func, or_, select

from medhub.errors import Invalid

Condition = ColumnElement[bool]
Text = ColumnElement[str]

EMPTY = '""'
"""The value that matches objects without a value (PS3.4, C.2.2.2.7)."""

MAX_VALUE_LENGTH = 1024
MAX_VALUES = 10_000
_FREE_TEXT = frozenset({"LT", "ST", "UT"})  # a backslash is a character of these
_WITH_WILDCARDS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"})
# A hyphen and four digits are an offset from UTC where they can be one, and the end of a range otherwise.
_MOMENT = r"\d{4,14}(?:\.\d{1,6})?(?:[+-](?:0\d|1[0-4])\d{2})?"
_RANGES: dict[str, re.Pattern[str]] = {
    "DA": re.compile(r"(\d{8})?(-)?(\d{8})?", re.ASCII),
    "TM": re.compile(
        r"(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?(-)?(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?", re.ASCII
    ),
    "DT": re.compile(rf"({_MOMENT})?(-)?({_MOMENT})?", re.ASCII),
}
_FORMATS = {
    "DA": "YYYYMMDD, or a range such as 20200101-20201231, 20200101- or -20201231",
    "TM": "HHMMSS, or a range such as 0800-1200, 0800- or -1200",
    "DT": "YYYYMMDDHHMMSS, or a range such as 20200101-20201231",
}


class UnusableKey(Invalid):
    """A key has a value that is invalid for its attribute."""

    code = "unusable-key"


@dataclass(frozen=True)
class Dialect:
    """The SQL that differs between the databases."""

    name: Literal["sqlite", "postgresql"]

    def like(self, text: Text, pattern: str) -> Condition:
        """The condition that a text matches a pattern of ``*`` and ``?``, case-sensitively."""
        if self.name == "sqlite":  # its LIKE ignores case
            return text.op("GLOB", is_comparison=True)(pattern.replace("[", "[[]"))
        escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return text.like(escaped.replace("*", "%").replace("?", "_"), escape="\\")

    def any_value(self, values: ColumnElement[Any], keyword: str, condition: Callable[[Text], Condition]) -> Condition:
        """The condition that any value of a multi-valued attribute meets a condition."""
        if self.name == "sqlite":
            each: Any = func.json_each(values, f'$."{keyword}"').table_valued("value")
            text = each.c.value
        else:
            each = func.jsonb_array_elements_text(values[keyword]).table_valued("value")
            text = each.c.value
        return select(1).select_from(each).where(condition(text)).exists()


@dataclass(frozen=True)
class ValueRange:
    """A range of dates or times as sortable text; an open end is empty."""

    first: str
    last: str


def parse_values(keyword: str, vr: str, key_value: str) -> list[str]:
    """The alternatives of a key; empty for universal matching."""
    if "\x00" in key_value:
        raise UnusableKey(f"{keyword} cannot be searched by a value with a NUL in it.", field=keyword)
    values = [key_value] if vr in _FREE_TEXT else key_value.split("\\")
    values = [value.strip(" ") for value in values]
    if any(len(value) > MAX_VALUE_LENGTH for value in values) or len(values) > MAX_VALUES:
        raise UnusableKey(
            f"{keyword} is searched by up to {MAX_VALUES} values of up to {MAX_VALUE_LENGTH} characters.",
            field=keyword,
        )
    values = [value for value in dict.fromkeys(values) if value]
    if vr in _WITH_WILDCARDS and any(not value.strip("*") for value in values):
        return []
    return values


def match_values(
    text: Text, keyword: str, vr: str, values: Sequence[str], dialect: Dialect, *, fuzzy: bool = False
) -> Condition:
    """The condition that a text matches one of several values, by the rules of its value representation."""
    if vr in _RANGES:
        return or_(*(_in_range(text, vr, parse_range(keyword, vr, value)) for value in values))
    if vr == "PN":
        lowered = func.lower(text)
        each = _match_words if fuzzy else _match_pattern
        return or_(*(each(lowered, value.lower(), dialect) for value in values))
    patterns = [value for value in values if vr in _WITH_WILDCARDS and ("*" in value or "?" in value)]
    exact = sorted(_number_spellings(vr, set(values) - set(patterns)))
    conditions = [dialect.like(text, value) for value in patterns]
    return or_(false(), *([text.in_(exact)] if exact else []), *conditions)


def _match_pattern(text: Text, value: str, dialect: Dialect) -> Condition:
    return dialect.like(text, value) if "*" in value or "?" in value else text == value


def _match_words(text: Text, value: str, dialect: Dialect) -> Condition:
    """The condition that each word of a value is the start of a word of the name, in any order."""
    words = [word for word in re.split(r"[\s^=,*?]+", value) if word]
    return and_(
        *(or_(*(dialect.like(text, f"{before}{word}*") for before in ("", "* ", "*^", "*="))) for word in words)
    )


def _number_spellings(vr: str, values: set[str]) -> set[str]:
    """The values with other spellings of numbers: without leading zeros or sign."""
    if vr not in {"IS", "US", "UL", "SS", "SL", "UV", "SV"}:
        return values
    return values | {str(int(value)) for value in values if re.fullmatch(r"[+-]?[0-9]{1,20}", value)}


def parse_range(keyword: str, vr: str, value: str) -> ValueRange:
    """Parse a date, a time, a date and time, or a range of them."""
    compact = value.replace(" ", "")
    if vr == "TM":
        compact = compact.replace(":", "")
    elif vr == "DA":
        compact = compact.replace(".", "")
    match = _RANGES[vr].fullmatch(compact)
    if match is None or not (match[1] or match[3]) or (match[3] and not match[2]):
        raise UnusableKey(f"{keyword} cannot be searched by that. Write {_FORMATS[vr]}.", field=keyword)
    first, dash, last = match[1] or "", match[2], match[3] or ""
    if not dash:
        last = first
    if vr == "TM":
        return ValueRange(_shortest_form(first), _latest_time(last) if dash else _longest_form(last))
    return ValueRange(first, last + "~" if vr == "DT" and last else last)


def _shortest_form(time: str) -> str:
    """The shortest form of a time: 08, 0800, 080000 and 080000.00 are equal, and the longer forms sort after it."""
    time = time.rstrip("0").rstrip(".") if "." in time else time
    while len(time) > 2 and "." not in time and time.endswith("00"):
        time = time[:-2]
    return time


def _latest_time(time: str) -> str:
    """The last time with a given prefix: 12 extends to the end of its hour."""
    if not time:
        return ""
    seconds, _, fraction = time.partition(".")
    return f"{seconds}{'235959'[len(seconds) :]}.{fraction.ljust(6, '9')}"


def _longest_form(time: str) -> str:
    """The longest form of the same time."""
    seconds, _, fraction = time.partition(".")
    return f"{seconds.ljust(6, '0')}.{fraction.ljust(6, '0')}"


def _in_range(text: Text, vr: str, value_range: ValueRange) -> Condition:
    if vr == "DA" and value_range.first == value_range.last:
        return text == value_range.first
    conditions = [text != ""]
    if value_range.first:
        conditions.append(text >= value_range.first)
    if value_range.last:
        conditions.append(text <= value_range.last)
    return and_(*conditions)


def date_time_condition(date: Text, time: Text, dates: ValueRange, times: ValueRange) -> Condition:
    """The condition that a date and a time lie in a combined range (PS3.4, C.2.2.2.5)."""
    conditions = [date != ""]
    if dates.first:
        conditions.append(or_(date > dates.first, and_(date == dates.first, time >= times.first)))
    if dates.last:
        conditions.append(or_(date < dates.last, and_(date == dates.last, time <= (times.last or "~"))))
    return and_(*conditions)
