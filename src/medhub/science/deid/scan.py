# SPDX-License-Identifier: Apache-2.0
"""The last look at what is about to leave: what still says, or may say, who somebody is.

It shares no code with the engine, and no rule: it does not ask what a profile allows, but reads every byte as somebody
would who looks for people. So a fault of the engine is not repeated here. What it finds, a person decides on.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

import pydicom
from pydicom.dataset import Dataset

_MOST_INFLATED = 8 * 1024**2
_MOST_FINDINGS = 1000  # of one file: one that has more is not read to its end by anybody
_LONGEST_EXCERPT = 80

# What a code may look like that stands for a person: of this hub, and of nobody.
_CODE = re.compile(r"(?:[A-Z]{1,4}-[A-Z0-9-]{6,40}|REPLACED|ANONYM\w*|)$")
_PEOPLE = re.compile(
    r"\b(?:mr|mrs|ms|miss|dr|prof|herr|frau|se[nñ]ora?|mme|m\.d|rn)\b\.?\s+[A-Z][\w'-]+|"
    r"\b[A-Z][\w'-]+\^[A-Z][\w'-]*|"
    r"\b[A-Z][A-Za-z'-]{2,},\s?(?!Inc\b|Ltd\b|Corp\b|Llc\b|Gmb)[A-Z][a-z'-]{2,}\b|"
    r"\b(?:patient|name|physician|doctor|technologist|operator|referred by|seen by)\s*[:=]\s*[A-Z][\w'-]+",
)
_PEOPLE_LOWER = re.compile(r"\b(?:mr|mrs|ms|dr|prof)\.\s?[a-z][\w'-]{2,}", re.IGNORECASE)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("e-mail", re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    ("web address", re.compile(r"\b(?:https?|ftp)://\S+|\bwww\.[\w.-]+", re.IGNORECASE)),
    ("network address", re.compile(r"\b(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\b", re.IGNORECASE)),
    ("network address", re.compile(r"\b(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}\b")),
    ("social security number", re.compile(r"\b\d{3}-\d{2}-\d{4}\b")),
    (
        "date",
        re.compile(
            r"(?<!\d)(?:19|20)\d{2}([-./]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?!\d)|"
            r"(?<!\d)(?:0?[1-9]|[12]\d|3[01])([-./])(?:0?[1-9]|1[0-2])\2(?:(?:19|20)\d{2}|\d{2})(?!\d)|"
            r"(?<!\d)(?:0?[1-9]|1[0-2])([-./])(?:0?[1-9]|[12]\d|3[01])\3(?:(?:19|20)\d{2}|\d{2})(?!\d)|"
            rf"\b\d{{1,2}}(?:st|nd|rd|th)?[\s-]{_MONTH}[\s,.-]+\d{{2,4}}\b|\b{_MONTH}\.?\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}}\b",
            re.IGNORECASE,
        ),
    ),
    ("telephone number", re.compile(r"(?<![\d.])\+?\(?\d{2,4}\)?[\s./-]\(?\d{2,4}\)?[\s./-]?\d{3,8}(?![\d.])")),
    (
        "number of a person",
        re.compile(r"\b(?:mrn|ssn|nhs|pid|acc|accession|case|visit|id|no)\s?[#:.=]+\s?\w*\d\w*", re.IGNORECASE),
    ),
    ("number of a person", re.compile(r"(?<![\d.,])\d{7,}(?![\d.,])")),
    ("number of a person", re.compile(r"\b(?=[A-Z0-9-]*\d{4})[A-Z]{1,4}-?\d{4,}(?:-\d+)*\b")),
    ("age above 89", re.compile(r"\b(?:9\d|1[0-2]\d)[\s-]?(?:y|yr|yrs|yo|y/o|years?)\b", re.IGNORECASE)),
    (
        "address",
        re.compile(
            r"\b\d{1,5}\s[A-Z][\w'-]+(?:\s[A-Z][\w'-]+)*\s(?:st|street|ave|avenue|rd|road|ln|lane|blvd|drive|dr|way|court|jalan)\b|"
            r"\b(?:jalan|rue|via|calle)\s[A-Z]\w+|\b[A-Z][\w]+(?:stra(?:ss|ß)e|straat|weg|gasse)\s\d+|\b[A-Z]{2}\s\d{5}(?:-\d{4})?\b",
            re.IGNORECASE,
        ),
    ),
    ("position", re.compile(r"[-+]?\d{1,2}\.\d{4,}\s*[,;]\s*[-+]?\d{1,3}\.\d{4,}")),
)
_TEXT_VRS = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
_BYTE_VRS = frozenset(("OB", "OW", "UN", "OF", "OD", "OL", "OV"))
_PIXELS = 0x7FE00010
_PRINTABLE = re.compile(rb"[\x20-\x7e\xa0-\xff]{6,}")
_WIDE = re.compile(rb"(?:[\x20-\x7e]\x00){6,}|(?:\x00[\x20-\x7e]){6,}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{24,}={0,2}")
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
_SOFTWARE = 0x00181020
_COLOR_PROFILE = b"acsp"  # at byte 36 of an ICC profile, which names the standards that it follows
_DUMMY_DATES = frozenset(("19000101", "19000101000000"))


@dataclass(frozen=True)
class Finding:
    """Something that says, or may say, who somebody is.

    Attributes
    ----------
    place
        Where: a path of tags, "file name", "beside the data", or the part of the file.
    kind
        What it looks like.
    excerpt
        The value itself, cut; who reads findings reads identities.
    """

    place: str
    kind: str
    excerpt: str


class Scanner:
    """Looks for people in files.

    Parameters
    ----------
    known
        Names and numbers of people that must not be found, from the vault or a list.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        parts: set[str] = set()
        for one in known:
            whole = one.strip()
            parts |= {part for part in (whole, *re.split(r"[\s^,=]+", whole)) if len(part) >= 3}
        self._known = sorted(part.casefold() for part in parts)
        self._bytes = {
            form: part
            for part in self._known
            for form in (
                part.encode(),
                part.encode("latin-1", "ignore"),
                part.encode("utf-16-le"),
                part.encode("utf-16-be"),
                part[::-1].encode(),
                part.encode().hex().encode(),
            )
            if len(form) >= 3
        }

    def scan(self, name: str, data: bytes) -> list[Finding]:
        """Look through a file.

        Parameters
        ----------
        name
            Its path within what leaves; folders count.
        data
            Its bytes.

        Returns
        -------
        list[Finding]
            Each once, at most a thousand.
        """
        found: dict[Finding, None] = {}
        for one in self._all(name, data):
            found[one] = None
            if len(found) >= _MOST_FINDINGS:
                break
        return list(found)

    def _all(self, name: str, data: bytes) -> Iterator[Finding]:
        for part in PurePosixPath(name).parts:
            stem = re.sub(r"(?:2\.25\.|\b1\.2\.840\.)[\d.]+", "", part.rsplit(".", 1)[0] if "." in part[1:] else part)
            if not _CODE.fullmatch(stem):
                yield from self._text("file name", stem.replace("_", " "))
        yield from self._known_bytes("bytes of the file", data)
        if data[128:132] == b"DICM":
            yield from self._dicom(data)
        else:
            yield from self._strings("bytes of the file", data, everything=True)

    def _dicom(self, data: bytes) -> Iterator[Finding]:
        if data[:128].strip(b"\0"):
            yield Finding("preamble", "bytes that are not zero", repr(data[:24]))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                file = pydicom.dcmread(BytesIO(data), force=True)
                if not file.get("SOPClassUID"):
                    yield Finding("the file", "cannot be read whole", "no SOP Class UID")
                yield from self._meta(file)
                claimed = _claimed(file)
                yield from self._dataset(file, "", claimed)
        # What cannot be read cannot be cleared.
        except Exception as error:
            yield Finding("the file", "cannot be read whole", type(error).__name__)

    def _meta(self, file: Any) -> Iterator[Finding]:
        for element in getattr(file, "file_meta", ()):
            if element.VR == "AE" or element.tag in (0x00020100, 0x00020102):
                yield Finding(f"{element.tag}", "names a device or sender", _cut(element.value))

    def _dataset(self, dataset: Dataset, path: str, claimed: frozenset[str]) -> Iterator[Finding]:
        for tag in list(dataset.keys()):
            place = f"{path}({tag >> 16:04X},{tag & 0xFFFF:04X})"
            try:
                element = dataset[tag]
                vr, value = str(element.VR), element.value
            except Exception as error:
                yield Finding(place, "cannot be read", type(error).__name__)
                continue
            if element.tag.is_private and _SAFE_PRIVATE not in claimed:
                yield Finding(place, "private element", _cut(value))
            if _said_to_stay(dataset, int(tag), claimed):
                yield from self._known_text(place, str(value))
            elif vr == "SQ":
                for number, item in enumerate(value or (), start=1):
                    yield from self._dataset(item, f"{place}[{number}]", claimed)
            elif int(tag) == _PIXELS:
                if element.is_undefined_length:
                    yield from self._comments(place, value)
            elif vr in _BYTE_VRS and isinstance(value, bytes):
                yield from self._binary(place, int(tag), value)
            else:
                yield from self._value(place, int(tag), vr, value, claimed)

    def _value(self, place: str, tag: int, vr: str, value: Any, claimed: frozenset[str]) -> Iterator[Finding]:
        several = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
        if type(value).__name__ == "PersonName":
            several = [value]
        for text in (str(one).strip() for one in several if one not in (None, "")):
            if vr == "PN" and not _CODE.fullmatch(text.strip("^=")):
                yield Finding(place, "name of a person", _cut(text))
            elif tag == 0x00100020 and not _CODE.fullmatch(text):
                yield Finding(place, "number of a person", _cut(text))
            elif vr == "UI":
                standard = text.startswith(("1.2.840.10008.", "2.25."))
                if text and not standard and _RETAINED_UIDS not in claimed:
                    yield Finding(place, "UID of a device or institution", _cut(text))
            elif vr in ("DA", "DT"):
                if text not in _DUMMY_DATES and "dates" not in claimed and _FULL_DATES not in claimed:
                    yield Finding(place, "date", _cut(text))
            elif vr == "AS":
                if text[:-1].isdigit() and text.endswith("Y") and int(text[:-1]) > 90:
                    yield Finding(place, "age above 89", text)
            elif vr in _TEXT_VRS:
                found = self._text(place, text)
                yield from (one for one in found if tag != _SOFTWARE or one.kind != "network address")
            yield from self._known_text(place, text)

    def _text(self, place: str, text: str) -> Iterator[Finding]:
        if _CODE.fullmatch(text):
            return
        for kind, pattern in _KINDS:
            for one in pattern.finditer(text):
                yield Finding(place, kind, _cut(one.group()))
        for pattern in (_PEOPLE, _PEOPLE_LOWER):
            for one in pattern.finditer(text):
                yield Finding(place, "name of a person", _cut(one.group()))
        yield from self._known_text(place, text)

    def _known_text(self, place: str, text: str) -> Iterator[Finding]:
        lower = text.casefold()
        for one in self._known:
            if one in lower:
                yield Finding(place, "known identity", one)

    def _known_bytes(self, place: str, data: bytes) -> Iterator[Finding]:
        if not self._bytes:
            return
        lower = data.lower()
        for form, part in self._bytes.items():
            if form in lower:
                yield Finding(place, "known identity", part)
        for run in _BASE64.findall(data[:_MOST_INFLATED]):
            try:
                inside = base64.b64decode(run + b"=" * (-len(run) % 4)).lower()
            except (binascii.Error, ValueError):
                continue
            for form, part in self._bytes.items():
                if len(form) > 3 and form in inside:
                    yield Finding(f"{place}, base64", "known identity", part)

    def _binary(self, place: str, tag: int, value: bytes) -> Iterator[Finding]:
        group, element = tag >> 16, tag & 0xFFFF
        if group in range(0x6000, 0x6100, 2) and element == 0x3000 and value.strip(b"\0"):
            yield Finding(place, "bit plane that may hold writing", f"{len(value)} bytes")
        elif group in range(0x5000, 0x5100, 2):
            yield Finding(place, "curve that may hold writing", f"{len(value)} bytes")
        if value[36:40] == _COLOR_PROFILE:
            return
        yield from self._strings(place, value, everything=value[:5] == b"%PDF-" or tag == 0x00420011)

    def _strings(self, place: str, data: bytes, *, everything: bool) -> Iterator[Finding]:
        """Look at runs of letters within bytes; in numbers that happen to be letters, only at what is unmistakable."""
        for run in _PRINTABLE.findall(data[:_MOST_INFLATED]):
            text = run.decode("latin-1")
            if everything or _readable(text):
                yield from self._text(place, text)
        for run in _WIDE.findall(data[:_MOST_INFLATED]):
            yield from self._text(f"{place}, UTF-16", run.replace(b"\0", b"").decode("ascii"))
        for packed in _STREAM.findall(data[:_MOST_INFLATED]):
            inflater = zlib.decompressobj()
            try:
                inside = inflater.decompress(packed, _MOST_INFLATED)
            except zlib.error:
                continue
            yield from self._known_bytes(f"{place}, compressed", inside)
            for run in _PRINTABLE.findall(inside):
                yield from self._text(f"{place}, compressed", run.decode("latin-1"))

    def _comments(self, place: str, value: bytes) -> Iterator[Finding]:
        """Look at what compressed frames carry beside the picture: comments and application data of JPEG."""
        at = value.find(b"\xff\xd8")
        while 0 <= at < len(value) - 4:
            at += 2
            while at + 4 <= len(value) and value[at] == 0xFF and value[at + 1] not in (0xDA, 0xD9):
                marker, (length,) = value[at + 1], struct.unpack_from(">H", value, at + 2)
                body = value[at + 4 : at + 2 + length]
                if marker == 0xFE or (0xE1 <= marker <= 0xEF and marker != 0xEE):
                    yield Finding(place, "text or data beside the picture", _cut(body[:60]))
                    yield from self._strings(place, body, everything=True)
                at += 2 + max(2, length)
            at = value.find(b"\xff\xd8", at)


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


def _cut(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value) if isinstance(value, bytes) else str(value)
    return text[:_LONGEST_EXCERPT]
