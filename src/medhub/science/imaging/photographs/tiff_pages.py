# SPDX-License-Identifier: Apache-2.0
"""Pages of a TIFF file by their tags (TIFF 6.0, and BigTIFF), in both byte orders, without decoding a pixel."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.photographs.refusal_messages import damaged

_SIZES = {1: "B", 2: "s", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 13: "I", 18: "Q"}
_MAX_VALUES = 64
_MAX_TEXT = 65_536
_SIGNIFICANT_BITS = re.compile(rb"SignificantBits=\"(\d{1,2})\"")


@dataclass(frozen=True)
class TiffPageTags:
    """What the tags of one page say of its pixels.

    Attributes
    ----------
    number
        From 0.
    columns, rows, samples, bits
        Size, samples of a pixel, and bits of a sample.
    sample_format
        1 unsigned integers, 2 signed ones, 3 floating-point numbers.
    photometric
        0 white is zero, 1 black is zero, 2 RGB, and others.
    reduced
        Whether the page is a reduced copy of another one.
    orientation
        1 to 8.
    extra_samples
        Whether there are samples beside grey or colors, as for transparency.
    used_bits
        Bits of a sample that are used, where a tag says so; otherwise ``bits``.
    """

    number: int
    columns: int
    rows: int
    samples: int
    bits: int
    sample_format: int
    photometric: int
    reduced: bool
    orientation: int
    extra_samples: bool
    used_bits: int


def read_pages(data: bytes, max_pages: int) -> list[TiffPageTags]:
    """Read the tags of the pages.

    Parameters
    ----------
    data
        The received bytes.
    max_pages
        Pages that are read at most.

    Returns
    -------
    list of TiffPageTags

    Raises
    ------
    Unacceptable
        When the directories are damaged.
    """
    order = "<" if data[:2] == b"II" else ">"
    try:
        big = struct.unpack_from(order + "H", data, 2)[0] == 43
        (offset,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        pages: list[TiffPageTags] = []
        seen: set[int] = set()
        while offset and offset not in seen and len(pages) < max_pages:
            seen.add(offset)
            tags, offset = _read_directory(data, offset, order, big)
            pages.append(_page_of(tags, len(pages)))
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        raise damaged("TIFF") from error
    if not pages:
        raise damaged("TIFF")
    return pages


def _read_directory(data: bytes, offset: int, order: str, big: bool) -> tuple[dict[int, tuple[int, ...] | bytes], int]:
    count_format, entry_size = ("Q", 20) if big else ("H", 12)
    (count,) = struct.unpack_from(order + count_format, data, offset)
    position = offset + struct.calcsize(count_format)
    if count > 4096:
        raise ValueError("a directory has more entries than any")
    tags: dict[int, tuple[int, ...] | bytes] = {}
    for _ in range(count):
        tag, kind = struct.unpack_from(order + "HH", data, position)
        (number,) = struct.unpack_from(order + ("Q" if big else "I"), data, position + 4)
        code = _SIZES.get(kind)
        if code is not None:
            length = number * struct.calcsize("=" + code)
            at = position + (12 if big else 8)
            if length > (8 if big else 4):
                (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, at)
            if code == "s":
                tags[tag] = data[at : at + min(length, _MAX_TEXT)]
            else:
                tags[tag] = struct.unpack_from(f"{order}{min(number, _MAX_VALUES)}{code}", data, at)
        position += entry_size
    (following,) = struct.unpack_from(order + ("Q" if big else "I"), data, position)
    return tags, following


def _page_of(tags: dict[int, tuple[int, ...] | bytes], number: int) -> TiffPageTags:
    def value(tag: int, default: int) -> int:
        numbers = tags.get(tag)
        return int(numbers[0]) if isinstance(numbers, tuple) and numbers else default

    bits = value(258, 1)
    orientation = value(274, 1)
    description = tags.get(270)
    named = _SIGNIFICANT_BITS.search(description) if isinstance(description, bytes) else None
    largest = value(281, 0)  # MaxSampleValue
    used = int(named[1]) if named else largest.bit_length() if largest and (largest + 1).bit_count() == 1 else bits
    return TiffPageTags(
        number,
        columns=value(256, 0),
        rows=value(257, 0),
        samples=value(277, 1),
        bits=bits,
        sample_format=value(339, 1),
        photometric=value(262, 1),
        # Bit 0 of NewSubfileType; 2 in the older SubfileType.
        reduced=bool(value(254, 0) & 1) or value(255, 0) == 2,
        orientation=orientation if 1 <= orientation <= 8 else 1,
        extra_samples=338 in tags,
        used_bits=used if 8 < used < bits else bits,
    )


def refuse_sample_format(page: TiffPageTags) -> None:
    """Refuse samples that are no unsigned integers of at most 16 bits, and say which they are."""
    kind = {2: "signed numbers", 3: "floating-point numbers"}.get(page.sample_format)
    if kind is None and page.bits > 16:
        kind = f"numbers of {page.bits} bits"
    if kind is not None:
        raise Unacceptable(
            f"The samples of this TIFF file are {kind} ({page.bits} bits each); unsigned numbers of at most 16 bits "
            "are accepted. Save it with 8 or 16 bits a sample.",
            reason="unsupported",
        )
