# SPDX-License-Identifier: Apache-2.0
"""DICOM objects as the last look reads them: every element at every depth, and bytes that read like writing."""

from __future__ import annotations

import re
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from medhub.science.deid.phi_scan.findings import PhiFinding, cut
from medhub.science.deid.phi_scan.image_scan import beside_picture, dicom_pictures
from medhub.science.deid.phi_scan.phi_patterns import CODE, PhiPatterns

# More of one value is not read, and so not cleared.
MOST_READ = 64 * 1024**2
_MOST_DEPTH = 64
_MOST_ITEMS = 500_000
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_TEXT_VRS = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
_BYTE_VRS = frozenset(("OB", "OW", "UN", "OF", "OD", "OL", "OV"))
_NUMBERS = frozenset(("DS", "IS", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV", "AT", "TM"))
_PIXELS, _DOCUMENT = 0x7FE00010, 0x00420011
_PRINTABLE = re.compile(rb"[\x20-\x7e\xa0-\xff]{6,}")
_WIDE = re.compile(rb"(?:[\x20-\x7e]\x00){6,}|(?:\x00[\x20-\x7e]){6,}")
_STREAM = re.compile(rb"stream\r?\n(.*?)endstream", re.DOTALL)
_RETAINED_UIDS, _SAFE_PRIVATE, _FULL_DATES = "113110", "113111", "113106"
# Where what a file says that it retains may stand.
_RETAINED = {
    "113109": frozenset((0x00081010, 0x00181000, 0x00181002, 0x00181008, 0x0018700A, 0x00189215)),
    "113112": frozenset((0x00080080, 0x00080081, 0x00081040)),
}
_CODE_PARTS = frozenset((0x00080100, 0x00080102, 0x00080103, 0x00080119))
_SCHEMES = frozenset(
    (
        *("99MEDHUB", "DCM", "FMA", "IBSI", "LN", "MDC", "MSH", "NCIT", "RADLEX", "RFC3066", "RXNORM", "SCPECG", "SCT"),
        *("SNM3", "SRT", "UCUM", "UMLS"),
    )
)
_PATIENT_ID = 0x00100020
# Model, versions of software and character sets, which are dates and long numbers of their own.
_OF_DEVICES = frozenset((0x00080005, 0x00081090, 0x00181020))
_NUMBERED = frozenset(("network address", "date", "number of a person", "telephone number"))
_COLOR_PROFILE = b"acsp"  # at byte 36 of an ICC profile, which names the standards that it follows
_DUMMY_DATES = frozenset(("19000101", "19000101000000"))

Inside = Callable[[str, bytes], Iterator[PhiFinding]]


class Objects:
    """Looks through DICOM objects.

    Parameters
    ----------
    words
        What looks at words.
    read_pixels
        Whether writing in pictures is read.
    inside
        Looks at a file within the object, as an encapsulated document.
    """

    def __init__(self, words: PhiPatterns, *, read_pixels: bool, inside: Inside) -> None:
        self._words = words
        self._read_pixels = read_pixels
        self._inside = inside

    def look(self, data: bytes) -> Iterator[PhiFinding]:
        """Look through a file."""
        if data[128:132] == b"DICM" and data[:128].strip(b"\0"):
            yield PhiFinding("preamble", "bytes that are not zero", repr(data[:24]))
        reason = _too_much(data)
        if reason:
            yield PhiFinding("the file", "cannot be read whole", reason)
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                file = pydicom.dcmread(BytesIO(data), force=True)
                if not file.get("SOPClassUID"):
                    yield PhiFinding("the file", "cannot be read whole", "no SOP Class UID")
                yield from self._meta(file)
                yield from self._dataset(file, "", _claimed(file), file, 0)
        # What cannot be read cannot be cleared.
        except Exception as error:
            yield PhiFinding("the file", "cannot be read whole", type(error).__name__)

    def _meta(self, file: Any) -> Iterator[PhiFinding]:
        for element in getattr(file, "file_meta", ()):
            if element.VR == "AE" or element.tag in (0x00020100, 0x00020102):
                yield PhiFinding(f"{element.tag}", "names a device or sender", cut(element.value))

    def _dataset(
        self, dataset: Dataset, path: str, claimed: frozenset[str], file: Any, depth: int
    ) -> Iterator[PhiFinding]:
        if depth > _MOST_DEPTH:
            yield PhiFinding(path[:60], "cannot be read whole", "sequences lie too deep")
            return
        for tag in list(dataset.keys()):
            place = f"{path}({tag >> 16:04X},{tag & 0xFFFF:04X})"
            try:
                element = dataset[tag]
                vr, value = str(element.VR), element.value
            except Exception as error:
                yield PhiFinding(place, "cannot be read", type(error).__name__)
                continue
            if element.tag.is_private and _SAFE_PRIVATE not in claimed:
                yield PhiFinding(place, "private element", cut(value))
            if _said_to_stay(dataset, int(tag), claimed):
                yield from self._words.known(place, str(value))
            elif vr == "SQ":
                for number, item in enumerate(value or (), start=1):
                    yield from self._dataset(item, f"{place}[{number}]", claimed, file, depth + 1)
            elif int(tag) == _PIXELS:
                if element.is_undefined_length:
                    yield from beside_picture(self._words, place, value)
                if self._read_pixels:
                    yield from dicom_pictures(self._words, f"{path}pixels", _image(dataset, file))
            elif vr in _BYTE_VRS and isinstance(value, bytes):
                yield from self._binary(place, int(tag), value)
            else:
                yield from self._value(place, int(tag), vr, value, claimed)

    def _value(self, place: str, tag: int, vr: str, value: Any, claimed: frozenset[str]) -> Iterator[PhiFinding]:
        several = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
        if type(value).__name__ == "PersonName":
            several = [value]
        for text in (str(one).strip() for one in several if one not in (None, "")):
            if vr == "PN" and not CODE.fullmatch(text.strip("^=")):
                yield PhiFinding(place, "name of a person", cut(text))
            elif tag == _PATIENT_ID and not CODE.fullmatch(text):
                yield PhiFinding(place, "number of a person", cut(text))
            elif vr == "UI":
                standard = text.startswith(("1.2.840.10008.", "2.25."))
                if text and not standard and _RETAINED_UIDS not in claimed:
                    yield PhiFinding(place, "UID of a device or institution", cut(text))
            elif vr in ("DA", "DT"):
                if text not in _DUMMY_DATES and "dates" not in claimed and _FULL_DATES not in claimed:
                    yield PhiFinding(place, "date", cut(text))
            elif vr == "AS":
                if text[:-1].isdigit() and text.endswith("Y") and int(text[:-1]) > 90:
                    yield PhiFinding(place, "age above 89", text)
            elif vr in _TEXT_VRS:
                found = self._words.look(place, text)
                yield from (one for one in found if tag not in _OF_DEVICES or one.kind not in _NUMBERED)
            if vr == "PN" or vr not in _TEXT_VRS:
                yield from self._words.known(place, text, short=vr not in _NUMBERS)

    def _binary(self, place: str, tag: int, value: bytes) -> Iterator[PhiFinding]:
        group, element = tag >> 16, tag & 0xFFFF
        if group in range(0x6000, 0x6100, 2) and element == 0x3000 and value.strip(b"\0"):
            yield PhiFinding(place, "bit plane that may hold writing", f"{len(value)} bytes")
        elif group in range(0x5000, 0x5100, 2):
            yield PhiFinding(place, "curve that may hold writing", f"{len(value)} bytes")
        if value[36:40] == _COLOR_PROFILE:
            return
        if tag == _DOCUMENT:
            yield from self._inside(place, value.rstrip(b"\0"))
        yield from strings(self._words, place, value, everything=value[:5] == b"%PDF-" or tag == _DOCUMENT)


def strings(
    words: PhiPatterns, place: str, data: bytes, *, everything: bool, dates: bool = True
) -> Iterator[PhiFinding]:
    """Look at runs of letters within bytes; in numbers that happen to be letters, only at what is unmistakable."""
    if len(data) > MOST_READ:
        yield PhiFinding(place, "cannot be read whole", f"{len(data)} bytes")
        data = data[:MOST_READ]
    for run in _PRINTABLE.findall(data):
        text = run.decode("latin-1")
        if everything or _readable(text):
            yield from words.look(place, text, dates=dates)
    for run in _WIDE.findall(data):
        yield from words.look(f"{place}, UTF-16", run.replace(b"\0", b"").decode("ascii"), dates=dates)
    for packed in _STREAM.findall(data):
        inflater = zlib.decompressobj()
        try:
            inside = inflater.decompress(packed, MOST_READ)
        except zlib.error:
            continue
        yield from words.known_in_bytes(f"{place}, compressed", inside)
        for run in _PRINTABLE.findall(inside):
            yield from words.look(f"{place}, compressed", run.decode("latin-1"), dates=dates)


def _too_much(data: bytes) -> str:
    """Why a file would take too much memory to be read; empty if it would not."""
    if _DEFLATED in data[:1024] and data[132:138] == b"\2\0\0\0UL":
        start = 144 + int.from_bytes(data[140:144], "little")
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:], MOST_READ + 1)
        except zlib.error:
            return "it is damaged"
        if len(data) > MOST_READ:
            return f"it unfolds to more than {MOST_READ} bytes"
    elif _DEFLATED in data[:1024]:
        return "it is deflated, and does not say where that begins"
    return f"it has more than {_MOST_ITEMS} items" if data.count(b"\xfe\xff\x00\xe0") > _MOST_ITEMS else ""


def _image(dataset: Dataset, file: Any) -> Dataset:
    """The dataset that holds pixels, as one of its own: an icon within a sequence is in the syntax of its file."""
    if dataset is file or hasattr(dataset, "file_meta"):
        return dataset
    image = Dataset()
    image.update(dataset)
    image.file_meta = file.file_meta
    image.set_original_encoding(*file.original_encoding)
    return image


def _said_to_stay(dataset: Dataset, tag: int, claimed: frozenset[str]) -> bool:
    """Whether a value is part of a public code, or what the file says that it retains."""
    if tag in _CODE_PARTS:
        return str(dataset.get("CodingSchemeDesignator", "")).upper() in _SCHEMES
    return any(code in claimed and tag in tags for code, tags in _RETAINED.items())


def _claimed(file: Any) -> frozenset[str]:
    """What the file says was done to it: codes of CID 7050, and "dates" where they were modified."""
    found = {str(item.get("CodeValue", "")) for item in file.get("DeidentificationMethodCodeSequence", None) or ()}
    if str(file.get("LongitudinalTemporalInformationModified", "")) == "MODIFIED":
        found.add("dates")
    return frozenset(found)


def _readable(text: str) -> bool:
    """Whether a run of bytes reads like writing, and not like numbers that happen to be letters."""
    letters = sum(one.isalpha() and one.isascii() for one in text)
    return (
        len(text) >= 8 and letters >= 0.6 * len(text) and sum(one in "aeiouAEIOU" for one in text) >= 0.15 * len(text)
    )
