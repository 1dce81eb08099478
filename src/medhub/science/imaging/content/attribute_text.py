# SPDX-License-Identifier: Apache-2.0
"""Values of a stored object as text: of limited length, and empty where they cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.multival import MultiValue

MAX_CHARACTERS = 4_000
_MAX_FACTS = 150
_MAX_VALUES = 16
_VRS_WITHOUT_TEXT = frozenset(("SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN", "UI", "AT"))
# Groups of the patient and of de-identification, which the page shows elsewhere, and of the layout of pixels.
_OMITTED_GROUPS = frozenset((0x0010, 0x0012, 0x7FE0))

Fact = list[str]
"""Name and value."""


def words(dataset: Dataset, keyword: str) -> str:
    """A value as text, several joined by commas; empty where there is none that can be read."""
    try:
        return _join_values(dataset[keyword].value) if keyword in dataset else ""
    except Exception:  # a value that cannot be read is left out
        return ""


def _join_values(value: Any) -> str:
    items_of_value = value if isinstance(value, MultiValue | list | tuple) else [value]
    texts = [str(item).strip() for item in items_of_value[:_MAX_VALUES] if item not in (None, "", b"")]
    more = " …" if len(items_of_value) > _MAX_VALUES else ""
    return (", ".join(item for item in texts if item) + more)[:MAX_CHARACTERS]


def number(dataset: Dataset, keyword: str) -> str:
    """A number without trailing zeros; unchanged where it is not a number."""
    text = words(dataset, keyword)
    try:
        return f"{float(text):.10g}"
    except ValueError:
        return text


def date(text: str) -> str:
    """A DICOM date, or date and time, in ISO form; unchanged where it is neither."""
    digits = text.partition(".")[0].partition("+")[0]
    if not digits.isdigit() or len(digits) not in (8, 12, 14):
        return text
    day = f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}"
    return day if len(digits) == 8 else f"{day} {digits[8:10]}:{digits[10:12]}"


def items(dataset: Dataset, keyword: str, most: int = 10_000) -> list[Dataset]:
    """The items of a sequence; none where it cannot be read."""
    try:
        return list(dataset.get(keyword) or ())[:most]
    except Exception:  # a sequence that cannot be read has no items
        return []


def code(dataset: Dataset, keyword: str) -> str:
    """The meaning of the first code of a sequence."""
    for item in items(dataset, keyword, 1):
        return words(item, "CodeMeaning") or words(item, "CodeValue")
    return ""


def facts_of(dataset: Dataset, columns: Iterable[tuple[str, str]]) -> list[Fact]:
    """The named attributes that have a value: pairs of shown name and keyword to facts."""
    values = ((name, words(dataset, keyword), keyword) for name, keyword in columns)
    return [
        [name, date(value) if keyword.endswith(("Date", "DateTime")) else value]
        for name, value, keyword in values
        if value
    ]


def list_all_facts(dataset: Dataset) -> list[Fact]:
    """Every attribute at the top level of an object that has a text, by its name in the standard."""
    return list(_facts(dataset))[:_MAX_FACTS]


def _facts(dataset: Dataset) -> Iterator[Fact]:
    for tag in sorted(dataset.keys()):
        if tag.is_private or tag.group in _OMITTED_GROUPS or tag == tag_for_keyword("SpecificCharacterSet"):
            continue
        try:
            element = dataset[tag]
            value = _join_values(element.value) if str(element.VR) not in _VRS_WITHOUT_TEXT else ""
            if element.VR == "SQ":
                count = len(element.value)
                value = "1 item" if count == 1 else f"{count} items"
            if value:
                shown = date(value) if element.VR in ("DA", "DT") else value
                yield [dictionary_description(tag), shown[:300]]
        except Exception:  # noqa: S112  # a value that cannot be read is left out
            continue
