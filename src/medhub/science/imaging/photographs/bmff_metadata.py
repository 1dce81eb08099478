# SPDX-License-Identifier: Apache-2.0
"""The metadata items of HEIF files (ISO/IEC 14496-12, 8.11), read here and hidden from the decoder.

The binding of libheif crashes on damaged metadata items, and an image needs none of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from medhub.science.imaging.photographs.bmff_boxes import Box, list_boxes

_METADATA_REFERENCE = b"cdsc"
_IGNORED_REFERENCE = b"skip"
_MAX_METADATA_BYTES = 1024**2


class MetadataItem(NamedTuple):
    """One item that is not an image: its type, for example "Exif" or "mime", and its content."""

    type: str
    content: bytes


def hide_metadata(data: bytes, format_name: str) -> bytes:
    """Return the file with its references from metadata to images renamed, so that a decoder ignores them."""
    hidden = bytearray(data)
    for box in _meta_boxes(data, format_name):
        if box.type == b"iref":
            for reference in list_boxes(data, min(box.start + 4, box.end), box.end, format_name):
                if reference.type == _METADATA_REFERENCE:
                    hidden[reference.start - 4 : reference.start] = _IGNORED_REFERENCE
    return bytes(hidden)


def read_metadata_items(data: bytes, format_name: str) -> list[MetadataItem]:
    """Read the items of types "Exif", "mime" (XMP) and "uri "; may raise any error on a damaged file."""
    types: dict[int, str] = {}
    locations: dict[int, tuple[int, int]] = {}
    for box in _meta_boxes(data, format_name):
        if box.type == b"iinf":
            count_bytes = 2 if data[box.start] == 0 else 4
            for entry in list_boxes(data, box.start + 4 + count_bytes, box.end, format_name):
                version = data[entry.start]
                id_format, length = (">H", 2) if version == 2 else (">I", 4)
                (number,) = struct.unpack_from(id_format, data, entry.start + 4)
                type_start = entry.start + 4 + length + 2
                types[number] = data[type_start : type_start + 4].decode("latin-1").strip()
        elif box.type == b"iloc":
            locations |= _read_locations(data, box)
    return [
        MetadataItem(item_type, data[start : start + min(length, _MAX_METADATA_BYTES)])
        for number, item_type in types.items()
        if item_type in ("Exif", "mime", "uri")
        for start, length in [locations.get(number, (0, 0))]
    ]


def _meta_boxes(data: bytes, format_name: str) -> Iterator[Box]:
    for box in list_boxes(data, 0, len(data), format_name):
        if box.type == b"meta":
            yield from list_boxes(data, min(box.start + 4, box.end), box.end, format_name)


def _read_locations(data: bytes, box: Box) -> dict[int, tuple[int, int]]:
    """Read the offset and length of the first extent of each item."""
    version = data[box.start]
    offset_size, length_size = divmod(data[box.start + 4], 16)
    base_size, index_size = divmod(data[box.start + 5], 16)
    position = box.start + 6

    def take(size: int) -> int:
        nonlocal position
        position += size
        return int.from_bytes(data[position - size : position], "big")

    number_size = 4 if version == 2 else 2
    locations: dict[int, tuple[int, int]] = {}
    for _ in range(take(number_size)):
        if position >= box.end:
            break
        number = take(number_size)
        take(2 if version else 0)  # construction method
        take(2)  # data reference
        base = take(base_size)
        for extent in range(take(2)):
            take(index_size if version else 0)
            offset, length = take(offset_size), take(length_size)
            if extent == 0:
                locations[number] = (base + offset, length)
    return locations
