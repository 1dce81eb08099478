# SPDX-License-Identifier: Apache-2.0
"""The boxes of HEIF and AVIF files (ISO/IEC 14496-12 and 23008-12), as far as they are checked before decoding."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable, refuse_oversized
from medhub.science.imaging.photographs.refusal_messages import damaged, truncated

_MAX_BOXES = 10_000
_MAX_FTYP_BYTES = 1_024
# Transfer characteristics of high dynamic range (ITU-T H.273, table 3): PQ and HLG.
_HDR_TRANSFERS = (16, 18)
_SEQUENCE_BRANDS = frozenset((b"hevc", b"hevx", b"msf1", b"avis"))


class Box(NamedTuple):
    """One box: its type, and where its content lies in the file."""

    type: bytes
    start: int
    end: int


def read_brands(data: bytes) -> tuple[bytes, ...]:
    """Read the major and the compatible brands; none where the file does not begin with a file type box."""
    if data[4:8] != b"ftyp" or len(data) < 16:
        return ()
    end = min(int.from_bytes(data[:4], "big"), len(data), _MAX_FTYP_BYTES)
    return (data[8:12], *(data[start : start + 4] for start in range(16, end - 3, 4)))


def list_boxes(data: bytes, start: int, end: int, format_name: str) -> Iterator[Box]:
    """List the boxes of a range of a file.

    Raises
    ------
    Unacceptable
        With the reason ``truncated`` when a box is longer than the file, ``damaged`` when it is longer than its range.
    """
    for _ in range(_MAX_BOXES):
        if start == end:
            return
        header = 8
        if start + header > end:
            raise truncated(format_name) if end == len(data) else damaged(format_name)
        size, box_type = struct.unpack_from(">I4s", data, start)
        if size == 1 and start + 16 <= end:
            size, header = struct.unpack_from(">Q", data, start + 8)[0], 16
        elif size == 0:
            size = end - start
        if size < header:
            raise damaged(format_name)
        if start + size > end:
            raise truncated(format_name) if end == len(data) else damaged(format_name)
        yield Box(box_type, start + header, start + size)
        start += size
    raise damaged(format_name)


def check_still_image(data: bytes, format_name: str, limits: DecodingLimits) -> dict[bytes, list[bytes]]:
    """Check a file of one still image before it is decoded, and return the properties of its items.

    Parameters
    ----------
    data
        The received bytes.
    format_name
        As messages name the format.
    limits
        The largest accepted image.

    Returns
    -------
    dict
        Type of the property to the contents of all properties of this type.

    Raises
    ------
    Unacceptable
        When the file is cut off, has no image item, is an image sequence, is larger than the limits, or of high dynamic
        range.
    """
    boxes = list(list_boxes(data, 0, len(data), format_name))
    types = {box.type for box in boxes}
    if b"moov" in types or (boxes and data[8:12] in _SEQUENCE_BRANDS):
        raise refuse_several_images(format_name)
    if not {b"meta", b"mdat"} <= types:
        raise truncated(format_name)
    properties = _read_properties(data, boxes, format_name)
    sizes = [struct.unpack_from(">II", content, 4) for content in properties.get(b"ispe", ()) if len(content) >= 12]
    if not sizes:
        raise damaged(format_name)
    for width, height in sizes:
        refuse_oversized(height, width, limits)
    for content in properties.get(b"colr", ()):
        if content[:4] == b"nclx" and len(content) >= 8 and int.from_bytes(content[6:8], "big") in _HDR_TRANSFERS:
            raise Unacceptable(
                f"This {format_name} file has colors of high dynamic range (PQ or HLG), which cannot be shown "
                "correctly. Save it with standard colors, for example as a PNG or JPEG file.",
                reason="unsupported",
            )
    return properties


def _read_properties(data: bytes, boxes: list[Box], format_name: str) -> dict[bytes, list[bytes]]:
    properties: dict[bytes, list[bytes]] = {}
    for meta in (box for box in boxes if box.type == b"meta"):
        # Four bytes of version and flags come first.
        for container in list_boxes(data, min(meta.start + 4, meta.end), meta.end, format_name):
            if container.type != b"iprp":
                continue
            for ipco in list_boxes(data, container.start, container.end, format_name):
                if ipco.type == b"ipco":
                    for entry in list_boxes(data, ipco.start, ipco.end, format_name):
                        properties.setdefault(entry.type, []).append(data[entry.start : entry.end])
    return properties


def is_turned(properties: dict[bytes, list[bytes]]) -> bool:
    """Whether the properties turn or mirror an image."""
    return bool(properties.get(b"imir")) or any(content[:1] != b"\x00" for content in properties.get(b"irot", ()))


def refuse_several_images(format_name: str) -> Unacceptable:
    """Build the refusal of a burst or an image sequence."""
    return Unacceptable(
        f"This {format_name} file holds several images (a burst or a sequence). Save the one that matters as a "
        "separate file.",
        reason="animated",
    )
