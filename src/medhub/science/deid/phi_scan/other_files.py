# SPDX-License-Identifier: Apache-2.0
"""Files of other kinds as the last look reads them: archives, documents, tables and texts."""

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

from medhub.science.deid.phi_scan.dicom_objects import MOST_READ
from medhub.science.deid.phi_scan.findings import PhiFinding, cut
from medhub.science.deid.phi_scan.image_scan import writing
from medhub.science.deid.phi_scan.phi_patterns import CODE, PhiPatterns

_MOST_MEMBERS = 100_000
_MOST_PAGES = 500
_MOST_PICTURES = 50
# Columns and keys whose values are somebody's, whatever they look like.
_PERSONAL = re.compile(
    r"(?:^|[_\s-])(?:(?:patients?|first|last|given|family|sur|full|maiden|mother'?s?)[_\s-]?names?|name[_\s-]of|"
    r"(?:patient'?s?[_\s-]?)?(?:birth[_\s-]?(?:date|day)|dob)|mrn|ssn|e[_-]?mail|phone|telephone|address|street|"
    r"(?:referring[_\s-]?)?physician(?:[_\s-]?name)?|operators?[_\s-]?names?|accession(?:[_\s-]?(?:number|no))?|"
    r"insurance[_\s-]?(?:number|no|id))$",
    re.IGNORECASE,
)

# Looks at a file within a file: where it is, its name, its bytes.
Inside = Callable[[str, str, bytes], Iterator[PhiFinding]]


def archive(words: PhiPatterns, place: str, data: bytes, inside: Inside) -> Iterator[PhiFinding]:
    """Look at an archive (ZIP, tar or gzip): its comments, names and members, each like a file of its own."""
    left = MOST_READ * 8
    try:
        for name, member in _members(words, place, data):
            if isinstance(name, PhiFinding):
                yield name
                continue
            left -= len(member)
            if left < 0:
                yield PhiFinding(place, "cannot be read whole", "it unfolds to more than is read")
                return
            yield from inside(f"{place}!{name}", name, member)
    except Exception as error:  # damaged, or locked
        yield PhiFinding(place, "cannot be read whole", type(error).__name__)


def _members(words: PhiPatterns, place: str, data: bytes) -> Iterator[tuple[Any, bytes]]:
    if data[:2] == b"\x1f\x8b":
        with gzip.open(io.BytesIO(data)) as file:
            inner = file.read(MOST_READ + 1)
        if len(inner) > MOST_READ:
            yield PhiFinding(place, "cannot be read whole", "it unfolds to more than is read"), b""
        if data[3] & 8:  # the name of the packed file
            name = data[10 : data.find(b"\0", 10)].decode("latin-1")
            yield from ((one, b"") for one in words.look(f"{place}, name in gzip", name))
        yield "", inner[:MOST_READ]
        return
    if data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for number, member in enumerate(tar):
                if number >= _MOST_MEMBERS:
                    yield PhiFinding(place, "cannot be read whole", f"more than {_MOST_MEMBERS} members"), b""
                    return
                said = " ".join((member.uname, member.gname, member.linkname))
                yield from ((one, b"") for one in words.look(f"{place}, owner of {member.name[:40]}", said))
                taken = tar.extractfile(member) if member.isfile() else None
                yield member.name, taken.read(MOST_READ + 1) if taken is not None else b""
        return
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        yield from _comment(words, f"{place}, comment", file.comment)
        if len(file.infolist()) > _MOST_MEMBERS:
            yield PhiFinding(place, "cannot be read whole", f"more than {_MOST_MEMBERS} members"), b""
        for entry in file.infolist()[:_MOST_MEMBERS]:
            yield from _comment(words, f"{place}!{entry.filename}, comment", entry.comment)
            if entry.is_dir():
                yield entry.filename, b""
                continue
            with file.open(entry) as opened:
                inner = opened.read(MOST_READ + 1)
            if len(inner) > MOST_READ:
                yield PhiFinding(f"{place}!{entry.filename}", "cannot be read whole", f"{entry.file_size} bytes"), b""
            yield entry.filename, inner[:MOST_READ]


def _comment(words: PhiPatterns, place: str, comment: bytes) -> Iterator[tuple[PhiFinding, bytes]]:
    if comment.strip():
        text = comment.decode("utf-8", "replace")
        found = list(words.look(place, text))
        yield from ((one, b"") for one in found or [PhiFinding(place, "text or data beside the data", cut(text))])


def document(words: PhiPatterns, place: str, data: bytes, *, read_pixels: bool, dates: bool) -> Iterator[PhiFinding]:
    """Look at a PDF: text as it is shown, what it says of itself, notes, attachments and pictures."""
    try:
        file = pypdf.PdfReader(io.BytesIO(data))
        if file.is_encrypted and not file.decrypt(""):
            yield PhiFinding(place, "cannot be read whole", "it is locked")
            return
        for key, value in (file.metadata or {}).items():
            # Days and programs of its making say nothing of anybody.
            if key not in ("/CreationDate", "/ModDate", "/Producer", "/Creator"):
                yield from words.look(f"{place}, {key[1:]}", str(value), dates=dates)
                if key == "/Author" and str(value).strip():
                    yield PhiFinding(f"{place}, Author", "name of a person", cut(str(value)))
        for name in file.attachments:
            yield PhiFinding(f"{place}, attachment", "a file within the file", cut(name))
        pictures = 0
        for number, page in enumerate(file.pages, start=1):
            if number > _MOST_PAGES:
                yield PhiFinding(place, "cannot be read whole", f"more than {_MOST_PAGES} pages")
                return
            for line in page.extract_text().splitlines():
                yield from words.look(f"{place}, page {number}", line, dates=dates)
            for note in page.get("/Annots") or ():
                said = note.get_object().get("/Contents")
                if said:
                    yield from words.look(f"{place}, note on page {number}", str(said), dates=dates)
            for picture in page.images if read_pixels else ():
                pictures += 1
                if pictures > _MOST_PICTURES:
                    yield PhiFinding(place, "cannot be read whole", f"more than {_MOST_PICTURES} pictures")
                    return
                if picture.image is not None:
                    shown = np.asarray(picture.image.convert("RGB"))
                    yield from writing(words, f"{place}, picture on page {number}", shown)
    except Exception as error:
        yield PhiFinding(place, "cannot be read whole", type(error).__name__)


def table(words: PhiPatterns, place: str, data: bytes, *, dates: bool) -> Iterator[PhiFinding]:
    """Look at a Parquet file; without the library that reads it, it cannot be cleared."""
    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError:
        yield PhiFinding(place, "cannot be read whole", "Parquet, and pyarrow is not installed")
        return
    try:
        read = parquet.read_table(io.BytesIO(data))
        for key, value in (read.schema.metadata or {}).items():
            yield from words.look(f"{place}, {key.decode('latin-1')}", value.decode("utf-8", "replace"), dates=dates)
        for name in read.column_names:
            for value in read.column(name).to_pylist():
                yield from cell(words, place, name, value, dates=dates)
    except Exception as error:
        yield PhiFinding(place, "cannot be read whole", type(error).__name__)


def text_of(data: bytes) -> str | None:
    """Read bytes as text, if they are text: UTF-8, UTF-16 with its mark, or of one byte a sign without controls."""
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
    controls = sum(ord(one) < 32 and one not in "\t\r\n\f" for one in text[:4096])
    return None if controls > 4 else text


def texts(words: PhiPatterns, place: str, name: str, text: str, *, dates: bool) -> Iterator[PhiFinding]:
    """Look at a text; of tables and JSON, at each value under its name."""
    lower = name.lower()
    if lower.endswith((".json", ".jsonl", ".ndjson")):
        for line in text.splitlines() if not lower.endswith(".json") else [text]:
            try:
                value = json.loads(line) if line.strip() else None
            except (ValueError, RecursionError):
                yield from words.look(place, line, dates=dates)
                continue
            yield from _json(words, place, "", value, dates)
        return
    if lower.endswith((".csv", ".tsv")):
        rows = csv.reader(io.StringIO(text), delimiter="\t" if lower.endswith(".tsv") else ",")
        try:
            header = next(rows, [])
            for column in header:
                yield from words.look(f"{place}, column", column, dates=dates)
            for row in rows:
                for column, value in zip([*header, *[""] * (len(row) - len(header))], row, strict=False):
                    yield from cell(words, place, column, value, dates=dates)
        except csv.Error as error:
            yield PhiFinding(place, "cannot be read whole", str(error))
        return
    if re.match(r"\s*<", text):  # markup: words are between signs of it
        text = re.sub(r"<[^>]{1,2000}>", " ", text) + " " + " ".join(re.findall(r'="([^"]{3,400})"', text))
    for line in text.splitlines():
        yield from words.look(place, line, dates=dates)


def _json(words: PhiPatterns, place: str, key: str, value: Any, dates: bool) -> Iterator[PhiFinding]:
    stack = [(key, value)]
    while stack:
        name, one = stack.pop()
        if isinstance(one, dict):
            for inner, item in one.items():
                yield from words.look(f"{place}, key", inner, dates=dates)
                stack.append((inner, item))
        elif isinstance(one, list):
            stack += [(name, item) for item in one]
        else:
            yield from cell(words, place, name, one, dates=dates)


def cell(words: PhiPatterns, place: str, column: str, value: Any, *, dates: bool) -> Iterator[PhiFinding]:
    """Look at a value of a table under the name of its column."""
    if value is None or isinstance(value, bool | float):
        return
    text = str(value).strip()
    where = f"{place}, {column}" if column else place
    if text and not isinstance(value, int):
        yield from words.look(where, text, dates=dates)
    elif text:
        yield from words.known(where, text)
    if text and _PERSONAL.search(column) and not CODE.fullmatch(text):
        yield PhiFinding(where, "value of a column about people", cut(text))
