# SPDX-License-Identifier: Apache-2.0
"""Compressed frames that are stored uncompressed: deflated ones, and single bits packed by RLE."""

from __future__ import annotations

import struct
import zlib


def decompress_deflated(frame: bytes, length: int) -> bytes:
    """Decompress a deflated frame, and no more of it than the declared length.

    Parameters
    ----------
    frame
        The frame: a raw deflate stream (RFC 1951), padded to an even length.
    length
        How many bytes its pixels take.

    Returns
    -------
    bytes
        The pixels, packed as in native pixel data (PS3.5, A.4.13).

    Raises
    ------
    ValueError
        When it does not decompress to exactly this length.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(frame, length + 2)
    except zlib.error as error:
        raise ValueError("it is not a deflate stream") from error
    # Pixels of an odd length may be padded before they are deflated.
    if not length <= len(inflated) <= length + length % 2:
        raise ValueError("it has another size than the file declares")
    return inflated[:length]


def decompress_rle(frame: bytes, length: int) -> bytes:
    """Decompress a frame of one RLE segment, as frames of single bits have (PS3.5, G.3 and G.5).

    Parameters
    ----------
    frame
        The frame, with the header of its segments.
    length
        How many bytes its pixels take.

    Returns
    -------
    bytes
        The pixels, packed as in native pixel data.

    Raises
    ------
    ValueError
        When it decompresses to fewer bytes, or has several segments.
    """
    if len(frame) < 64:
        raise ValueError("it has no header")
    segments, position = struct.unpack_from("<II", frame)
    if segments != 1 or not 64 <= position <= len(frame):
        raise ValueError("it has more segments than single bits need")
    out = bytearray()
    while position < len(frame) and len(out) < length:
        header = frame[position]
        if header < 128:
            run = frame[position + 1 : position + 2 + header]
            if len(run) < header + 1:
                raise ValueError("it ends within a run")
            out += run
            position += 2 + header
        elif header > 128:
            run = frame[position + 1 : position + 2]
            if not run:
                raise ValueError("it ends within a run")
            out += run * (257 - header)
            position += 2
        else:
            position += 1
    if len(out) < length:
        raise ValueError("it has fewer pixels than the file declares")
    return bytes(out[:length])
