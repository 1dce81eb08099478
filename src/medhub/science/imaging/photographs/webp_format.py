# SPDX-License-Identifier: Apache-2.0
"""WebP photographs (RFC 9649)."""

from __future__ import annotations

import struct
from typing import Any

from numpy.typing import NDArray

from medhub.science.imaging.decoding_limits import DecodingLimits
from medhub.science.imaging.photographs.metadata_tags import read_exif_metadata
from medhub.science.imaging.photographs.photograph import Photograph
from medhub.science.imaging.photographs.photograph_format import ContainerParts, PhotographFormat
from medhub.science.imaging.photographs.raster_reader import (
    build_photograph,
    decode_samples,
    open_raster,
    read_orientation,
    save_raster,
)
from medhub.science.imaging.photographs.refusal_messages import animated, truncated

_PICTURE_CHUNKS = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH")
_HAS_ALPHA = 0x10
_HAS_COLOR_PROFILE = 0x20


def is_webp(data: bytes) -> bool:
    """Whether a file begins as a WebP does."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def read_webp(data: bytes, limits: DecodingLimits) -> Photograph:
    """Read a WebP file of one picture; see ``PhotographFormat.read``."""
    if struct.unpack_from("<I", data, 4)[0] + 8 > len(data) + 1:
        raise truncated("WebP")
    with open_raster(data, "WebP", limits, decoder="WEBP") as image:
        if getattr(image, "n_frames", 1) > 1:
            raise animated("WebP")
        samples = decode_samples(image, data, "WebP")
        orientation = read_orientation(image)
    return build_photograph("WebP", samples, orientation, lossy=b"VP8 " in data[:64])


def split_webp(data: bytes) -> ContainerParts:
    """Split a WebP of one picture into its chunks."""
    picture_chunks: list[tuple[bytes, bytes]] = []
    removed = []
    color_profile = None
    end = min(len(data), 8 + struct.unpack_from("<I", data, 4)[0])
    position = 12
    while position + 8 <= end:
        name, (length,) = data[position : position + 4], struct.unpack_from("<I", data, position + 4)
        body = data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
        if name in _PICTURE_CHUNKS:
            picture_chunks.append((name, body))
        elif name == b"ICCP":
            color_profile = body
        elif name != b"EXIF":
            removed.append("WebP XMP" if name == b"XMP " else "WebP private chunk")
    if end < len(data):
        removed.append("after the end")

    def without_metadata(profile: bytes | None) -> bytes:
        chunks = []
        for name, body in picture_chunks:
            if name == b"VP8X":
                # The flags of EXIF, XMP and animation are cleared.
                flags = (body[0] & _HAS_ALPHA) | (_HAS_COLOR_PROFILE if profile else 0)
                chunks.append((name, bytes((flags,)) + bytes(3) + body[4:10]))
                chunks += [(b"ICCP", profile)] if profile else []
            else:
                chunks.append((name, body))
        packed = b"".join(name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2) for name, body in chunks)
        return b"RIFF" + struct.pack("<I", len(packed) + 4) + b"WEBP" + packed

    return ContainerParts(without_metadata, tuple(removed), color_profile, keeps_appearance=False)


def write_webp(samples: NDArray[Any], color_profile: bytes | None) -> bytes:
    """Write samples of eight bits without loss; see ``PhotographFormat.write``."""
    return save_raster(samples, "WEBP", color_profile, lossless=True, quality=50, method=3)


WEBP = PhotographFormat(
    name="WebP",
    media_type="image/webp",
    extensions=(".webp",),
    matches=is_webp,
    read=read_webp,
    read_metadata=read_exif_metadata,
    write=write_webp,
    split_container=split_webp,
)
