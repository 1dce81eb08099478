# SPDX-License-Identifier: Apache-2.0
"""How a stored value matches a wanted one, as a condition that SQLite and PostgreSQL decide alike (PS3.4, C.2.2.2)."""

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
"""What is written to find what has no value (PS3.4, C.2.2.2.7)."""

LONGEST_VALUE = 1024
MOST_ALTERNATIVES = 10_000
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
_WRITTEN = {
    "DA": "YYYYMMDD, or a range such as 20200101-20201231, 20200101- or -20201231",
    "TM": "HHMMSS, or a range such as 0800-1200, 0800- or -1200",
    "DT": "YYYYMMDDHHMMSS, or a range such as 20200101-20201231",
}


class UnusableKey(Invalid):
    """A wanted value is none that its attribute can have."""

    code = "unusable-key"


@dataclass(frozen=True)
class Dialect:
    """What differs between the databases; everything else is the same SQL."""

    name: Literal["sqlite", "postgresql"]

    def like(self, text: Text, pattern: str) -> Condition:
        """Whether a text is as a pattern of ``*`` and ``?`` says, case and all."""
        if self.name == "sqlite":  # whose LIKE knows no case
            return text.op("GLOB", is_comparison=True)(pattern.replace("[", "[[]"))
        escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return text.like(escaped.replace("*", "%").replace("?", "_"), escape="\\")

    def any_of(self, values: ColumnElement[Any], keyword: str, holds: Callable[[Text], Condition]) -> Condition:
        """Whether any value that an object has under a keyword is such."""
        if self.name == "sqlite":
            each: Any = func.json_each(values, f'$."{keyword}"').table_valued("value")
            text = each.c.value
        else:
            each = func.jsonb_array_elements_text(values[keyword]).table_valued("value")
            text = each.c.value
        return select(1).select_from(each).where(holds(text)).exists()


@dataclass(frozen=True)
class Range:
    """From which to which moment, as text that sorts; an open end is empty."""

    first: str
    last: str


def alternatives(keyword: str, vr: str, wanted: str) -> list[str]:
    """The values of which any is wanted; none where every value is (universal matching)."""
    if "\x00" in wanted:
        raise UnusableKey(f"{keyword} cannot be searched by a value with a NUL in it.", field=keyword)
    values = [wanted] if vr in _FREE_TEXT else wanted.split("\\")
    values = [value.strip(" ") for value in values]
    if any(len(value) > LONGEST_VALUE for value in values) or len(values) > MOST_ALTERNATIVES:
        raise UnusableKey(
            f"{keyword} is searched by up to {MOST_ALTERNATIVES} values of up to {LONGEST_VALUE} characters.",
            field=keyword,
        )
    values = [value for value in dict.fromkeys(values) if value]
    if vr in _WITH_WILDCARDS and any(not value.strip("*") for value in values):
        return []
    return values


def matches(
    text: Text, keyword: str, vr: str, wanted: Sequence[str], dialect: Dialect, *, fuzzy: bool = False
) -> Condition:
    """Whether a text is one of the wanted values, by the rules of its representation."""
    if vr in _RANGES:
        return or_(*(_within(text, vr, range_of(keyword, vr, one)) for one in wanted))
    if vr == "PN":
        lowered = func.lower(text)
        each = _sounds if fuzzy else _is_like
        return or_(*(each(lowered, one.lower(), dialect) for one in wanted))
    patterns = [one for one in wanted if vr in _WITH_WILDCARDS and ("*" in one or "?" in one)]
    exact = sorted(_spellings(vr, set(wanted) - set(patterns)))
    conditions = [dialect.like(text, one) for one in patterns]
    return or_(false(), *([text.in_(exact)] if exact else []), *conditions)


def _is_like(text: Text, wanted: str, dialect: Dialect) -> Condition:
    return dialect.like(text, wanted) if "*" in wanted or "?" in wanted else text == wanted


def _sounds(text: Text, wanted: str, dialect: Dialect) -> Condition:
    """Whether each word of what is wanted begins a word of the name, in whatever order."""
    words = [word for word in re.split(r"[\s^=,*?]+", wanted) if word]
    return and_(
        *(or_(*(dialect.like(text, f"{before}{word}*") for before in ("", "* ", "*^", "*="))) for word in words)
    )


def _spellings(vr: str, wanted: set[str]) -> set[str]:
    """A number may be written with zeros or a sign before it."""
    if vr not in {"IS", "US", "UL", "SS", "SL", "UV", "SV"}:
        return wanted
    return wanted | {str(int(one)) for one in wanted if re.fullmatch(r"[+-]?[0-9]{1,20}", one)}


def range_of(keyword: str, vr: str, wanted: str) -> Range:
    """Read a date, a time or a moment, or a range of them."""
    bare = wanted.replace(" ", "")
    if vr == "TM":
        bare = bare.replace(":", "")
    elif vr == "DA":
        bare = bare.replace(".", "")
    found = _RANGES[vr].fullmatch(bare)
    if found is None or not (found[1] or found[3]) or (found[3] and not found[2]):
        raise UnusableKey(f"{keyword} cannot be searched by that. Write {_WRITTEN[vr]}.", field=keyword)
    first, dash, last = found[1] or "", found[2], found[3] or ""
    if not dash:
        last = first
    if vr == "TM":
        return Range(_earliest(first), _latest(last) if dash else _moment(last))
    return Range(first, last + "~" if vr == "DT" and last else last)


def _earliest(time: str) -> str:
    """The shortest way to write a time: 08, 0800, 080000 and 080000.00 are one, and sort behind it."""
    time = time.rstrip("0").rstrip(".") if "." in time else time
    while len(time) > 2 and "." not in time and time.endswith("00"):
        time = time[:-2]
    return time


def _latest(time: str) -> str:
    """The last moment that begins as a time is written: 12 goes on to the end of its hour."""
    if not time:
        return ""
    whole, _, fraction = time.partition(".")
    return f"{whole}{'235959'[len(whole) :]}.{fraction.ljust(6, '9')}"


def _moment(time: str) -> str:
    """The longest way to write the same time."""
    whole, _, fraction = time.partition(".")
    return f"{whole.ljust(6, '0')}.{fraction.ljust(6, '0')}"


def _within(text: Text, vr: str, wanted: Range) -> Condition:
    if vr == "DA" and wanted.first == wanted.last:
        return text == wanted.first
    conditions = [text != ""]
    if wanted.first:
        conditions.append(text >= wanted.first)
    if wanted.last:
        conditions.append(text <= wanted.last)
    return and_(*conditions)


def combined(date: Text, time: Text, days: Range, hours: Range) -> Condition:
    """Whether a moment of two attributes lies in one range of both (PS3.4, C.2.2.2.5)."""
    conditions = [date != ""]
    if days.first:
        conditions.append(or_(date > days.first, and_(date == days.first, time >= hours.first)))
    if days.last:
        conditions.append(or_(date < days.last, and_(date == days.last, time <= (hours.last or "~"))))
    return and_(*conditions)
