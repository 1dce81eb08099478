# SPDX-License-Identifier: Apache-2.0
"""Element values as lists of strings and back, and the search for identifying words in them."""

from __future__ import annotations

from typing import Any

from pydicom.multival import MultiValue

from medhub.science.deid.identifying_text import IdentifyingText


def to_strings(value: Any) -> list[str]:
    """List the values of an element as strings; an empty element has none."""
    if value is None:
        return []
    if isinstance(value, MultiValue | list | tuple):
        return [str(part) for part in value]
    return [str(value)]


def from_strings(values: list[str]) -> Any:
    """Make the value of an element from strings; ``None`` where nothing is left."""
    values = [value for value in values if value] if len(values) == 1 else values
    return values[0] if len(values) == 1 else values or None


def copy_value(value: Any) -> Any:
    """Copy a value, so that a change of the copy leaves the received element as it is."""
    return list(value) if isinstance(value, MultiValue) else value


def contains_identifying_word(text: str, identity: IdentifyingText) -> bool:
    """Whether a text is, or contains, a word that identifies a person."""
    return identity.contains_any(text.strip())
