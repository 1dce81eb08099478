# SPDX-License-Identifier: Apache-2.0
"""Pages and entries of a TIFF file in memory, which can be read and overwritten (TIFF 6.0, BigTIFF)."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from medhub.science.imaging.decoding_limits import Unacceptable

_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGER_FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_WIDTH, _LENGTH, SUBPAGES = 256, 257, 330
OFFSET_TAGS = {273: 279, 324: 325}  # offsets of strips and tiles, and their byte counts
_MAX_PAGES = 100


@dataclass
class TiffEntry:
    """An entry of a page, and the location of its value."""

    tag: int
    kind: int
    count: int
    at: int  # of the value
    length: int
    raw: bytes  # the entry itself


@dataclass
class TiffPage:
    """A page (image file directory), with the values of its integer entries."""

    at: int
    entries: list[TiffEntry]
    next_offset: int
    number: int = 0
    sub: bool = False
    values: dict[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Columns of the page."""
        return self.values[_WIDTH][0]

    @property
    def height(self) -> int:
        """Rows of the page."""
        return self.values[_LENGTH][0]


class TiffFile:
    """The pages of a TIFF file in writable memory."""

    def __init__(self, data: bytearray | mmap.mmap) -> None:
        self.data = data
        self.order = {b"II": "<", b"MM": ">"}[bytes(data[:2])]
        (version,) = struct.unpack_from(f"{self.order}H", data, 2)
        self.big = version == 43
        if version not in (42, 43):
            raise Unacceptable("This TIFF file has an unknown version.", reason="damaged")
        self.word = "Q" if self.big else "I"
        self.head = 16 if self.big else 8
        self.size = 20 if self.big else 12
        self.pages = list(self._chain(self.head // 2))

    def _chain(self, pointer: int, *, sub: bool = False) -> Iterator[TiffPage]:
        (at,) = struct.unpack_from(f"{self.order}{self.word}", self.data, pointer)
        visited: set[int] = set()
        while at:
            if at in visited or len(visited) >= _MAX_PAGES:
                raise Unacceptable("The pages of this TIFF file form a cycle.", reason="damaged")
            visited.add(at)
            page = self._page(at)
            page.sub, page.number = sub, len(visited) - 1
            yield page
            at = page.next_offset

    def _page(self, at: int) -> TiffPage:
        form = "Q" if self.big else "H"
        (count,) = struct.unpack_from(f"{self.order}{form}", self.data, at)
        if count > 4096:
            raise Unacceptable("A page of this TIFF file has more entries than any device writes.", reason="damaged")
        first = at + struct.calcsize(f"<{form}")
        entries, values = [], {}
        for position in range(first, first + count * self.size, self.size):
            tag, kind, number = struct.unpack_from(f"{self.order}HH{self.word}", self.data, position)
            length = _TYPE_SIZES.get(kind, 1) * number
            inline = 8 if self.big else 4
            value_offset = position + self.size - inline
            if length > inline:
                (value_offset,) = struct.unpack_from(f"{self.order}{self.word}", self.data, value_offset)
            if value_offset + length > len(self.data):
                raise Unacceptable("This TIFF file is truncated: one of its pages is incomplete.", reason="truncated")
            entry = TiffEntry(
                tag, kind, number, value_offset, length, bytes(self.data[position : position + self.size])
            )
            entries.append(entry)
            if kind in _INTEGER_FORMATS:
                values[tag] = struct.unpack_from(
                    f"{self.order}{number}{_INTEGER_FORMATS[kind]}", self.data, value_offset
                )
        (next_offset,) = struct.unpack_from(f"{self.order}{self.word}", self.data, first + count * self.size)
        page = TiffPage(at, entries, next_offset, values=values)
        if not {_WIDTH, _LENGTH} <= values.keys() or not page.width or not page.height:
            raise Unacceptable("A page of this TIFF file has no width or height.", reason="damaged")
        return page

    def subpages(self, page: TiffPage) -> list[TiffPage]:
        """Read the subpages of a page, for example smaller levels in OME-TIFF."""
        pages = [self._page(at) for at in page.values.get(SUBPAGES, ())]
        for subpage in pages:
            subpage.sub = True
        return pages

    def text(self, page: TiffPage, tag: int) -> bytes:
        """Read the bytes of an entry; empty if the page does not have it."""
        return next(
            (bytes(self.data[entry.at : entry.at + entry.length]) for entry in page.entries if entry.tag == tag), b""
        )

    def byte_ranges(self, page: TiffPage) -> Iterator[tuple[int, int]]:
        """List the byte ranges of a page: start and end."""
        form = 8 if self.big else 2
        yield page.at, page.at + form + len(page.entries) * self.size + (8 if self.big else 4)
        for entry in page.entries:
            yield entry.at, entry.at + entry.length
        for offset_tag, length_tag in OFFSET_TAGS.items():
            if offset_tag in page.values:
                for at, length in zip(page.values[offset_tag], page.values.get(length_tag, ()), strict=True):
                    if at + length > len(self.data):
                        raise Unacceptable("This slide is truncated: its image is incomplete.", reason="truncated")
                    yield at, at + length

    def write_entries(self, page: TiffPage, entries: list[TiffEntry], next_offset: int) -> None:
        """Overwrite the entries of a page; they never take more space than before."""
        form = f"{self.order}{'Q' if self.big else 'H'}"
        body = struct.pack(form, len(entries)) + b"".join(entry.raw for entry in entries)
        body += struct.pack(f"{self.order}{self.word}", next_offset)
        old = struct.calcsize(form) + len(page.entries) * self.size + (8 if self.big else 4)
        self.data[page.at : page.at + old] = body.ljust(old, b"\x00")
        page.entries, page.next_offset = entries, next_offset

    def write_shorter_value(self, entry: TiffEntry, value: bytes) -> TiffEntry:
        """Overwrite a value with one that is not longer."""
        inline = 8 if self.big else 4
        if entry.length <= inline:
            return entry
        self.data[entry.at : entry.at + entry.length] = value.ljust(entry.length, b"\x00")
        raw = bytearray(entry.raw)
        struct.pack_into(f"{self.order}{self.word}", raw, 4, len(value))
        if len(value) <= inline:
            raw[self.size - inline :] = value.ljust(inline, b"\x00")
        return TiffEntry(entry.tag, entry.kind, len(value), entry.at, len(value), bytes(raw))
