# SPDX-License-Identifier: Apache-2.0
"""Numbers in text (DS, IS) as some devices write them: with a decimal comma, or so that nobody can read them.

The attribute rules leave out what cannot be read. Of a slope and an intercept, one would then stay; so a comma that can
only be a decimal one is read as a point, and an object whose pixels depend on another unreadable number is refused.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from medhub.science.deid.attributes.element_context import ActionRecord
from medhub.science.imaging.decoding_limits import Unacceptable

COMMA_READ = "its decimal comma was read as a point (PS3.5, 6.2)"
_NUMBER_VRS = frozenset(("DS", "IS"))
_COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?")
# Three digits after the comma may be thousands, unless no thousands are before it.
# Almost every element: numbers of the standard (PS3.5, 6.2), which need no closer reading.
_NUMBER = rb" *[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[ \0]*"
_STANDARD = re.compile(_NUMBER + rb"(?:\\" + _NUMBER + rb")*")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
# What the values of pixels, and the distances between them, mean.
_NEEDED = frozenset(
    (
        *("RescaleSlope", "RescaleIntercept", "DoseGridScaling", "PixelSpacing", "ImagerPixelSpacing"),
        *("NominalScannedPixelSpacing", "PixelAspectRatio", "ImagePositionPatient", "ImageOrientationPatient"),
        *("SliceThickness", "SpacingBetweenSlices"),
    )
)


def read_decimal_commas(
    received: Dataset, parsed: MutableMapping[BaseTag, DataElement | RawDataElement] | None = None
) -> tuple[ActionRecord, ...]:
    """Read decimal commas as points, at every depth.

    Parameters
    ----------
    received
        As received; it is changed.
    parsed
        The elements of the dataset as they were parsed, if a cache recognizes them by their bytes; it is changed too.

    Returns
    -------
    tuple of ActionRecord
        One for each element that was changed.

    Raises
    ------
    Unacceptable
        When a number that the pixels depend on cannot be read.
    """
    records: list[ActionRecord] = []
    _read_commas(received, parsed, "", records)
    return tuple(records)


def comma_note(records: tuple[ActionRecord, ...]) -> tuple[str, ...]:
    """Say which numbers were read with a point; no sentence where none was."""
    names = sorted({record.name for record in records})
    return (f"Decimal commas were read as points: {', '.join(names)[:200]}.",) if names else ()


def _read_commas(
    dataset: Dataset,
    parsed: MutableMapping[BaseTag, DataElement | RawDataElement] | None,
    path: str,
    records: list[ActionRecord],
) -> None:
    for tag, element in list(dataset.items()):
        if isinstance(element, RawDataElement):
            vr = element.VR or _known_vr(tag)
            if vr in _NUMBER_VRS and element.value:
                if _STANDARD.fullmatch(element.value) is None:
                    _read_number(dataset, element, vr, parsed, path, records)
                continue
            # Other sequences hold no comma; to parse them takes long.
            if vr != "SQ" or b"," not in (element.value or b""):
                continue
        elif element.VR != "SQ":
            continue
        for number, item in enumerate(dataset[tag].value or (), start=1):
            _read_commas(item, None, f"{path}({tag.group:04X},{tag.element:04X})[{number}]", records)


def _known_vr(tag: BaseTag) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


def _read_number(
    dataset: Dataset,
    element: RawDataElement,
    vr: str,
    parsed: MutableMapping[BaseTag, DataElement | RawDataElement] | None,
    path: str,
    records: list[ActionRecord],
) -> None:
    tag = element.tag
    texts = (element.value or b"").decode("latin-1").split("\\")
    numbers = [_with_point(text.strip(" \0")) for text in texts]
    keyword = keyword_for_tag(tag)
    if any(not _is_number(number) for number in numbers):
        if keyword in _NEEDED:
            raise Unacceptable(
                f"The value of {keyword} in this DICOM file is no number by the standard, and what its pixels mean "
                "depends on it. Correct it at its source, and export the file again.",
                reason="damaged",
            )
        return
    value = "\\".join(numbers).encode("latin-1")
    if b"," not in (element.value or b""):
        return
    value += b" " * (len(value) % 2)
    changed = element._replace(value=value, length=len(value))
    dataset[tag] = changed
    if parsed is not None:
        parsed[tag] = changed
    element_path = f"{path}({tag.group:04X},{tag.element:04X})"
    records.append(ActionRecord(element_path, keyword or "private", vr, "cleaned", COMMA_READ))


def _with_point(text: str) -> str:
    if _COMMA.fullmatch(text) and not _THOUSANDS.fullmatch(text):
        return text.replace(",", ".")
    return text


def _is_number(text: str) -> bool:
    if not text:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and not text.lower().strip("+-").startswith(("n", "i")) and "_" not in text
