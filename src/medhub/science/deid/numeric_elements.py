# SPDX-License-Identifier: Apache-2.0
"""Numeric data that are the content of an object, as pixels are of an image: waveforms, spectra, coordinates.

The attribute rules remove bytes that cannot be searched. These numbers are put back: bits that are not part of a number
are cleared, and if the bytes read like text, a person must review the object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset

from medhub.science.deid.identifying_text import IdentifyingText

_ANNOTATIONS = ("AnnotationGroupSequence",)
_MEASUREMENTS = (*_ANNOTATIONS, "MeasurementsSequence", "MeasurementValuesSequence")
# Enclosing sequences and keyword to the type of the numbers; empty if the item declares it.
_NUMBERS: dict[tuple[tuple[str, ...], str], str] = {
    (("WaveformSequence",), "WaveformData"): "",
    ((), "SpectroscopyData"): "f4",
    (_ANNOTATIONS, "PointCoordinatesData"): "f4",
    (_ANNOTATIONS, "DoublePointCoordinatesData"): "f8",
    (_ANNOTATIONS, "LongPrimitivePointIndexList"): "u4",
    (_MEASUREMENTS, "FloatingPointValues"): "f4",
    (_MEASUREMENTS, "AnnotationIndexList"): "u4",
}
_SAMPLES = {"SB": "i1", "UB": "u1", "MB": "u1", "AB": "u1", "SS": "i2", "US": "u2", "SL": "i4", "UL": "u4"}
_SAMPLES |= {"SV": "i8", "UV": "u8"}
_TEXT_RUN = re.compile(rb"[\x20-\x7e]{12,}|(?:[\x20-\x7e]\x00){12,}|(?:\x00[\x20-\x7e]){12,}")


def restore_numbers(received: Dataset, cleaned: Dataset, *, big_endian: bool) -> None:
    """Put the numbers of an object back into the de-identified dataset, without bits that are not part of a number.

    Parameters
    ----------
    received
        As received.
    cleaned
        The de-identified dataset, in little endian; it is changed. A sequence that a rule removed stays out.
    big_endian
        Whether the received numbers are big endian.
    """
    for parents, keyword, source, numbers_of_items in _find_number_elements(received):
        kind = _NUMBERS[parents, keyword] or _SAMPLES.get(str(source.get("WaveformSampleInterpretation", "")), "")
        target = _item_at(cleaned, parents, numbers_of_items)
        value = source[keyword].value
        if target is None:
            continue
        if keyword in target:
            del target[keyword]
        if not kind or not isinstance(value, bytes):
            continue  # the type of these bytes is unknown
        length = len(value) // int(kind[1:]) * int(kind[1:])
        numbers = np.frombuffer(value[:length], f"{'>' if big_endian else '<'}{kind}").astype(f"<{kind}")
        if kind[0] == "f":
            numbers[np.isnan(numbers)] = np.nan
        elif keyword == "WaveformData":
            numbers = _clear_unused_bits(numbers, source)
        data = numbers.tobytes()
        vr = str(source[keyword].VR)
        target.add(DataElement(keyword, vr if vr != "UN" else "OW", data + bytes(len(data) % 2)))


def numbers_contain_text(received: Dataset, identity: IdentifyingText) -> bool:
    """Whether the numbers of an object contain runs of letters that read like text, or a name of the file.

    Parameters
    ----------
    received
        As received.
    identity
        Words that identify a person.

    Returns
    -------
    bool
    """
    for _, keyword, source, _ in _find_number_elements(received):
        value = source[keyword].value
        if isinstance(value, bytes) and (identity.occurs_in(value) or any(map(_is_readable, _TEXT_RUN.findall(value)))):
            return True
    return False


def _is_readable(run: bytes) -> bool:
    text = run.replace(b"\0", b"").decode("ascii")
    letters = sum(character.isalpha() for character in text)
    vowels = sum(character in "aeiouAEIOU" for character in text)
    return letters >= 0.6 * len(text) and vowels >= 0.15 * len(text) and len(set(text)) > 5


def _find_number_elements(received: Dataset) -> Iterator[tuple[tuple[str, ...], str, Dataset, tuple[int, ...]]]:
    for parents, keyword in _NUMBERS:
        for item, numbers in _items_of(received, parents):
            if keyword in item:
                yield parents, keyword, item, numbers


def _items_of(dataset: Dataset, parents: tuple[str, ...]) -> Iterator[tuple[Dataset, tuple[int, ...]]]:
    """The items of nested sequences, each with its number in every one of them."""
    if not parents:
        yield dataset, ()
        return
    for number, item in enumerate(dataset.get(parents[0]) or ()):
        for nested, numbers in _items_of(item, parents[1:]):
            yield nested, (number, *numbers)


def _item_at(cleaned: Dataset, parents: tuple[str, ...], numbers: tuple[int, ...]) -> Dataset | None:
    item = cleaned
    for parent, number in zip(parents, numbers, strict=True):
        items = item.get(parent) or ()
        if number >= len(items):
            return None
        item = items[number]
    return item


def _clear_unused_bits(samples: NDArray[Any], group: Dataset) -> NDArray[Any]:
    """Clear the bits of samples that are not stored bits, for each channel (PS3.3, C.10.9.1.6)."""
    channels = list(group.get("ChannelDefinitionSequence") or ())
    allocated = 8 * samples.dtype.itemsize
    if not channels or samples.size % len(channels):
        return samples
    table = samples.reshape(-1, len(channels)).copy()
    for number, channel in enumerate(channels):
        shift = allocated - int(channel.get("WaveformBitsStored", allocated) or allocated)
        if 0 < shift < allocated:
            table[:, number] = table[:, number] << shift >> shift
    return table.reshape(-1)
