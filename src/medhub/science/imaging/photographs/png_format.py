# SPDX-License-Identifier: Apache-2.0
"""PNG photographs (W3C, PNG specification, third edition)."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medhub.science.imaging.decoding_limits import DecodingLimits
from medhub.science.imaging.photographs.deep_color import write_deep
from medhub.science.imaging.photographs.metadata_tags import read_exif_metadata
from medhub.science.imaging.photographs.photograph import Photograph
from medhub.science.imaging.photographs.photograph_format import ContainerParts, PhotographFormat, starts_with
from medhub.science.imaging.photographs.raster_reader import (
    build_photograph,
    decode_samples,
    open_raster,
    read_orientation,
    save_raster,
)
from medhub.science.imaging.photographs.refusal_messages import animated, damaged, truncated

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Chunks that say how the samples are to be shown; they hold numbers alone.
_DISPLAY_CHUNKS = frozenset((b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"cICP", b"pHYs"))
# Standard chunks that are removed by name. Names of other chunks are the writer's own words and are not listed.
_NAMED_CHUNKS = frozenset((b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf", b"bKGD", b"hIST", b"sPLT", b"acTL"))
_MAX_COLOR_PROFILE_BYTES = 4 * 1024**2


def read_png(data: bytes, limits: DecodingLimits) -> Photograph:
    """Read a PNG file; see ``PhotographFormat.read``."""
    received, data = data, keep_picture_chunks(data)
    with open_raster(data, "PNG", limits) as image:
        samples = decode_samples(
            image, data, "PNG", profile=split_png(received).color_profile, bits=_significant_bits(received), scaled=True
        )
        orientation = read_orientation(image)
    return build_photograph("PNG", samples, orientation, lossy=False)


def _significant_bits(data: bytes) -> int | None:
    """Bits that are used of the samples, where the sBIT chunk says so and they are not scaled to all bits."""
    position = data.find(b"sBIT", 8, 65_536)
    if position < 4:
        return None
    (length,) = struct.unpack_from(">I", data, position - 4)
    values = data[position + 4 : position + 4 + length]
    return max(values) if 1 <= length <= 4 and len(values) == length else None


def keep_picture_chunks(data: bytes) -> bytes:
    """Check that a PNG is complete, undamaged and not animated, and drop the chunks that its picture does not need.

    Texts and profiles may be decompression bombs of their own (PNG specification, sections 5 and 11).

    Parameters
    ----------
    data
        The received bytes, which begin with the signature of a PNG.

    Returns
    -------
    bytes
        A PNG of the same picture.

    Raises
    ------
    Unacceptable
        When the file is cut off, damaged, or an animation.
    """
    chunks = [data[:8]]
    position = 8
    while True:
        if position + 12 > len(data):
            raise truncated("PNG")
        (length,) = struct.unpack_from(">I", data, position)
        name = data[position + 4 : position + 8]
        if position + 12 + length > len(data):
            raise truncated("PNG")
        # Upper case in the first letter marks the chunks that the image needs.
        if name[:1].isupper():
            (check,) = struct.unpack_from(">I", data, position + 8 + length)
            if zlib.crc32(memoryview(data)[position + 4 : position + 8 + length]) != check:
                raise damaged("PNG")
        if name == b"acTL" and length >= 4 and struct.unpack_from(">I", data, position + 8)[0] > 1:
            raise animated("PNG")
        if name[:1].isupper() or name in (b"tRNS", b"eXIf"):
            chunks.append(data[position : position + 12 + length])
        if name == b"IEND":
            return b"".join(chunks)
        position += 12 + length


def split_png(data: bytes) -> ContainerParts:
    """Split a PNG into its chunks; lengths and checksums have been checked by ``read_png``."""
    picture_chunks: list[tuple[bytes, bytes]] = []
    removed: list[str] = []
    color_profile = None
    position = 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        name, chunk = data[position + 4 : position + 8], data[position : position + 12 + length]
        position += 12 + length
        if name[:1].isupper() or name in _DISPLAY_CHUNKS:
            picture_chunks.append((name, chunk))
        elif name == b"iCCP":
            color_profile = _inflate_profile(chunk[8:-4])
        elif name != b"eXIf":
            removed.append(f"PNG {name.decode()}" if name in _NAMED_CHUNKS else "PNG private chunk")
        if name == b"IEND":
            break
    if position < len(data):
        removed.append("after the end")

    def without_metadata(profile: bytes | None) -> bytes:
        chunks = [chunk for _, chunk in picture_chunks]
        if profile:
            chunks.insert(1, _build_chunk(b"iCCP", b"profile\x00\x00" + zlib.compress(profile)))
            chunks = [chunk for chunk in chunks if chunk[4:8] not in (b"sRGB", b"cICP")]
        return data[:8] + b"".join(chunks)

    return ContainerParts(without_metadata, tuple(removed), color_profile, keeps_appearance=False)


def _inflate_profile(body: bytes) -> bytes | None:
    name_end = body.find(b"\x00")
    try:
        return zlib.decompressobj().decompress(body[name_end + 2 :], _MAX_COLOR_PROFILE_BYTES)
    except zlib.error:
        return None


def _build_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def write_png(samples: NDArray[Any], color_profile: bytes | None) -> bytes:
    """Write samples without loss; see ``PhotographFormat.write``."""
    if samples.dtype == np.uint16 and samples.ndim == 3:
        return write_deep(samples, ".png", (_SIGNATURE,))
    return save_raster(samples, "PNG", color_profile)


PNG = PhotographFormat(
    name="PNG",
    media_type="image/png",
    extensions=(".png",),
    matches=starts_with(_SIGNATURE),
    read=read_png,
    read_metadata=read_exif_metadata,
    write=write_png,
    split_container=split_png,
)
