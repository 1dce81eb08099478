# SPDX-License-Identifier: Apache-2.0
"""Rules of the fields that projects define: valid definitions, and valid values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Literal, Protocol

from medhub.errors import Invalid

Kind = Literal["text", "integer", "decimal", "date", "boolean", "choice"]
Subject = Literal["patient", "study"]

KEY_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,39}")
MAX_TEXT_LENGTH = 2000
# JSON parsers lose digits of larger integers.
MAX_INTEGER = 2**53 - 1

_YES = frozenset({"yes", "true", "1"})
_NO = frozenset({"no", "false", "0"})

Value = str | int | float | bool | None


class Definition(Protocol):
    """The properties of a field that the rules need."""

    key: str
    label: str
    kind: str
    required: bool
    choices: list[str]


class FieldInvalid(Invalid):
    """A value does not fit the field's definition."""

    code = "field-invalid"


def check_definition(key: str, kind: str, choices: Sequence[str]) -> None:
    """Refuse an invalid definition."""
    if not KEY_PATTERN.fullmatch(key):
        raise Invalid(
            "The key of a field begins with a small letter and has only small letters, digits and _, at most 40.",
            field="key",
        )
    if kind == "choice" and (len(choices) < 1 or len(set(choices)) != len(choices) or any(not c for c in choices)):
        raise Invalid("A choice needs at least one value, and each only once.", field="choices")
    if kind != "choice" and choices:
        raise Invalid("Only a field of the kind choice has choices.", field="choices")


def check_values(
    values: Mapping[str, Value], definitions: Sequence[Definition], *, complete: bool = True
) -> dict[str, Value]:
    """Check values and convert them to their stored form, without empty values.

    With ``complete`` every required field must have a value.
    """
    by_key = {definition.key: definition for definition in definitions}
    for key in values:
        if key not in by_key:
            known = ", ".join(sorted(by_key)) or "none"
            raise FieldInvalid(f"This project has no field “{key}”. It has: {known}.", field=f"fields.{key}")
    checked: dict[str, Value] = {}
    for definition in definitions:
        value = values.get(definition.key)
        if value is None or (isinstance(value, str) and not value.strip()):
            if definition.required and complete:
                raise FieldInvalid(f"“{definition.label}” is required.", field=f"fields.{definition.key}")
            continue
        checked[definition.key] = check_value(value, definition)
    return checked


def check_value(value: Any, definition: Definition) -> Value:
    """Check one value and convert it to its stored form."""
    try:
        return _CHECKS[definition.kind](value, definition)
    except (ValueError, TypeError, OverflowError) as error:
        raise FieldInvalid(
            f"“{definition.label}” must be {_DESCRIPTIONS[definition.kind]}.", field=f"fields.{definition.key}"
        ) from error


def _check_text(value: Any, _definition: Definition) -> Value:
    if not isinstance(value, str) or len(value) > MAX_TEXT_LENGTH or "\x00" in value:
        raise ValueError
    value.encode()  # a lone surrogate cannot be stored
    return value.strip()


def _check_integer(value: Any, _definition: Definition) -> Value:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    number = int(value)
    if abs(number) > MAX_INTEGER:
        raise ValueError
    return number


def _check_decimal(value: Any, _definition: Definition) -> Value:
    if isinstance(value, bool):
        raise TypeError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _check_date(value: Any, _definition: Definition) -> Value:
    return date.fromisoformat(value).isoformat()


def _check_boolean(value: Any, _definition: Definition) -> Value:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word not in _YES | _NO:
        raise ValueError
    return word in _YES


def _check_choice(value: Any, definition: Definition) -> Value:
    if value not in definition.choices:
        raise FieldInvalid(
            f"“{definition.label}” must be one of: {', '.join(definition.choices)}.", field=f"fields.{definition.key}"
        )
    return str(value)


_CHECKS: dict[str, Callable[[Any, Definition], Value]] = {
    "text": _check_text,
    "integer": _check_integer,
    "decimal": _check_decimal,
    "date": _check_date,
    "boolean": _check_boolean,
    "choice": _check_choice,
}
_DESCRIPTIONS = {
    "text": f"a text of at most {MAX_TEXT_LENGTH} characters",
    "integer": "a whole number",
    "decimal": "a number",
    "date": "a date such as 2026-11-21",
    "boolean": "yes or no",
    "choice": "one of its choices",
}
