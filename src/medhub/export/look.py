# SPDX-License-Identifier: Apache-2.0
"""The last look at one image that is about to leave; runs in a process apart, on plain values.

The scanner itself shares nothing with the engine that cleaned the image. What is done here is to give it what leaves,
and no more: the compressed part of a picture holds every short word by chance, and says nothing of anybody.
"""

from __future__ import annotations

import re
import struct
import unicodedata
import warnings
from collections.abc import Mapping, Set
from io import BytesIO
from typing import Any

from pydicom.filereader import read_partial

from medhub.science.deid.scan import Scanner

# Words shorter than this stand in the bytes of any picture.
SHORTEST_IN_PIXELS = 6
# Words of other people are compared whole; shorter ones are words of any text.
SHORTEST_OF_OTHERS = 5
KNOWN = "known identity"
ANYWHERE = "bytes of the file"
OF_ANOTHER = "known identity of another patient"
_MOST_WORDS = 50_000
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_WORD = re.compile(r"[^\W_]{5,40}")


def look(name: str, data: bytes, values: Mapping[str, str], own: list[str]) -> dict[str, Any]:
    """Look through one image and what is said of it.

    Parameters
    ----------
    name
        Its path in what leaves.
    data
        Its bytes; empty when no file of it leaves.
    values
        What is said of it beside the file: name of the column to value.
    own
        Names and numbers of its patient.

    Returns
    -------
    dict
        ``findings`` as lists of place, kind and excerpt; ``words`` of at least five letters or digits, to be compared
        with those of other patients; ``study_date`` of a DICOM file, unless it says that its dates were moved.
    """
    scanner = Scanner(own)
    outside, study_date = _outside_pixels(data)
    found: dict[tuple[str, str, str], None] = {}
    if data:
        # The frame of a picture is compressed noise to whoever reads letters; a DICOM file is read by its elements.
        told = scanner.scan(name, data if _is_dicom(data) else outside)
        placed = {(one.kind, one.excerpt) for one in told if not one.place.startswith(ANYWHERE)}
        for one in told:
            if one.place.startswith(ANYWHERE) and one.kind == KNOWN:
                chance = len(one.excerpt) < SHORTEST_IN_PIXELS and one.excerpt.encode() not in outside.lower()
                if chance or (one.kind, one.excerpt) in placed:
                    continue
            found[one.place, one.kind, one.excerpt] = None
    for column, value in values.items():
        for one in scanner.scan("value", value.encode()):
            found[f"metadata, {column}", one.kind, one.excerpt] = None
    words = _words(outside.decode("utf-8", "replace"))
    for value in values.values():
        words |= _words(value)
    return {
        "findings": [list(one) for one in found],
        "words": sorted(words)[:_MOST_WORDS],
        "study_date": study_date,
    }


def search(data: bytes, words: Set[str]) -> set[str]:
    """Those of some words of identities that stand in a file of ours, such as the list that describes all images."""
    return _words(data.decode("utf-8", "replace")) & words


def fold(text: str) -> str:
    """A text as words are compared: without case and accents."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(one for one in decomposed if not unicodedata.combining(one))


def words_of(values: list[str]) -> set[str]:
    """The words and numbers of an identity by which somebody else's file could name the person."""
    return set().union(*(_words(value.partition("@")[0]) for value in values))


def _words(text: str) -> set[str]:
    return set(_WORD.findall(fold(text)))


def _is_dicom(data: bytes) -> bool:
    return data[128:132] == b"DICM"


def _outside_pixels(data: bytes) -> tuple[bytes, str | None]:
    """What a file holds beside its picture, and the study date of a DICOM file whose dates were not moved."""
    if _is_dicom(data):
        return _dicom_header(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png_chunks(data), None
    if data[:2] == b"\xff\xd8":
        return data[: max(data.find(b"\xff\xda"), 2)], None
    return data, None


def _dicom_header(data: bytes) -> tuple[bytes, str | None]:
    buffer = BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = read_partial(buffer, stop_when=lambda tag, *_: int(tag) in _PIXELS)
            end = buffer.tell()
            moved = str(file.get("LongitudinalTemporalInformationModified", "")) == "MODIFIED"
            date = "" if moved else str(file.get("StudyDate", "") or "")
    except Exception:  # what cannot be read is the scanner's to report
        return data, None
    return data[:end], date[:8] or None


def _png_chunks(data: bytes) -> bytes:
    """A PNG without its picture."""
    kept, at = [data[:8]], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] != b"IDAT":
            kept.append(data[at : at + 12 + length])
        at += 12 + length
    return b"".join((*kept, data[at:]))
