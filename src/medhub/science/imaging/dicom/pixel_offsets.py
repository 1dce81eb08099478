# SPDX-License-Identifier: Apache-2.0
"""Positions of the pixels and of single frames in stored files, so that one frame can be read without the others.

Only lengths are followed, each checked against the size of the file; no value is decoded except the few numbers that
give the size of a frame. Where lengths are inconsistent the result is ``None``: the file is then read completely, in an
isolated process.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

Read = Callable[[int, int], bytes]
"""Returns the bytes of a file at an offset and of a length; fewer at its end."""

Spans = list[tuple[int, int]]
"""Offset and length of each part of a frame."""

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
_BUFFER_BYTES = 64 * 1024

HEAD_BYTES = 64 * 1024
"""Enough for the attributes of a stored photograph, which take a few hundred to a few thousand bytes."""

TAIL_BYTES = 16

# Pixel data of undefined length in Explicit VR Little Endian; the first item is the offset table (PS3.5, A.4).
_JPEG_PIXEL_DATA = b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0"
_ITEM_TAG = b"\xfe\xff\x00\xe0"
_SEQUENCE_DELIMITER = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"

_MAX_DEPTH = 32
_MAX_ELEMENTS = 2_000_000


@dataclass(frozen=True)
class PixelOffset:
    """Position of the pixel data element of a file.

    Attributes
    ----------
    head
        Length of what comes before the element: file meta information and all attributes before it.
    start, length
        Offset and length of its value; of compressed frames the length goes to the end of the file.
    vr
        Its value representation.
    encapsulated
        Whether the value consists of compressed frames.
    rows, columns, samples, allocated
        As the file declares them; 0 where it does not.
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


class _InconsistentLength(ValueError):
    """A length leads out of the file, or an element is not where one should be."""


def locate_pixels(read: Read, size: int) -> PixelOffset | None:
    """Find the pixel data of a stored file in Explicit VR Little Endian.

    Parameters
    ----------
    read
        Returns bytes of the file.
    size
        Length of the file.

    Returns
    -------
    PixelOffset or None
        ``None`` where the file has no pixels, or none that can be located by lengths.
    """
    try:
        return _ElementReader(read, size).locate_pixels()
    except (_InconsistentLength, struct.error):
        return None


def locate_frame(read: Read, pixels: PixelOffset, number: int) -> Spans | None:
    """Find the bytes of one frame.

    Parameters
    ----------
    read
        Returns bytes of the file.
    pixels
        The position of its pixels.
    number
        Number of the frame, from 0.

    Returns
    -------
    list of (int, int) or None
        Offset and length of the frame, or of each of its fragments; ``None`` where frames cannot be located so, for
        example where one begins in the middle of a byte.
    """
    if not 0 <= number < pixels.frames:
        return None
    if not pixels.encapsulated:
        bits = pixels.rows * pixels.columns * pixels.samples * pixels.allocated
        bits = bits * 2 // 3 if pixels.subsampled else bits
        if bits == 0 or bits % 8 or bits // 8 * pixels.frames > pixels.length:
            return None
        return [(pixels.start + number * (bits // 8), bits // 8)]
    try:
        return _locate_fragments(read, pixels, number)
    except (_InconsistentLength, struct.error):
        return None


def _locate_fragments(read: Read, pixels: PixelOffset, number: int) -> Spans | None:
    end = pixels.start + pixels.length
    tag, length = _item(read, pixels.start, end)
    if tag != _ITEM:
        return None
    first = pixels.start + 8 + length
    if pixels.offsets and len(pixels.offsets) == pixels.frames == len(pixels.lengths):
        position = first + pixels.offsets[number]
        _item(read, position, end)
        if position + 8 + pixels.lengths[number] > end:
            return None
        return [(position + 8, pixels.lengths[number])]
    if length >= 4 * pixels.frames and length % 4 == 0:
        offsets = [
            struct.unpack_from("<I", _exactly(read, pixels.start + 8 + 4 * entry, 4))[0]
            for entry in (number, number + 1)
            if entry < pixels.frames
        ]
        after = first + offsets[1] if len(offsets) > 1 else None
        items = _items_from(read, first + offsets[0], end, after)
        return items if items and (after is None or items[-1][0] + items[-1][1] == after) else None
    if pixels.frames == 1:
        return _items_from(read, first, end, None)
    if pixels.frames > 1 and length == 0:
        all_items = _items_from(read, first, end, None)
        return [all_items[number]] if len(all_items) == pixels.frames else None
    return None


def _items_from(read: Read, position: int, end: int, after: int | None) -> Spans:
    items: Spans = []
    while after is None or position < after:
        tag, length = _item(read, position, end)
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM or len(items) > _MAX_ELEMENTS:
            raise _InconsistentLength
        items.append((position + 8, length))
        position += 8 + length
    return items


def _item(read: Read, at: int, end: int) -> tuple[int, int]:
    group, element, length = struct.unpack("<HHI", _exactly(read, at, 8))
    if at + 8 + (length if length != _UNDEFINED else 0) > end or length == _UNDEFINED:
        raise _InconsistentLength
    return group << 16 | element, length


def _exactly(read: Read, at: int, length: int) -> bytes:
    data = read(at, length)
    if len(data) != length:
        raise _InconsistentLength
    return data


class _ElementReader:
    """Reads from element to element by their lengths (PS3.5, 7.1.2)."""

    def __init__(self, read: Read, size: int) -> None:
        self._read = read
        self._size = size
        self._buffer = b""
        self._buffer_start = 0
        self._elements = 0

    def _bytes(self, at: int, length: int) -> bytes:
        start = at - self._buffer_start
        if start < 0 or start + length > len(self._buffer):
            self._buffer_start, self._buffer = at, self._read(at, max(length, _BUFFER_BYTES))
            start = 0
        data = self._buffer[start : start + length]
        if len(data) != length:
            raise _InconsistentLength
        return data

    def _head(self, at: int) -> tuple[int, bytes, int, int]:
        """Tag, representation, length and offset of the value of an element."""
        self._elements += 1
        if self._elements > _MAX_ELEMENTS:
            raise _InconsistentLength
        head = self._bytes(at, 8)
        group, element = struct.unpack_from("<HH", head)
        tag = group << 16 | element
        if group == 0xFFFE:
            return tag, b"", struct.unpack_from("<I", head, 4)[0], at + 8
        vr = head[4:6]
        if not vr.isalpha() or not vr.isupper():
            raise _InconsistentLength
        if vr in _LONG:
            return tag, vr, struct.unpack("<I", self._bytes(at + 8, 4))[0], at + 12
        return tag, vr, struct.unpack_from("<H", head, 6)[0], at + 8

    def _skip(self, at: int, vr: bytes, length: int, depth: int) -> int:
        """Offset of the element after a value."""
        if length != _UNDEFINED:
            if at + length > self._size:
                raise _InconsistentLength
            return at + length
        if vr != b"SQ" or depth > _MAX_DEPTH:  # a value of unknown representation is written in another encoding
            raise _InconsistentLength
        while True:
            tag, _, length, at = self._head(at)
            if tag == _SEQUENCE_END:
                return at
            if tag != _ITEM:
                raise _InconsistentLength
            at = at + length if length != _UNDEFINED else self._skip_item(at, depth + 1)

    def _skip_item(self, at: int, depth: int) -> int:
        while True:
            tag, vr, length, at = self._head(at)
            if tag == _ITEM_END:
                return at
            at = self._skip(at, vr, length, depth)

    def locate_pixels(self) -> PixelOffset | None:
        if self._bytes(128, 4) != b"DICM":
            return None
        position, previous_tag = 132, 0
        numbers: dict[str, int] = dict.fromkeys(("samples", "rows", "columns", "allocated"), 0)
        frames, subsampled = 1, False
        tables: dict[int, tuple[int, ...]] = {}
        while position < self._size:
            tag, vr, length, value = self._head(position)
            if tag <= previous_tag:
                return None
            if tag in _PIXELS:
                encapsulated = length == _UNDEFINED
                length = self._size - value if encapsulated else length
                if value + length > self._size:
                    return None
                return PixelOffset(
                    head=position,
                    start=value,
                    length=length,
                    vr=vr.decode(),
                    encapsulated=encapsulated,
                    rows=numbers["rows"],
                    columns=numbers["columns"],
                    samples=numbers["samples"],
                    allocated=numbers["allocated"],
                    frames=frames,
                    subsampled=subsampled,
                    offsets=tables.get(0x7FE00001, ()),
                    lengths=tables.get(0x7FE00002, ()),
                )
            if tag in _NUMBERS and length == 2:
                numbers[_NUMBERS[tag]] = struct.unpack("<H", self._bytes(value, 2))[0]
            elif tag == 0x00280008 and 0 < length <= 16:
                text = self._bytes(value, length).strip(b" \x00")
                frames = int(text) if text.isdigit() and int(text) > 0 else 1
            elif tag == 0x00280004 and length <= 16:
                subsampled = self._bytes(value, length).strip(b" \x00") == b"YBR_FULL_422"
            elif tag in (0x7FE00001, 0x7FE00002) and length % 8 == 0 and value + length <= self._size:
                tables[tag] = struct.unpack(f"<{length // 8}Q", self._bytes(value, length))
            previous_tag, position = tag, self._skip(value, vr, length, 0)
        return None


def locate_jpeg_stream(head: bytes, tail: bytes, size: int) -> tuple[int, int] | None:
    """Locate the one fragment of a JPEG Baseline file of a photograph.

    Nothing is decoded: the lengths in the file must lead exactly to its end, and the bytes that they enclose must begin
    and end as a JPEG stream does.

    Parameters
    ----------
    head
        The first ``HEAD_BYTES`` of the file, or all of a smaller one.
    tail
        Its last ``TAIL_BYTES``.
    size
        Its size in bytes.

    Returns
    -------
    (int, int) or None
        Offset and length of the stream in bytes; ``None`` when it is not there as one fragment.
    """
    position = head.find(_JPEG_PIXEL_DATA)
    if position < 0 or len(head) < position + len(_JPEG_PIXEL_DATA) + 4:
        return None
    offsets = position + len(_JPEG_PIXEL_DATA)
    item = offsets + 4 + struct.unpack_from("<I", head, offsets)[0]
    if head[item : item + 4] != _ITEM_TAG or len(head) < item + 11:
        return None
    start, length = item + 8, struct.unpack_from("<I", head, item + 4)[0]
    if start + length + len(_SEQUENCE_DELIMITER) != size or not tail.endswith(_SEQUENCE_DELIMITER):
        return None
    if head[start : start + 3] != b"\xff\xd8\xff":
        return None
    # A stream of odd length is followed by one byte of zero (PS3.5, A.4).
    stream_end = tail[: -len(_SEQUENCE_DELIMITER)]
    if stream_end.endswith(b"\xff\xd9"):
        return start, length
    return (start, length - 1) if stream_end.endswith(b"\xff\xd9\x00") else None
