# SPDX-License-Identifier: Apache-2.0
"""The rules of the fields that projects define: what a definition may be, and which values it takes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Literal, Protocol

from medhub.errors import Invalid

Kind = Literal["text", "integer", "decimal", "date", "boolean", "choice"]
Subject = Literal["patient", "study"]

KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
LONGEST_TEXT = 2000
# Integers beyond this lose digits in JSON readers.
LARGEST_INTEGER = 2**53 - 1

_YES = frozenset({"yes", "true", "1"})
_NO = frozenset({"no", "false", "0"})

Value = str | int | float | bool | None


class Definition(Protocol):
    """What the rules need to know of a field."""

    key: str
    label: str
    kind: str
    required: bool
    choices: list[str]


class FieldInvalid(Invalid):
    """A value does not fit the field's definition."""

    code = "field-invalid"


def check_definition(key: str, kind: str, choices: Sequence[str]) -> None:
    """Refuse a definition that could not hold values."""
    if not KEY.fullmatch(key):
        raise Invalid(
            "The key of a field begins with a small letter and has only small letters, digits and _, at most 40.",
            field="key",
        )
    if kind == "choice" and (len(choices) < 1 or len(set(choices)) != len(choices) or any(not c for c in choices)):
        raise Invalid("A choice needs at least one value, and each only once.", field="choices")
    if kind != "choice" and choices:
        raise Invalid("Only a field of the kind choice has choices.", field="choices")


def check_values(
    given: Mapping[str, Value], definitions: Sequence[Definition], *, complete: bool = True
) -> dict[str, Value]:
    """The values in the form in which they are stored; an empty one is left out.

    With ``complete`` every required field must have a value.
    """
    by_key = {definition.key: definition for definition in definitions}
    for key in given:
        if key not in by_key:
            known = ", ".join(sorted(by_key)) or "none"
            raise FieldInvalid(f"This project has no field “{key}”. It has: {known}.", field=f"fields.{key}")
    checked: dict[str, Value] = {}
    for definition in definitions:
        value = given.get(definition.key)
        if value is None or (isinstance(value, str) and not value.strip()):
            if definition.required and complete:
                raise FieldInvalid(f"“{definition.label}” is required.", field=f"fields.{definition.key}")
            continue
        checked[definition.key] = check_value(value, definition)
    return checked


def check_value(value: Any, definition: Definition) -> Value:
    """One value in the form in which it is stored."""
    try:
        return _CHECKS[definition.kind](value, definition)
    except (ValueError, TypeError, OverflowError) as error:
        raise FieldInvalid(
            f"“{definition.label}” must be {_WORDS[definition.kind]}.", field=f"fields.{definition.key}"
        ) from error


def _text(value: Any, _definition: Definition) -> Value:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or "\x00" in value:
        raise ValueError
    value.encode()  # half a character (a lone surrogate) is none that could be stored
    return value.strip()


def _integer(value: Any, _definition: Definition) -> Value:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    number = int(value)
    if abs(number) > LARGEST_INTEGER:
        raise ValueError
    return number


def _decimal(value: Any, _definition: Definition) -> Value:
    if isinstance(value, bool):
        raise TypeError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _date(value: Any, _definition: Definition) -> Value:
    return date.fromisoformat(value).isoformat()


def _boolean(value: Any, _definition: Definition) -> Value:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word not in _YES | _NO:
        raise ValueError
    return word in _YES


def _choice(value: Any, definition: Definition) -> Value:
    if value not in definition.choices:
        raise FieldInvalid(
            f"“{definition.label}” must be one of: {', '.join(definition.choices)}.", field=f"fields.{definition.key}"
        )
    return str(value)


_CHECKS: dict[str, Callable[[Any, Definition], Value]] = {
    "text": _text,
    "integer": _integer,
    "decimal": _decimal,
    "date": _date,
    "boolean": _boolean,
    "choice": _choice,
}
_WORDS = {
    "text": f"a text of at most {LONGEST_TEXT} characters",
    "integer": "a whole number",
    "decimal": "a number",
    "date": "a date such as 2026-11-21",
    "boolean": "yes or no",
    "choice": "one of its choices",
}
