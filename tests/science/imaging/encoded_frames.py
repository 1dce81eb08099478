# SPDX-License-Identifier: Apache-2.0
"""Frames in every compressed transfer syntax that is accepted, as tests make them."""

from __future__ import annotations

import struct
from typing import Any

import imagecodecs
import jpeg_ls  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from openjpeg.utils import encode_array
from pydicom import DataElement
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from tests.science.imaging.datasets import dataset_of, file_of

LOSSLESS_SYNTAXES = (
    RLELossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEG2000Lossless,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    HTJ2K,
)
"""Syntaxes in which a frame can be encoded without loss."""
COMPRESSED = (*LOSSLESS_SYNTAXES, JPEGBaseline8Bit, JPEGExtended12Bit)


def encode_frame(pixels: NDArray[Any], syntax: UID, bits: int, *, color_transform: bool = False) -> bytes:
    """Encode one frame of (rows, columns[, 3]) samples of ``bits`` bits, without loss where the syntax has a way."""
    cells = pixels
    if pixels.dtype.kind == "i":
        # Only JPEG 2000 knows signed samples; in other streams they are two's complement.
        cells = (pixels.astype(np.int64) & (2**bits - 1)).astype(f"u{pixels.dtype.itemsize}")
    color: dict[str, Any] = {"colorspace": "RGB", "outcolorspace": "RGB"} if pixels.ndim == 3 else {}
    if syntax == RLELossless:
        return rle_frame(pixels)
    if syntax in (JPEGLossless, JPEGLosslessSV1):
        predictor = 1 if syntax == JPEGLosslessSV1 else 4
        return bytes(imagecodecs.jpeg8_encode(cells, lossless=True, predictor=predictor, bitspersample=bits, **color))
    if syntax in (JPEGLSLossless, JPEGLSNearLossless):
        return bytes(
            jpeg_ls.encode_pixel_data(
                cells.tobytes(),
                rows=pixels.shape[0],
                columns=pixels.shape[1],
                samples_per_pixel=3 if pixels.ndim == 3 else 1,
                bits_stored=bits,
                planar_configuration=0,
            )
        )
    if syntax in (JPEG2000, JPEG2000Lossless):
        interpretation = int(color_transform)
        return bytes(
            encode_array(
                pixels, bits_stored=bits, photometric_interpretation=interpretation, use_mct=bool(interpretation)
            )
        )
    if syntax in (HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL):
        return bytes(imagecodecs.htj2k_encode(pixels, reversible=True, rgb=color_transform))
    lossy: dict[str, Any] = {**color, "subsampling": "444"} if pixels.ndim == 3 else {}
    return bytes(imagecodecs.jpeg8_encode(cells, 100, bitspersample=8 if bits <= 8 else 12, **lossy))


def rle_frame(pixels: NDArray[Any]) -> bytes:
    """Encode a frame by RLE in literal runs only (PS3.5, Annex G)."""
    size = pixels.dtype.itemsize
    samples = pixels.reshape(*pixels.shape[:2], -1)
    segments = []
    for sample in range(samples.shape[2]):
        cells = np.ascontiguousarray(samples[:, :, sample]).astype(samples.dtype.newbyteorder(">")).view(np.uint8)
        for plane in range(size):
            data = b"".join(
                bytes([len(row[at : at + 128]) - 1]) + row[at : at + 128]
                for row in (line[plane::size].tobytes() for line in cells)
                for at in range(0, len(row), 128)
            )
            segments.append(data + bytes(len(data) % 2))
    offsets = [64 + sum(map(len, segments[:number])) for number in range(len(segments))]
    return struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(offsets))) + b"".join(segments)


def compressed_file(
    frames: NDArray[Any], syntax: UID, stored: int, *, stream_bits: int = 0, color_transform: bool = False, **more: Any
) -> bytes:
    """Make a file of compressed frames (frames, rows, columns[, 3]) with ``stored`` bits a sample."""
    bits = stream_bits or 8 * frames.dtype.itemsize
    dataset = dataset_of(frames, frames=len(frames), BitsStored=stored, HighBit=stored - 1)
    streams = [encode_frame(frame, syntax, bits, color_transform=color_transform) for frame in frames]
    dataset["PixelData"] = DataElement("PixelData", "OB", encapsulate(streams))
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    return file_of(dataset, syntax)
