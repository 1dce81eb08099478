# SPDX-License-Identifier: Apache-2.0
"""Values of a stored object as words: bounded, and never raising for what cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.multival import MultiValue

MOST_CHARACTERS = 4_000
_MOST_FACTS = 150
_MOST_VALUES = 16
_NO_WORDS = frozenset(("SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN", "UI", "AT"))
# Of the patient and of de-identification, which the page says elsewhere; how pixels are laid out.
_ELSEWHERE = frozenset((0x0010, 0x0012, 0x7FE0))

Fact = list[str]
"""Name and value."""


def words(dataset: Dataset, keyword: str) -> str:
    """A value as words; several are joined by commas; empty where there is none that can be read."""
    try:
        return _joined(dataset[keyword].value) if keyword in dataset else ""
    except Exception:  # what cannot be read says nothing
        return ""


def _joined(value: Any) -> str:
    several = value if isinstance(value, MultiValue | list | tuple) else [value]
    told = [str(one).strip() for one in several[:_MOST_VALUES] if one not in (None, "", b"")]
    more = " …" if len(several) > _MOST_VALUES else ""
    return (", ".join(one for one in told if one) + more)[:MOST_CHARACTERS]


def number(dataset: Dataset, keyword: str) -> str:
    """A number as people write it, without zeros that say nothing; as it is where it is none."""
    text = words(dataset, keyword)
    try:
        return f"{float(text):.10g}"
    except ValueError:
        return text


def date(text: str) -> str:
    """A date or date and time of DICOM as people read it; as it is where it is none."""
    digits = text.partition(".")[0].partition("+")[0]
    if not digits.isdigit() or len(digits) not in (8, 12, 14):
        return text
    day = f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}"
    return day if len(digits) == 8 else f"{day} {digits[8:10]}:{digits[10:12]}"


def items(dataset: Dataset, keyword: str, most: int = 10_000) -> list[Dataset]:
    """The items of a sequence; none where it cannot be read."""
    try:
        return list(dataset.get(keyword) or ())[:most]
    except Exception:  # what cannot be read holds nothing
        return []


def code(dataset: Dataset, keyword: str) -> str:
    """What the first code of a sequence means."""
    for item in items(dataset, keyword, 1):
        return words(item, "CodeMeaning") or words(item, "CodeValue")
    return ""


def told(dataset: Dataset, wanted: Iterable[tuple[str, str]]) -> list[Fact]:
    """Facts by the names that a page gives them, as far as there are values."""
    found = ((name, words(dataset, keyword), keyword) for name, keyword in wanted)
    return [
        [name, date(value) if keyword.endswith(("Date", "DateTime")) else value]
        for name, value, keyword in found
        if value
    ]


def all_facts(dataset: Dataset) -> list[Fact]:
    """Every attribute at the top of an object that can be said in words, by the names of the standard."""
    return list(_facts(dataset))[:_MOST_FACTS]


def _facts(dataset: Dataset) -> Iterator[Fact]:
    for tag in sorted(dataset.keys()):
        if tag.is_private or tag.group in _ELSEWHERE or tag == tag_for_keyword("SpecificCharacterSet"):
            continue
        try:
            element = dataset[tag]
            value = _joined(element.value) if str(element.VR) not in _NO_WORDS else ""
            if element.VR == "SQ":
                count = len(element.value)
                value = "1 item" if count == 1 else f"{count} items"
            if value:
                shown = date(value) if element.VR in ("DA", "DT") else value
                yield [dictionary_description(tag), shown[:300]]
        except Exception:  # noqa: S112  # what cannot be read says nothing
            continue
