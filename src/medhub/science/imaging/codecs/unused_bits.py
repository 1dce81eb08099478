# SPDX-License-Identifier: Apache-2.0
"""Bits of a sample above its stored bits, where old overlays are (PS3.3, C.9.2): cleared, without loss to a value.

Native samples are cleared in their array. A compressed frame is decoded only if its samples have more bits than are
stored, and is encoded again, without loss and in its transfer syntax, only if one of these bits is set.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import jpeg_ls  # type: ignore[import-untyped]
import numpy as np
from imagecodecs import htj2k_encode, jpeg2k_encode, jpeg8_decode, jpeg8_encode
from numpy.typing import NDArray
from openjpeg.utils import decode
from pydicom.uid import HTJ2K, UID, HTJ2KLossless, HTJ2KLosslessRPCL, RLELossless
from rle.rle import decode_segment, encode_segment  # type: ignore[import-not-found]

from medhub.science.imaging.codecs.codestreams import JPEG2000_SYNTAXES, CleanFrame, FrameFault
from medhub.science.imaging.codecs.jpeg import SOF_JPEG_LS

_HIGH_THROUGHPUT = frozenset((HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL))
_RLE_HEADER = struct.Struct("<16I")


class SampleLayout(NamedTuple):
    """How a dataset says that the samples of a frame are stored.

    Attributes
    ----------
    rows, columns, samples
        Size of a frame.
    allocated, stored
        Bits of a cell, and how many of them hold the value.
    signed
        Whether values are signed: then the bits above them repeat the sign.
    """

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: bool


def clear_native(cells: NDArray[Any], stored: int) -> NDArray[Any]:
    """Clear the bits of integers above the stored ones; of signed integers, they repeat the sign.

    Parameters
    ----------
    cells
        Integers of any shape.
    stored
        Stored bits, at most the bits of an integer.

    Returns
    -------
    ndarray
        The same values; ``cells`` itself where no bit is above.
    """
    shift = 8 * cells.dtype.itemsize - stored
    if shift <= 0 or cells.dtype.kind not in "iu":
        return cells
    return cells << shift >> shift


def clear_frame(frame: CleanFrame, syntax: UID, layout: SampleLayout) -> bytes:
    """Clear the bits above the stored ones in a compressed frame.

    Parameters
    ----------
    frame
        As ``clean_frame`` returns it.
    syntax
        Its transfer syntax.
    layout
        How its samples are stored.

    Returns
    -------
    bytes
        The frame in the same transfer syntax; ``frame.data`` itself where no such bit is set.

    Raises
    ------
    FrameFault
        When the frame cannot be decoded, or is of a lossy kind, in which these bits cannot be cleared exactly.
    """
    if layout.stored >= layout.allocated:
        return frame.data
    if syntax == RLELossless:
        return _clear_rle(frame.data, layout)
    if frame.bits <= layout.stored:
        return frame.data
    try:
        return _clear_stream(frame, syntax, layout)
    except FrameFault:
        raise
    # A decoder may raise anything on hostile bytes, a panic too; all mean the same.
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise FrameFault("it cannot be decoded") from error


def _clear_stream(frame: CleanFrame, syntax: UID, layout: SampleLayout) -> bytes:
    cells, planar = _decoded(frame.data, syntax, layout)
    cleared = _cleared(cells, frame, layout)
    if np.array_equal(cleared, cells):
        return frame.data
    if not frame.reversible:
        raise FrameFault(
            "it is compressed with loss, and its values have more bits than the file declares as stored bits, from "
            "which nobody can tell what is image and what is drawn over it"
        )
    if syntax in _HIGH_THROUGHPUT:
        return bytes(htj2k_encode(cleared, reversible=True, rgb=frame.color_transform))
    if syntax in JPEG2000_SYNTAXES:
        return bytes(
            jpeg2k_encode(
                cleared,
                0,
                codecformat="j2k",
                bitspersample=frame.bits,
                reversible=True,
                mct=frame.color_transform,
                # Small frames have fewer levels.
                resolutions=min(6, min(layout.rows, layout.columns).bit_length()),
            )
        )
    if _is_jpeg_ls(frame.data):
        return bytes(
            jpeg_ls.encode_pixel_data(
                cleared.tobytes(),
                rows=layout.rows,
                columns=layout.columns,
                samples_per_pixel=layout.samples,
                bits_stored=frame.bits,
                planar_configuration=int(planar),
            )
        )
    return bytes(jpeg8_encode(cleared, lossless=True, predictor=1, bitspersample=frame.bits, **_colors(layout)))


def _is_jpeg_ls(stream: bytes) -> bool:
    return bytes((0xFF, SOF_JPEG_LS)) in stream[:4096]


def _colors(layout: SampleLayout) -> dict[str, Any]:
    """Options by which libjpeg leaves components as they are."""
    return {"colorspace": "RGB", "outcolorspace": "RGB"} if layout.samples == 3 else {}


def _decoded(stream: bytes, syntax: UID, layout: SampleLayout) -> tuple[NDArray[Any], bool]:
    """Decode a stream to its samples, and tell whether they are plane by plane."""
    if syntax in JPEG2000_SYNTAXES:
        return decode(stream), False
    if not _is_jpeg_ls(stream):
        return jpeg8_decode(stream, **_colors(layout)), False
    data, info = jpeg_ls.decode_pixel_data(stream)
    planar = layout.samples > 1 and info["interleave_mode"] == 0
    return np.frombuffer(data, "u1" if info["bits_per_sample"] <= 8 else "<u2"), planar


def _cleared(cells: NDArray[Any], frame: CleanFrame, layout: SampleLayout) -> NDArray[Any]:
    """Clear samples of ``frame.bits`` bits; a stream of unsigned samples may hold signed ones as two's complement."""
    width = 8 * cells.dtype.itemsize
    above = width - frame.bits
    kind = np.dtype(f"{'i' if layout.signed else 'u'}{width // 8}")
    values = clear_native(cells.view(kind), layout.stored)
    # Back to as many bits as the stream has, with the sign that it has.
    return (values.view(cells.dtype) << above >> above).astype(cells.dtype, copy=False)


def _clear_rle(frame: bytes, layout: SampleLayout) -> bytes:
    """Clear byte planes of an RLE frame: only planes with such bits are decoded (PS3.5, G.2)."""
    size = layout.allocated // 8
    segments = _rle_segments(frame, size * layout.samples)
    # The highest byte comes first. Where values are signed, the plane with the sign says what the others must be.
    unused_planes = (layout.allocated - layout.stored) // 8
    unused_bits = (layout.allocated - layout.stored) % 8
    count = unused_planes + (1 if unused_bits or layout.signed else 0)
    changed = False
    for sample in range(layout.samples):
        numbers = [sample * size + plane for plane in range(count)]
        planes = [_rle_plane(segments[number], layout) for number in numbers]
        sign = np.zeros(layout.rows * layout.columns, bool)
        if layout.signed:
            sign = (planes[unused_planes] >> (7 - unused_bits)) & 1 > 0
        expected = [np.where(sign, np.uint8(0xFF), np.uint8(0)) for _ in range(unused_planes)]
        if unused_bits:
            mask = np.uint8(0xFF >> unused_bits)
            expected.append((planes[unused_planes] & mask) | np.where(sign, ~mask, np.uint8(0)))
        for number, plane, expected_plane in zip(numbers, planes, expected, strict=False):
            if not np.array_equal(plane, expected_plane):
                changed = True
                segments[number] = _rle_segment(expected_plane, layout.columns)
    if not changed:
        return frame
    offsets, offset = [], _RLE_HEADER.size
    for segment in segments:
        offsets.append(offset)
        offset += len(segment)
    header = _RLE_HEADER.pack(len(segments), *offsets, *[0] * (15 - len(offsets)))
    return header + b"".join(segments)


def _rle_segments(frame: bytes, expected: int) -> list[bytes]:
    if len(frame) < _RLE_HEADER.size:
        raise FrameFault("it has no header", truncated=True)
    count, *offsets = _RLE_HEADER.unpack_from(frame)
    if count != expected:
        raise FrameFault(f"it has {count} segments where {expected} are needed")
    ends = [*offsets[1:count], len(frame)]
    if any(not _RLE_HEADER.size <= start < end <= len(frame) for start, end in zip(offsets, ends, strict=False)):
        raise FrameFault("its segments do not follow each other")
    return [frame[start:end] for start, end in zip(offsets, ends, strict=False)]


def _rle_plane(segment: bytes, layout: SampleLayout) -> NDArray[np.uint8]:
    length = layout.rows * layout.columns
    try:
        plane = np.frombuffer(bytes(decode_segment(segment)), np.uint8)
    except Exception as error:
        raise FrameFault("it cannot be decoded") from error
    if plane.size < length:
        raise FrameFault("it has fewer pixels than the file declares", truncated=True)
    return plane[:length]


def _rle_segment(plane: NDArray[np.uint8], columns: int) -> bytes:
    segment = bytes(encode_segment(plane.tobytes(), columns))
    return segment + bytes(len(segment) % 2)
