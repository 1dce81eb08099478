# SPDX-License-Identifier: Apache-2.0
"""Where in a stored DICOM file its pixels and each of its frames lie, so that one can be read without the others.

Only lengths are followed, each checked against the file's size; no value is decoded but the few numbers that say how
large a frame is. What leads nowhere gives ``None``: the file is then read as a whole, in a process apart.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

Read = Callable[[int, int], bytes]
"""Gives the bytes of a file at an offset, fewer at its end."""

Spans = list[tuple[int, int]]
"""Offset and length of each piece."""

_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_PIXELS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_NUMBERS = {
    0x00280002: "samples",
    0x00280010: "rows",
    0x00280011: "columns",
    0x00280100: "allocated",
}
_PIECE = 64 * 1024
_DEEPEST = 32
_MOST_ELEMENTS = 2_000_000


@dataclass(frozen=True)
class PixelOffset:
    """Where the pixel data element of a file lies.

    Attributes
    ----------
    head
        Length of what comes before the element: file meta information and all attributes before it.
    start, length
        Where its value begins, and how long it is; of compressed frames the length goes to the end of the file.
    vr
        Its value representation.
    encapsulated
        Whether the value consists of compressed frames.
    rows, columns, samples, allocated
        As the file says; 0 where it does not.
    frames
        At least 1.
    subsampled
        Whether two pixels share their colors, in native pixels.
    offsets, lengths
        The extended offset table, empty where there is none (PS3.3, C.7.6.3.1.8).
    """

    head: int
    start: int
    length: int
    vr: str
    encapsulated: bool
    rows: int
    columns: int
    samples: int
    allocated: int
    frames: int
    subsampled: bool
    offsets: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()


class _Lost(ValueError):
    """A length leads out of the file, or nowhere."""


def locate_pixels(read: Read, size: int) -> PixelOffset | None:
    """Find the pixel data of a stored file in Explicit VR Little Endian.

    Parameters
    ----------
    read
        Gives the file's bytes.
    size
        Length of the file.

    Returns
    -------
    PixelPlace or None
        ``None`` where the file has no pixels, or none that can be found by following lengths.
    """
    try:
        return _Walk(read, size).pixels()
    except (_Lost, struct.error):
        return None


def locate_frame(read: Read, place: PixelOffset, number: int) -> Spans | None:
    """Find the bytes of one frame.

    Parameters
    ----------
    read
        Gives the file's bytes.
    place
        Where its pixels lie.
    number
        Number of the frame, from 0.

    Returns
    -------
    list of (int, int) or None
        Offset and length of the frame, or of each of its fragments; ``None`` where frames cannot be told apart so, as
        where one begins in the middle of a byte.
    """
    if not 0 <= number < place.frames:
        return None
    if not place.encapsulated:
        bits = place.rows * place.columns * place.samples * place.allocated
        bits = bits * 2 // 3 if place.subsampled else bits
        if bits == 0 or bits % 8 or bits // 8 * place.frames > place.length:
            return None
        return [(place.start + number * (bits // 8), bits // 8)]
    try:
        return _fragments(read, place, number)
    except (_Lost, struct.error):
        return None


def _fragments(read: Read, place: PixelOffset, number: int) -> Spans | None:
    end = place.start + place.length
    tag, length = _item(read, place.start, end)
    if tag != _ITEM:
        return None
    first = place.start + 8 + length
    if place.offsets and len(place.offsets) == place.frames == len(place.lengths):
        at = first + place.offsets[number]
        _item(read, at, end)
        if at + 8 + place.lengths[number] > end:
            return None
        return [(at + 8, place.lengths[number])]
    if length >= 4 * place.frames and length % 4 == 0:
        offsets = [
            struct.unpack_from("<I", _exactly(read, place.start + 8 + 4 * one, 4))[0]
            for one in (number, number + 1)
            if one < place.frames
        ]
        after = first + offsets[1] if len(offsets) > 1 else None
        found = _items_from(read, first + offsets[0], end, after)
        return found if found and (after is None or found[-1][0] + found[-1][1] == after) else None
    if place.frames == 1:
        return _items_from(read, first, end, None)
    if place.frames > 1 and length == 0:
        every = _items_from(read, first, end, None)
        return [every[number]] if len(every) == place.frames else None
    return None


def _items_from(read: Read, at: int, end: int, after: int | None) -> Spans:
    found: Spans = []
    while after is None or at < after:
        tag, length = _item(read, at, end)
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM or len(found) > _MOST_ELEMENTS:
            raise _Lost
        found.append((at + 8, length))
        at += 8 + length
    return found


def _item(read: Read, at: int, end: int) -> tuple[int, int]:
    group, element, length = struct.unpack("<HHI", _exactly(read, at, 8))
    if at + 8 + (length if length != _UNDEFINED else 0) > end or length == _UNDEFINED:
        raise _Lost
    return group << 16 | element, length


def _exactly(read: Read, at: int, length: int) -> bytes:
    data = read(at, length)
    if len(data) != length:
        raise _Lost
    return data


class _Walk:
    """Goes from element to element by their lengths (PS3.5, 7.1.2)."""

    def __init__(self, read: Read, size: int) -> None:
        self._read = read
        self._size = size
        self._piece = b""
        self._piece_at = 0
        self._elements = 0

    def _bytes(self, at: int, length: int) -> bytes:
        start = at - self._piece_at
        if start < 0 or start + length > len(self._piece):
            self._piece_at, self._piece = at, self._read(at, max(length, _PIECE))
            start = 0
        found = self._piece[start : start + length]
        if len(found) != length:
            raise _Lost
        return found

    def _head(self, at: int) -> tuple[int, bytes, int, int]:
        """Tag, representation, length and place of the value of an element."""
        self._elements += 1
        if self._elements > _MOST_ELEMENTS:
            raise _Lost
        head = self._bytes(at, 8)
        group, element = struct.unpack_from("<HH", head)
        tag = group << 16 | element
        if group == 0xFFFE:
            return tag, b"", struct.unpack_from("<I", head, 4)[0], at + 8
        vr = head[4:6]
        if not vr.isalpha() or not vr.isupper():
            raise _Lost
        if vr in _LONG:
            return tag, vr, struct.unpack("<I", self._bytes(at + 8, 4))[0], at + 12
        return tag, vr, struct.unpack_from("<H", head, 6)[0], at + 8

    def _skip(self, at: int, vr: bytes, length: int, depth: int) -> int:
        """Where the element after a value begins."""
        if length != _UNDEFINED:
            if at + length > self._size:
                raise _Lost
            return at + length
        if vr != b"SQ" or depth > _DEEPEST:  # a value of unknown representation is written in another encoding
            raise _Lost
        while True:
            tag, _, length, at = self._head(at)
            if tag == _SEQUENCE_END:
                return at
            if tag != _ITEM:
                raise _Lost
            at = at + length if length != _UNDEFINED else self._skip_item(at, depth + 1)

    def _skip_item(self, at: int, depth: int) -> int:
        while True:
            tag, vr, length, at = self._head(at)
            if tag == _ITEM_END:
                return at
            at = self._skip(at, vr, length, depth)

    def pixels(self) -> PixelOffset | None:
        if self._bytes(128, 4) != b"DICM":
            return None
        at, before = 132, 0
        said: dict[str, int] = dict.fromkeys(("samples", "rows", "columns", "allocated"), 0)
        frames, subsampled = 1, False
        tables: dict[int, tuple[int, ...]] = {}
        while at < self._size:
            tag, vr, length, value = self._head(at)
            if tag <= before:
                return None
            if tag in _PIXELS:
                encapsulated = length == _UNDEFINED
                length = self._size - value if encapsulated else length
                if value + length > self._size:
                    return None
                return PixelOffset(
                    head=at,
                    start=value,
                    length=length,
                    vr=vr.decode(),
                    encapsulated=encapsulated,
                    rows=said["rows"],
                    columns=said["columns"],
                    samples=said["samples"],
                    allocated=said["allocated"],
                    frames=frames,
                    subsampled=subsampled,
                    offsets=tables.get(0x7FE00001, ()),
                    lengths=tables.get(0x7FE00002, ()),
                )
            if tag in _NUMBERS and length == 2:
                said[_NUMBERS[tag]] = struct.unpack("<H", self._bytes(value, 2))[0]
            elif tag == 0x00280008 and 0 < length <= 16:
                text = self._bytes(value, length).strip(b" \x00")
                frames = int(text) if text.isdigit() and int(text) > 0 else 1
            elif tag == 0x00280004 and length <= 16:
                subsampled = self._bytes(value, length).strip(b" \x00") == b"YBR_FULL_422"
            elif tag in (0x7FE00001, 0x7FE00002) and length % 8 == 0 and value + length <= self._size:
                tables[tag] = struct.unpack(f"<{length // 8}Q", self._bytes(value, length))
            before, at = tag, self._skip(value, vr, length, 0)
        return None
