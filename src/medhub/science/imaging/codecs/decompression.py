# SPDX-License-Identifier: Apache-2.0
"""Compressed frames that are stored uncompressed: deflated ones, and single bits packed by RLE."""

from __future__ import annotations

import struct
import zlib


def decompress_deflated(frame: bytes, length: int) -> bytes:
    """Unfold a deflated frame, and no more of it than it should have.

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
        When it does not unfold to just these.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        unfolded = inflater.decompress(frame, length + 2)
    except zlib.error as error:
        raise ValueError("it is no deflate stream") from error
    # Pixels of an odd length may be padded before they are deflated.
    if not length <= len(unfolded) <= length + length % 2:
        raise ValueError("it has another size than the file declares")
    return unfolded[:length]


def decompress_rle(frame: bytes, length: int) -> bytes:
    """Unfold a frame of one RLE segment, as single bits have (PS3.5, G.3 and G.5).

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
        When it does not unfold to at least these, or has several segments.
    """
    if len(frame) < 64:
        raise ValueError("it has no header")
    segments, at = struct.unpack_from("<II", frame)
    if segments != 1 or not 64 <= at <= len(frame):
        raise ValueError("it has more segments than single bits need")
    out = bytearray()
    while at < len(frame) and len(out) < length:
        header = frame[at]
        if header < 128:
            piece = frame[at + 1 : at + 2 + header]
            if len(piece) < header + 1:
                raise ValueError("it ends within a run")
            out += piece
            at += 2 + header
        elif header > 128:
            piece = frame[at + 1 : at + 2]
            if not piece:
                raise ValueError("it ends within a run")
            out += piece * (257 - header)
            at += 2
        else:
            at += 1
    if len(out) < length:
        raise ValueError("it has fewer pixels than the file declares")
    return bytes(out[:length])
