# SPDX-License-Identifier: Apache-2.0
"""JPEG 2000 codestreams as bytes: their size, and the same pixels without comments (ISO/IEC 15444-1, Annex A)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_SOC, _SOT, _SOD, _EOC, _SIZ, _COM = 0xFF4F, 0xFF90, 0xFF93, 0xFFD9, 0xFF51, 0xFF64
_JP2 = b"\x00\x00\x00\x0cjP  "


class Jpeg2000Fault(ValueError):
    """The bytes are no JPEG 2000 codestream."""


@dataclass(frozen=True)
class Codestream:
    """A codestream without comments.

    Attributes
    ----------
    data
        The codestream; a JP2 container around it is gone.
    rows, columns, components
        As its SIZ segment has them.
    bits, signed
        Precision and sign of the samples of the first component (A.5.1).
    color_transform
        Whether three components are transformed, so that a decoder returns red, green and blue (A.6.1).
    reversible
        Whether the wavelet is the 5-3 one, which loses nothing (A.6.1).
    """

    data: bytes
    rows: int
    columns: int
    components: int
    bits: int
    signed: bool
    color_transform: bool
    reversible: bool


def clean_jpeg2000(data: bytes) -> Codestream:
    """Read a codestream and leave out its comment segments and whatever is around it.

    Parameters
    ----------
    data
        A codestream, or a JP2 file that holds one.

    Returns
    -------
    Codestream
        The codestream and its size.

    Raises
    ------
    Jpeg2000Fault
        When the bytes are not built as a codestream.
    """
    try:
        return _clean_codestream(_unwrap_jp2(data) if data.startswith(_JP2) else data)
    except (struct.error, IndexError) as error:
        raise Jpeg2000Fault("it ends too early") from error


def _unwrap_jp2(data: bytes) -> bytes:
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        header = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
            header = 16
        end = len(data) if length == 0 else at + length
        if kind == b"jp2c":
            return data[at + header : end]
        if end <= at:
            break
        at = end
    raise Jpeg2000Fault("its container holds no codestream")


def _clean_codestream(data: bytes) -> Codestream:
    if struct.unpack_from(">HH", data) != (_SOC, _SIZ):
        raise Jpeg2000Fault("it does not begin as a codestream does")
    columns, rows, left, top = struct.unpack_from(">4I", data, 8)
    components, depth = struct.unpack_from(">HB", data, 40)
    out = [data[:2]]
    at = _copy_segments(data, 2, _SOT, out)
    style = next((segment for segment in out if segment[:2] == b"\xff\x52"), b"")
    if len(style) < 14:
        raise Jpeg2000Fault("it does not say how it is coded")
    while True:
        (marker,) = struct.unpack_from(">H", data, at)
        if marker == _EOC:
            break
        if marker != _SOT:
            raise Jpeg2000Fault("it has something else where a tile should begin")
        tile, length = struct.unpack_from(">HI", data, at + 4)
        # A length of zero means up to the end of the codestream (A.4.2).
        end = at + length if length else _position_before_end(data)
        if end > len(data) or end < at + 14:
            raise Jpeg2000Fault("it ends in the middle of a tile")
        part: list[bytes] = []
        body = _copy_segments(data, at + 12, _SOD, part)
        if body > end:
            raise Jpeg2000Fault("the header of a tile is longer than the tile")
        rest = b"".join(part) + data[body:end]
        new_length = 12 + len(rest) if length else 0
        out += [struct.pack(">HHHI", _SOT, 10, tile, new_length), data[at + 10 : at + 12], rest]
        at = end
        if not length or at == len(data):
            # Some writers omit the end marker, and decoders do not need it.
            break
    return Codestream(
        data=b"".join([*out, b"\xff\xd9"]),
        rows=rows - top,
        columns=columns - left,
        components=components,
        bits=(depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        color_transform=style[8] == 1,
        reversible=style[13] == 1,
    )


def _position_before_end(data: bytes) -> int:
    position = data.rfind(b"\xff\xd9")
    return position if position > 0 else len(data)


def _copy_segments(data: bytes, at: int, until: int, out: list[bytes]) -> int:
    """Copy marker segments other than comments up to the marker ``until``, and return the position of that marker."""
    while True:
        (marker,) = struct.unpack_from(">H", data, at)
        if marker == until:
            return at
        if marker < 0xFF00:
            raise Jpeg2000Fault("it has something else where a marker should be")
        (length,) = struct.unpack_from(">H", data, at + 2)
        if length < 2 or at + 2 + length > len(data):
            raise Jpeg2000Fault("it ends in a header")
        if marker != _COM:
            out.append(data[at : at + 2 + length])
        at += 2 + length
