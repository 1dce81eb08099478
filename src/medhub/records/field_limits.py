# SPDX-License-Identifier: Apache-2.0
"""Limits of fields: values beyond minimum and maximum are refused, those beyond low and high must be confirmed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from medhub.errors import Conflict, Invalid

LIMIT_NAMES = ("minimum", "low", "high", "maximum")
_KINDS = frozenset({"integer", "decimal", "date"})


class LimitedDefinition(Protocol):
    """The properties of a field that its limits need."""

    key: str
    label: str
    kind: str
    unit: str | None
    limits: dict[str, Any]


class ImplausibleValue(Conflict):
    """A value is possible but unlikely; a person must confirm it."""

    code = "implausible-value"
    title = "Please check these values"


def check_limits(limits: Mapping[str, Any], definition: Any, check: Callable[[Any, Any], Any]) -> dict[str, Any]:
    """Check the limits of a definition, whose values ``check`` converts, and return those that are set."""
    given = {name: value for name, value in limits.items() if value is not None and value != ""}
    if given and definition.kind not in _KINDS:
        raise Invalid("Only a number or a date has limits.", field="limits")
    if unknown := sorted(set(given) - set(LIMIT_NAMES)):
        raise Invalid(f"There is no limit {unknown[0]}. There are: {', '.join(LIMIT_NAMES)}.", field="limits")
    converted = {name: check(given[name], definition) for name in LIMIT_NAMES if name in given}
    if list(converted.values()) != sorted(converted.values()):
        raise Invalid("The limits must ascend: minimum, low, high, maximum.", field="limits")
    return converted


def apply_limits(
    values: Mapping[str, Any],
    definitions: Sequence[LimitedDefinition],
    before: Mapping[str, Any],
    confirmed: Sequence[str] = (),
) -> None:
    """Refuse changed values beyond their limits, and unlikely ones whose fields are not confirmed."""
    changed = {key: value for key, value in values.items() if value != before.get(key)}
    for definition in definitions:
        if definition.key in changed:
            _refuse_beyond_limits(changed[definition.key], definition)
    _confirm_implausible(changed, definitions, confirmed)


def _refuse_beyond_limits(value: Any, definition: LimitedDefinition) -> None:
    """Raise if a value lies beyond the minimum or the maximum of its field."""
    limits = definition.limits or {}
    too_low = "minimum" in limits and value < limits["minimum"]
    if too_low or ("maximum" in limits and value > limits["maximum"]):
        word, limit = ("at least", limits["minimum"]) if too_low else ("at most", limits["maximum"])
        raise Invalid(
            f"“{definition.label}” must be {word} {_with_unit(limit, definition)}; "
            f"{_with_unit(value, definition)} was given.",
            field=f"fields.{definition.key}",
        )


def _confirm_implausible(
    changed: Mapping[str, Any], definitions: Sequence[LimitedDefinition], confirmed: Sequence[str]
) -> None:
    """Raise if new values are unlikely and the person has not confirmed their fields."""
    warnings = {}
    for definition in definitions:
        value, limits = changed.get(definition.key), definition.limits or {}
        if value is None or definition.key in confirmed:
            continue
        if "low" in limits and value < limits["low"]:
            warnings[definition.key] = _describe(definition, value, "below", limits["low"])
        elif "high" in limits and value > limits["high"]:
            warnings[definition.key] = _describe(definition, value, "above", limits["high"])
    if warnings:
        first = next(iter(warnings))
        raise ImplausibleValue(
            f"{' '.join(warnings.values())} Correct the value, or confirm it. Nothing was saved.",
            field=f"fields.{first}",
            implausible=[{"field": key, "message": message} for key, message in warnings.items()],
        )


def _describe(definition: LimitedDefinition, value: Any, word: str, limit: Any) -> str:
    given, usual = _with_unit(value, definition), _with_unit(limit, definition)
    return f"“{definition.label}” is {given}, which is {word} the usual {usual}."


def _with_unit(value: Any, definition: LimitedDefinition) -> str:
    number = f"{value:g}" if isinstance(value, float) and abs(value) < 1e6 else str(value)
    return f"{number} {definition.unit}" if definition.unit else number
