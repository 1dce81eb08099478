# SPDX-License-Identifier: Apache-2.0
"""The PHI scan of one image before it leaves; runs in an isolated process, on plain values."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Mapping, Set
from io import BytesIO
from typing import Any

from pydicom.filereader import read_partial

from medhub.science.deid.phi_scan.scanner import PhiScanner

# Names of other patients are compared word by word; shorter words occur in any text.
MIN_WORD_LENGTH = 5
KNOWN_IDENTITY = "known identity"
OTHER_IDENTITY = "known identity of another patient"
RAW_BYTES = "bytes of the file"
_MAX_WORDS = 50_000
_PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_WORD = re.compile(rf"[^\W_]{{{MIN_WORD_LENGTH},40}}")


def scan_image(
    name: str, data: bytes, values: Mapping[str, str], own: list[str], read_pixels: bool = True
) -> dict[str, Any]:
    """Scan the file of one image and its metadata.

    Parameters
    ----------
    name
        Its path in the ZIP.
    data
        Its bytes; empty when the format has no file per image.
    values
        Its metadata: name of the column to value.
    own
        Names and numbers of its patient.
    read_pixels
        Whether text in pixels is read.

    Returns
    -------
    dict
        ``findings`` as lists of location, kind and excerpt; ``words`` of at least five letters or digits, to be
        compared with those of other patients; ``study_date`` of a DICOM file, unless its dates were modified.
    """
    header, study_date = _read_header(data)
    words = _split_words(header.decode("utf-8", "replace"))
    findings: dict[tuple[str, str, str], None] = {}
    file_findings = PhiScanner(own, read_pixels=read_pixels).scan(name, data) if data else []
    located = {
        (finding.kind, finding.excerpt) for finding in file_findings if not finding.location.startswith(RAW_BYTES)
    }
    for finding in file_findings:
        if not finding.location.startswith(RAW_BYTES) or (finding.kind, finding.excerpt) not in located:
            findings[finding.location, finding.kind, finding.excerpt] = None
    value_scanner = PhiScanner(own, read_pixels=False)
    for column, value in values.items():
        words |= _split_words(value)
        for finding in value_scanner.scan("value", value.encode()):
            findings[f"metadata, {column}", finding.kind, finding.excerpt] = None
    return {
        "findings": [list(finding) for finding in findings],
        "words": sorted(words)[:_MAX_WORDS],
        "study_date": study_date,
    }


def find_words(data: bytes, words: Set[str]) -> set[str]:
    """Those of some identity words that occur in an index file of the export."""
    return _split_words(data.decode("utf-8", "replace")) & words


def identity_words(values: list[str]) -> set[str]:
    """The words and numbers of an identity by which another patient's file could name the person."""
    return set().union(*(_split_words(value.partition("@")[0]) for value in values))


def _split_words(text: str) -> set[str]:
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return set(_WORD.findall("".join(character for character in decomposed if not unicodedata.combining(character))))


def _read_header(data: bytes) -> tuple[bytes, str | None]:
    """The bytes of a DICOM file before its pixel data, and its study date unless dates were modified."""
    if data[128:132] != b"DICM":
        return b"", None
    buffer = BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = read_partial(buffer, stop_when=lambda tag, *_: int(tag) in _PIXEL_TAGS)
            end = buffer.tell()
            modified = str(file.get("LongitudinalTemporalInformationModified", "")) == "MODIFIED"
            date = "" if modified else str(file.get("StudyDate", "") or "")
    except Exception:  # the scanner reports what cannot be read
        return data, None
    return data[:end], date[:8] or None
