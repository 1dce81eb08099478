# SPDX-License-Identifier: Apache-2.0
"""The last look at one image that is about to leave; runs in a process apart, on plain values."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Mapping, Set
from io import BytesIO
from typing import Any

from pydicom.filereader import read_partial

from medhub.science.deid.phi_scan.scanner import PhiScanner

# Words of other people are compared whole; shorter ones are words of any text.
SHORTEST_OF_OTHERS = 5
KNOWN = "known identity"
OF_ANOTHER = "known identity of another patient"
ANYWHERE = "bytes of the file"
_MOST_WORDS = 50_000
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_WORD = re.compile(rf"[^\W_]{{{SHORTEST_OF_OTHERS},40}}")


def look(name: str, data: bytes, values: Mapping[str, str], own: list[str], read_pixels: bool = True) -> dict[str, Any]:
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
    read_pixels
        Whether writing in the picture is read.

    Returns
    -------
    dict
        ``findings`` as lists of place, kind and excerpt; ``words`` of at least five letters or digits, to be compared
        with those of other patients; ``study_date`` of a DICOM file, unless it says that its dates were moved.
    """
    header, study_date = _header(data)
    words = _words(header.decode("utf-8", "replace"))
    found: dict[tuple[str, str, str], None] = {}
    told = PhiScanner(own, read_pixels=read_pixels).scan(name, data) if data else []
    placed = {(one.kind, one.excerpt) for one in told if not one.place.startswith(ANYWHERE)}
    for one in told:
        if not one.place.startswith(ANYWHERE) or (one.kind, one.excerpt) not in placed:
            found[one.place, one.kind, one.excerpt] = None
    values_only = PhiScanner(own, read_pixels=False)
    for column, value in values.items():
        words |= _words(value)
        for one in values_only.scan("value", value.encode()):
            found[f"metadata, {column}", one.kind, one.excerpt] = None
    return {
        "findings": [list(one) for one in found],
        "words": sorted(words)[:_MOST_WORDS],
        "study_date": study_date,
    }


def search(data: bytes, words: Set[str]) -> set[str]:
    """Those of some words of identities that stand in a file of ours, such as the list that describes all images."""
    return _words(data.decode("utf-8", "replace")) & words


def words_of(values: list[str]) -> set[str]:
    """The words and numbers of an identity by which somebody else's file could name the person."""
    return set().union(*(_words(value.partition("@")[0]) for value in values))


def _words(text: str) -> set[str]:
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return set(_WORD.findall("".join(one for one in decomposed if not unicodedata.combining(one))))


def _header(data: bytes) -> tuple[bytes, str | None]:
    """What a DICOM file holds before its picture, and its study date unless its dates were moved."""
    if data[128:132] != b"DICM":
        return b"", None
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
