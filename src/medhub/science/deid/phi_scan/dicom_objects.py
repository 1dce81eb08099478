# SPDX-License-Identifier: Apache-2.0
"""PHI scan of DICOM objects: every element at every depth, and bytes that read like text."""

from __future__ import annotations

import re
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from medhub.science.deid.phi_scan.dictionary import unknown_words
from medhub.science.deid.phi_scan.findings import PhiFinding, excerpt_of
from medhub.science.deid.phi_scan.image_scan import scan_dicom_pixels, scan_jpeg_metadata
from medhub.science.deid.phi_scan.phi_patterns import CODE, PhiPatterns

# Longer values are not read completely, which is a finding.
MAX_BYTES_READ = 64 * 1024**2
_MAX_DEPTH = 64
_MAX_ITEMS = 500_000
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_TEXT_VRS = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
_TYPED_VRS = frozenset(("LO", "LT", "SH", "ST", "UC", "UT"))
_BYTE_VRS = frozenset(("OB", "OW", "UN", "OF", "OD", "OL", "OV"))
_NUMBERS = frozenset(("DS", "IS", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV", "AT", "TM"))
_PIXELS, _DOCUMENT = 0x7FE00010, 0x00420011
_PRINTABLE = re.compile(rb"[\x20-\x7e\xa0-\xff]{6,}")
_WIDE = re.compile(rb"(?:[\x20-\x7e]\x00){6,}|(?:\x00[\x20-\x7e]){6,}")
_STREAM = re.compile(rb"stream\r?\n(.*?)endstream", re.DOTALL)
_RETAINED_UIDS, _SAFE_PRIVATE, _FULL_DATES = "113110", "113111", "113106"
# Attributes that may stay under the options that a file declares.
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
# Model, software versions and character sets, which contain dates and long numbers.
_OF_DEVICES = frozenset((0x00080005, 0x00081090, 0x00181020))
_OF_PROGRAMS = _OF_DEVICES | {
    0x00080070,
    0x00120063,
}  # with manufacturer, and programs and profiles of de-identification
_NUMBERED = frozenset(("network address", "date", "number of a person", "telephone number"))
_COLOR_PROFILE = b"acsp"  # at byte 36 of an ICC profile, which contains names of standards
_DUMMY_DATES = frozenset(("19000101", "19000101000000"))

NestedFileScanner = Callable[[str, bytes], Iterator[PhiFinding]]


class DicomObjectScanner:
    """Scans DICOM objects.

    Parameters
    ----------
    patterns
        Scans texts.
    read_pixels
        Whether text in images is read.
    scan_nested
        Scans a file within the object, such as an encapsulated document.
    """

    def __init__(self, patterns: PhiPatterns, *, read_pixels: bool, scan_nested: NestedFileScanner) -> None:
        self._patterns = patterns
        self._read_pixels = read_pixels
        self._scan_nested = scan_nested

    def scan(self, data: bytes) -> Iterator[PhiFinding]:
        """Scan a file."""
        if data[128:132] == b"DICM" and data[:128].strip(b"\0"):
            yield PhiFinding("preamble", "bytes that are not zero", repr(data[:24]))
        reason = _size_problem(data)
        if reason:
            yield PhiFinding("the file", "cannot be read whole", reason)
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                file = pydicom.dcmread(BytesIO(data), force=True)
                if not file.get("SOPClassUID"):
                    yield PhiFinding("the file", "cannot be read whole", "no SOP Class UID")
                yield from self._scan_file_meta(file)
                yield from self._scan_dataset(file, "", _declared_options(file), file, 0)
        # What cannot be read cannot be checked.
        except Exception as error:
            yield PhiFinding("the file", "cannot be read whole", type(error).__name__)

    def _scan_file_meta(self, file: Any) -> Iterator[PhiFinding]:
        for element in getattr(file, "file_meta", ()):
            if element.VR == "AE" or element.tag in (0x00020100, 0x00020102):
                yield PhiFinding(f"{element.tag}", "names a device or sender", excerpt_of(element.value))

    def _scan_dataset(
        self, dataset: Dataset, path: str, declared_options: frozenset[str], file: Any, depth: int
    ) -> Iterator[PhiFinding]:
        if depth > _MAX_DEPTH:
            yield PhiFinding(path[:60], "cannot be read whole", "sequences lie too deep")
            return
        for tag in list(dataset.keys()):
            location = f"{path}({tag >> 16:04X},{tag & 0xFFFF:04X})"
            try:
                element = dataset[tag]
                vr, value = str(element.VR), element.value
            except Exception as error:
                yield PhiFinding(location, "cannot be read", type(error).__name__)
                continue
            if element.tag.is_private and _SAFE_PRIVATE not in declared_options:
                yield PhiFinding(location, "private element", excerpt_of(value))
            if _is_declared_retained(dataset, int(tag), declared_options):
                yield from self._patterns.find_known(location, str(value))
            elif vr == "SQ":
                for number, item in enumerate(value or (), start=1):
                    yield from self._scan_dataset(item, f"{location}[{number}]", declared_options, file, depth + 1)
            elif int(tag) == _PIXELS:
                if element.is_undefined_length:
                    yield from scan_jpeg_metadata(self._patterns, location, value)
                if self._read_pixels:
                    yield from scan_dicom_pixels(self._patterns, f"{path}pixels", _image_with_syntax(dataset, file))
            elif vr in _BYTE_VRS and isinstance(value, bytes):
                yield from self._scan_binary(location, int(tag), value)
            else:
                yield from self._scan_value(location, int(tag), vr, value, declared_options)

    def _scan_value(
        self, location: str, tag: int, vr: str, value: Any, declared_options: frozenset[str]
    ) -> Iterator[PhiFinding]:
        values = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
        if type(value).__name__ == "PersonName":
            values = [value]
        for text in (str(part).strip() for part in values if part not in (None, "")):
            if vr == "PN" and not CODE.fullmatch(text.strip("^=")):
                yield PhiFinding(location, "name of a person", excerpt_of(text))
            elif tag == _PATIENT_ID and not CODE.fullmatch(text):
                yield PhiFinding(location, "number of a person", excerpt_of(text))
            elif vr == "UI":
                standard = text.startswith(("1.2.840.10008.", "2.25."))
                if text and not standard and _RETAINED_UIDS not in declared_options:
                    yield PhiFinding(location, "UID of a device or institution", excerpt_of(text))
            elif vr in ("DA", "DT"):
                if text not in _DUMMY_DATES and "dates" not in declared_options and _FULL_DATES not in declared_options:
                    yield PhiFinding(location, "date", excerpt_of(text))
            elif vr == "AS":
                if text[:-1].isdigit() and text.endswith("Y") and int(text[:-1]) > 90:
                    yield PhiFinding(location, "age above 89", text)
            elif vr in _TEXT_VRS:
                findings = [
                    finding
                    for finding in self._patterns.scan(location, text)
                    if tag not in _OF_DEVICES or finding.kind not in _NUMBERED
                ]
                yield from findings
                # A text that is reported already is read by a person anyway.
                typed = vr in _TYPED_VRS and tag not in _OF_PROGRAMS and not tag >> 16 & 1
                if typed and not findings and not CODE.fullmatch(text):
                    yield from _scan_words(location, text)
            if vr == "PN" or vr not in _TEXT_VRS:
                yield from self._patterns.find_known(location, text, short=vr not in _NUMBERS)

    def _scan_binary(self, location: str, tag: int, value: bytes) -> Iterator[PhiFinding]:
        group, element = tag >> 16, tag & 0xFFFF
        if group in range(0x6000, 0x6100, 2) and element == 0x3000 and value.strip(b"\0"):
            yield PhiFinding(location, "bit plane that may hold writing", f"{len(value)} bytes")
        elif group in range(0x5000, 0x5100, 2):
            yield PhiFinding(location, "curve that may hold writing", f"{len(value)} bytes")
        if value[36:40] == _COLOR_PROFILE:
            return
        if tag == _DOCUMENT:
            yield from self._scan_nested(location, value.rstrip(b"\0"))
        yield from scan_strings(self._patterns, location, value, all_runs=value[:5] == b"%PDF-" or tag == _DOCUMENT)


def _scan_words(location: str, text: str) -> Iterator[PhiFinding]:
    words = unknown_words(text)
    if words:
        yield PhiFinding(location, "words that no dictionary has", excerpt_of(" ".join(words)))


def scan_strings(
    patterns: PhiPatterns, location: str, data: bytes, *, all_runs: bool, dates: bool = True
) -> Iterator[PhiFinding]:
    """Scan runs of letters within bytes; without ``all_runs`` only those that read like text."""
    if len(data) > MAX_BYTES_READ:
        yield PhiFinding(location, "cannot be read whole", f"{len(data)} bytes")
        data = data[:MAX_BYTES_READ]
    for run in _PRINTABLE.findall(data):
        text = run.decode("latin-1")
        if all_runs or _is_readable(text):
            yield from patterns.scan(location, text, dates=dates)
    for run in _WIDE.findall(data):
        yield from patterns.scan(f"{location}, UTF-16", run.replace(b"\0", b"").decode("ascii"), dates=dates)
    for stream in _STREAM.findall(data):
        inflater = zlib.decompressobj()
        try:
            inflated = inflater.decompress(stream, MAX_BYTES_READ)
        except zlib.error:
            continue
        yield from patterns.find_known_in_bytes(f"{location}, compressed", inflated)
        for run in _PRINTABLE.findall(inflated):
            yield from patterns.scan(f"{location}, compressed", run.decode("latin-1"), dates=dates)


def _size_problem(data: bytes) -> str:
    """Give the reason why a file would take too much memory; empty if it would not."""
    if _DEFLATED in data[:1024] and data[132:138] == b"\2\0\0\0UL":
        start = 144 + int.from_bytes(data[140:144], "little")
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:], MAX_BYTES_READ + 1)
        except zlib.error:
            return "it is damaged"
        if len(data) > MAX_BYTES_READ:
            return f"it decompresses to more than {MAX_BYTES_READ} bytes"
    elif _DEFLATED in data[:1024]:
        return "it is deflated, and the start of the data is unknown"
    return f"it has more than {_MAX_ITEMS} items" if data.count(b"\xfe\xff\x00\xe0") > _MAX_ITEMS else ""


def _image_with_syntax(dataset: Dataset, file: Any) -> Dataset:
    """Give a nested dataset with pixels, such as an icon, the transfer syntax of its file."""
    if dataset is file or hasattr(dataset, "file_meta"):
        return dataset
    image = Dataset()
    image.update(dataset)
    image.file_meta = file.file_meta
    image.set_original_encoding(*file.original_encoding)
    return image


def _is_declared_retained(dataset: Dataset, tag: int, declared_options: frozenset[str]) -> bool:
    """Whether a value is part of a public code, or retained by an option that the file declares."""
    if tag in _CODE_PARTS:
        return str(dataset.get("CodingSchemeDesignator", "")).upper() in _SCHEMES
    return any(code in declared_options and tag in tags for code, tags in _RETAINED.items())


def _declared_options(file: Any) -> frozenset[str]:
    """Read how the file declares to be de-identified: codes of CID 7050, and "dates" if they were modified."""
    codes = {str(item.get("CodeValue", "")) for item in file.get("DeidentificationMethodCodeSequence", None) or ()}
    if str(file.get("LongitudinalTemporalInformationModified", "")) == "MODIFIED":
        codes.add("dates")
    return frozenset(codes)


def _is_readable(text: str) -> bool:
    """Whether a run of bytes reads like text, and not like numbers that happen to be letters."""
    letters = sum(character.isalpha() and character.isascii() for character in text)
    return (
        len(text) >= 8
        and letters >= 0.6 * len(text)
        and sum(character in "aeiouAEIOU" for character in text) >= 0.15 * len(text)
    )
