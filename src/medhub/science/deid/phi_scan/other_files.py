# SPDX-License-Identifier: Apache-2.0
"""PHI scan of other files: archives, PDF documents, tables and texts."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pypdf

from medhub.science.deid.phi_scan.dicom_objects import MAX_BYTES_READ
from medhub.science.deid.phi_scan.findings import PhiFinding, excerpt_of
from medhub.science.deid.phi_scan.image_scan import scan_text_in_picture
from medhub.science.deid.phi_scan.phi_patterns import CODE, PhiPatterns

_MAX_MEMBERS = 100_000
_MAX_PAGES = 500
_MAX_PICTURES = 50
# Columns and keys whose values are personal, whatever they look like.
_PERSONAL_COLUMN = re.compile(
    r"(?:^|[_\s-])(?:(?:patients?|first|last|given|family|sur|full|maiden|mother'?s?)[_\s-]?names?|name[_\s-]of|"
    r"(?:patient'?s?[_\s-]?)?(?:birth[_\s-]?(?:date|day)|dob)|mrn|ssn|e[_-]?mail|phone|telephone|address|street|"
    r"(?:referring[_\s-]?)?physician(?:[_\s-]?name)?|operators?[_\s-]?names?|accession(?:[_\s-]?(?:number|no))?|"
    r"insurance[_\s-]?(?:number|no|id))$",
    re.IGNORECASE,
)

# Scans a file within a file: location, name, bytes.
MemberScanner = Callable[[str, str, bytes], Iterator[PhiFinding]]


def scan_archive(patterns: PhiPatterns, location: str, data: bytes, scan_member: MemberScanner) -> Iterator[PhiFinding]:
    """Scan an archive (ZIP, tar or gzip): its comments and names, and each member as a file."""
    left = MAX_BYTES_READ * 8
    try:
        for name, member in _members(patterns, location, data):
            if isinstance(name, PhiFinding):
                yield name
                continue
            left -= len(member)
            if left < 0:
                yield PhiFinding(location, "cannot be read whole", "it decompresses to more than is read")
                return
            yield from scan_member(f"{location}!{name}", name, member)
    except Exception as error:  # damaged, or locked
        yield PhiFinding(location, "cannot be read whole", type(error).__name__)


def _members(patterns: PhiPatterns, location: str, data: bytes) -> Iterator[tuple[Any, bytes]]:
    if data[:2] == b"\x1f\x8b":
        with gzip.open(io.BytesIO(data)) as file:
            inner = file.read(MAX_BYTES_READ + 1)
        if len(inner) > MAX_BYTES_READ:
            yield PhiFinding(location, "cannot be read whole", "it decompresses to more than is read"), b""
        if data[3] & 8:  # the name of the packed file
            name = data[10 : data.find(b"\0", 10)].decode("latin-1")
            yield from ((finding, b"") for finding in patterns.scan(f"{location}, name in gzip", name))
        yield "", inner[:MAX_BYTES_READ]
        return
    if data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for number, member in enumerate(tar):
                if number >= _MAX_MEMBERS:
                    yield PhiFinding(location, "cannot be read whole", f"more than {_MAX_MEMBERS} members"), b""
                    return
                owner = " ".join((member.uname, member.gname, member.linkname))
                yield from (
                    (finding, b"") for finding in patterns.scan(f"{location}, owner of {member.name[:40]}", owner)
                )
                content = tar.extractfile(member) if member.isfile() else None
                yield member.name, content.read(MAX_BYTES_READ + 1) if content is not None else b""
        return
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        yield from _scan_comment(patterns, f"{location}, comment", file.comment)
        if len(file.infolist()) > _MAX_MEMBERS:
            yield PhiFinding(location, "cannot be read whole", f"more than {_MAX_MEMBERS} members"), b""
        for entry in file.infolist()[:_MAX_MEMBERS]:
            yield from _scan_comment(patterns, f"{location}!{entry.filename}, comment", entry.comment)
            if entry.is_dir():
                yield entry.filename, b""
                continue
            with file.open(entry) as opened:
                inner = opened.read(MAX_BYTES_READ + 1)
            if len(inner) > MAX_BYTES_READ:
                yield (
                    PhiFinding(f"{location}!{entry.filename}", "cannot be read whole", f"{entry.file_size} bytes"),
                    b"",
                )
            yield entry.filename, inner[:MAX_BYTES_READ]


def _scan_comment(patterns: PhiPatterns, location: str, comment: bytes) -> Iterator[tuple[PhiFinding, bytes]]:
    if comment.strip():
        text = comment.decode("utf-8", "replace")
        findings = list(patterns.scan(location, text))
        yield from (
            (finding, b"")
            for finding in findings or [PhiFinding(location, "text or data beside the data", excerpt_of(text))]
        )


def scan_pdf(
    patterns: PhiPatterns, location: str, data: bytes, *, read_pixels: bool, dates: bool
) -> Iterator[PhiFinding]:
    """Scan a PDF: text, metadata, annotations, attachments and images."""
    try:
        file = pypdf.PdfReader(io.BytesIO(data))
        if file.is_encrypted and not file.decrypt(""):
            yield PhiFinding(location, "cannot be read whole", "it is locked")
            return
        for key, value in (file.metadata or {}).items():
            # Creation date and program identify nobody.
            if key not in ("/CreationDate", "/ModDate", "/Producer", "/Creator"):
                yield from patterns.scan(f"{location}, {key[1:]}", str(value), dates=dates)
                if key == "/Author" and str(value).strip():
                    yield PhiFinding(f"{location}, Author", "name of a person", excerpt_of(str(value)))
        for name in file.attachments:
            yield PhiFinding(f"{location}, attachment", "a file within the file", excerpt_of(name))
        pictures = 0
        for number, page in enumerate(file.pages, start=1):
            if number > _MAX_PAGES:
                yield PhiFinding(location, "cannot be read whole", f"more than {_MAX_PAGES} pages")
                return
            for line in page.extract_text().splitlines():
                yield from patterns.scan(f"{location}, page {number}", line, dates=dates)
            for note in page.get("/Annots") or ():
                text = note.get_object().get("/Contents")
                if text:
                    yield from patterns.scan(f"{location}, note on page {number}", str(text), dates=dates)
            for picture in page.images if read_pixels else ():
                pictures += 1
                if pictures > _MAX_PICTURES:
                    yield PhiFinding(location, "cannot be read whole", f"more than {_MAX_PICTURES} pictures")
                    return
                if picture.image is not None:
                    rgb = np.asarray(picture.image.convert("RGB"))
                    yield from scan_text_in_picture(patterns, f"{location}, picture on page {number}", rgb)
    except Exception as error:
        yield PhiFinding(location, "cannot be read whole", type(error).__name__)


def scan_parquet(patterns: PhiPatterns, location: str, data: bytes, *, dates: bool) -> Iterator[PhiFinding]:
    """Scan a Parquet file; without pyarrow, it is a finding."""
    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError:
        yield PhiFinding(location, "cannot be read whole", "Parquet, and pyarrow is not installed")
        return
    try:
        columns = parquet.read_table(io.BytesIO(data))
        for key, value in (columns.schema.metadata or {}).items():
            yield from patterns.scan(
                f"{location}, {key.decode('latin-1')}", value.decode("utf-8", "replace"), dates=dates
            )
        for name in columns.column_names:
            for value in columns.column(name).to_pylist():
                yield from scan_cell(patterns, location, name, value, dates=dates)
    except Exception as error:
        yield PhiFinding(location, "cannot be read whole", type(error).__name__)


def decode_text(data: bytes) -> str | None:
    """Decode bytes if they are text: UTF-8, UTF-16 with a byte order mark, or Latin-1 without control characters."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError:
            return None
    if b"\0" in data:
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    controls = sum(ord(character) < 32 and character not in "\t\r\n\f" for character in text[:4096])
    return None if controls > 4 else text


def scan_text(patterns: PhiPatterns, location: str, name: str, text: str, *, dates: bool) -> Iterator[PhiFinding]:
    """Scan a text; of tables and JSON, each value under its name."""
    lower = name.lower()
    if lower.endswith((".json", ".jsonl", ".ndjson")):
        for line in text.splitlines() if not lower.endswith(".json") else [text]:
            try:
                value = json.loads(line) if line.strip() else None
            except (ValueError, RecursionError):
                yield from patterns.scan(location, line, dates=dates)
                continue
            yield from _json(patterns, location, "", value, dates)
        return
    if lower.endswith((".csv", ".tsv")):
        rows = csv.reader(io.StringIO(text), delimiter="\t" if lower.endswith(".tsv") else ",")
        try:
            header = next(rows, [])
            for column in header:
                yield from patterns.scan(f"{location}, column", column, dates=dates)
            for row in rows:
                for column, value in zip([*header, *[""] * (len(row) - len(header))], row, strict=False):
                    yield from scan_cell(patterns, location, column, value, dates=dates)
        except csv.Error as error:
            yield PhiFinding(location, "cannot be read whole", str(error))
        return
    if re.match(r"\s*<", text):  # markup: text is between tags and in attributes
        text = re.sub(r"<[^>]{1,2000}>", " ", text) + " " + " ".join(re.findall(r'="([^"]{3,400})"', text))
    for line in text.splitlines():
        yield from patterns.scan(location, line, dates=dates)


def _json(patterns: PhiPatterns, location: str, key: str, value: Any, dates: bool) -> Iterator[PhiFinding]:
    stack = [(key, value)]
    while stack:
        name, node = stack.pop()
        if isinstance(node, dict):
            for inner, item in node.items():
                yield from patterns.scan(f"{location}, key", inner, dates=dates)
                stack.append((inner, item))
        elif isinstance(node, list):
            stack += [(name, item) for item in node]
        else:
            yield from scan_cell(patterns, location, name, node, dates=dates)


def scan_cell(patterns: PhiPatterns, location: str, column: str, value: Any, *, dates: bool) -> Iterator[PhiFinding]:
    """Scan a value of a table under the name of its column."""
    if value is None or isinstance(value, bool | float):
        return
    text = str(value).strip()
    column_location = f"{location}, {column}" if column else location
    if text and not isinstance(value, int):
        yield from patterns.scan(column_location, text, dates=dates)
    elif text:
        yield from patterns.find_known(column_location, text)
    if text and _PERSONAL_COLUMN.search(column) and not CODE.fullmatch(text):
        yield PhiFinding(column_location, "value of a column about people", excerpt_of(text))
