# SPDX-License-Identifier: Apache-2.0
"""Encoders that pydicom lacks: JPEG Lossless by libjpeg-turbo, and HTJ2K by OpenJPH, both in imagecodecs.

Both declare the stored bits of a sample as the precision of the stream, as the dataset does (PS3.5, 8.2).
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from imagecodecs import htj2k_encode, jpeg8_encode
from numpy.typing import NDArray

_SIZ = b"\xff\x51"
_COMPONENT_COUNT, _COMPONENTS = 38, 40  # offsets in the SIZ marker segment (ISO/IEC 15444-1, A.5.1)
_FIRST_ORDER_PREDICTOR = 1


def encode_jpeg_lossless(array: NDArray[Any], bits: int) -> bytes:
    """Encode a frame as JPEG Lossless, first-order prediction (process 14, selection value 1).

    Parameters
    ----------
    array
        H x W, or H x W x 3; eight or sixteen bits. Colors are not converted.
    bits
        Stored bits of a sample. Signed values are encoded as their bit patterns, because JPEG has no sign.

    Returns
    -------
    bytes
        The stream.
    """
    unsigned = array.view(f"u{array.dtype.itemsize}") & np.array((1 << bits) - 1, f"u{array.dtype.itemsize}")
    colors: dict[str, Any] = {"colorspace": "RGB", "outcolorspace": "RGB"} if array.ndim == 3 else {}
    return bytes(jpeg8_encode(unsigned, lossless=True, predictor=_FIRST_ORDER_PREDICTOR, bitspersample=bits, **colors))


def encode_htj2k(array: NDArray[Any], bits: int) -> bytes:
    """Encode a frame as reversible High-Throughput JPEG 2000 without a color transform.

    Parameters
    ----------
    array
        H x W, or H x W x 3; eight or sixteen bits, signed or not.
    bits
        Stored bits of a sample.

    Returns
    -------
    bytes
        The codestream.
    """
    signed, exact = array.dtype.kind == "i", bits == 8 * array.dtype.itemsize
    samples = array
    if not exact and not signed:
        # The encoder knows whole bytes only. A stream of unsigned samples of fewer bits holds the samples less half
        # their range, as a stream of signed samples does without that shift (ISO/IEC 15444-1, G.1).
        samples = (array.astype(np.int32) - (1 << (bits - 1))).astype(np.int16)
    options: dict[str, Any] = {"rgb": False} if array.ndim == 3 else {}
    stream = bytearray(htj2k_encode(np.ascontiguousarray(samples), reversible=True, **options))
    if not exact:
        start = stream.index(_SIZ)
        (count,) = struct.unpack_from(">H", stream, start + _COMPONENT_COUNT)
        for component in range(count):
            stream[start + _COMPONENTS + 3 * component] = bits - 1 | (0x80 if signed else 0)
    return bytes(stream)
