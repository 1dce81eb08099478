# SPDX-License-Identifier: Apache-2.0
"""Blackening of pixels, without loss to any other pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any

import jpeg_ls  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from medhub.science.imaging.dicom.file_writing import write_file
from medhub.science.imaging.dicom.object_checks import number_of_frames
from medhub.science.imaging.dicom.object_kinds import PIXEL_KEYWORDS
from medhub.science.imaging.rendering.frames import read_samples, read_stored
from medhub.science.imaging.rendering.grayscale import FrameValues, palette_colors

# Transfer syntaxes in which single frames can be encoded again, and the lossless encoder for each.
_FRAME_ENCODERS = {
    RLELossless: RLELossless,
    JPEGLSLossless: JPEGLSLossless,
    JPEGLSNearLossless: JPEGLSLossless,
    JPEG2000Lossless: JPEG2000Lossless,
    JPEG2000: JPEG2000Lossless,
}


def redact(dicom: bytes, masks: Mapping[int, NDArray[np.bool_]], mark: Callable[[Dataset], None]) -> bytes:
    """Blacken pixels of a file.

    Frames without a mask keep their bytes if the transfer syntax permits to encode single frames again, and their
    values in any case. Frames of lossy syntaxes (JPEG) are encoded again by JPEG-LS or stored uncompressed.

    Parameters
    ----------
    dicom
        A file written by ``write_file``.
    masks
        H x W by the number of the frame, from 0; true pixels become black.
    mark
        Declares in the dataset that its pixels were cleaned.

    Returns
    -------
    bytes
        The new file.

    Raises
    ------
    Unacceptable
        When pixels of this kind cannot be encoded again.
    """
    dataset = dcmread(BytesIO(dicom))
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    mark(dataset)
    masks_to_apply = {frame: mask for frame, mask in masks.items() if mask.any()}
    if masks_to_apply:
        encodes_frames = syntax in _FRAME_ENCODERS and (int(dataset.SamplesPerPixel) == 1 or syntax == RLELossless)
        if not syntax.is_encapsulated:
            _redact_native(dataset, dicom, masks_to_apply)
        elif not encodes_frames or not _redact_encapsulated(dataset, syntax, dicom, masks_to_apply):
            syntax = _encode_all_frames(dataset, dicom, masks_to_apply)
    return write_file(dataset, syntax)


def _redact_native(dataset: Dataset, dicom: bytes, masks: Mapping[int, NDArray[np.bool_]]) -> None:
    keyword = next(name for name in PIXEL_KEYWORDS if name in dataset)
    photometric = str(dataset.PhotometricInterpretation).strip().upper()
    allocated, samples = int(dataset.BitsAllocated), int(dataset.SamplesPerPixel)
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    value = bytes(dataset[keyword].value)
    if allocated == 1:
        _redact_bits(dataset, masks)
        return
    if photometric.startswith("YBR") and photometric != "YBR_FULL":
        # Two pixels share a color, which would stay beside a black one: the frames are stored as RGB.
        _store_as_rgb(dataset, dicom, masks)
        return
    kind = "f" if keyword != "PixelData" else "i" if int(dataset.get("PixelRepresentation", 0) or 0) else "u"
    planes = samples == 3 and int(dataset.get("PlanarConfiguration", 0) or 0) == 1
    shape = (3, rows, columns) if planes else (rows, columns, samples)
    count = number_of_frames(dataset) * rows * columns * samples
    pixels = np.frombuffer(value, f"<{kind}{allocated // 8}", count).reshape(-1, *shape).copy()
    for number, mask in masks.items():
        frame = np.moveaxis(pixels[number], 0, -1) if planes else pixels[number]
        frame[mask] = _black(dataset, frame, photometric)
    dataset[keyword].value = pixels.tobytes() + value[pixels.nbytes :]


def _redact_bits(dataset: Dataset, masks: Mapping[int, NDArray[np.bool_]]) -> None:
    """Blacken single bits, whose frames follow each other without gaps (PS3.5, 8.1.1)."""
    cells = int(dataset.Rows) * int(dataset.Columns)
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
    black = int(str(dataset.PhotometricInterpretation).strip().upper() == "MONOCHROME1")
    for number, mask in masks.items():
        bits[number * cells : (number + 1) * cells][mask.ravel()] = black
    dataset["PixelData"].value = np.packbits(bits, bitorder="little").tobytes()


def _store_as_rgb(dataset: Dataset, dicom: bytes, masks: Mapping[int, NDArray[np.bool_]]) -> None:
    frames = []
    for number in range(number_of_frames(dataset)):
        pixels = read_stored(dicom, number)[0].copy()
        if number in masks:
            pixels[masks[number]] = 0
        frames.append(pixels)
    _store_native(dataset, frames, "RGB")


def _redact_encapsulated(dataset: Dataset, syntax: UID, dicom: bytes, masks: Mapping[int, NDArray[np.bool_]]) -> bool:
    """Encode the frames with a mask again, and keep the others; tell whether the encoder can do so."""
    frames = list(generate_frames(dataset.PixelData, number_of_frames=number_of_frames(dataset)))
    encoder = get_encoder(_FRAME_ENCODERS[syntax])
    for number, mask in masks.items():
        stored, photometric = read_samples(dicom, number)
        pixels = stored.copy()
        pixels[mask] = _black(dataset, pixels, photometric)
        try:
            frames[number] = encoder.encode(
                np.ascontiguousarray(pixels),
                rows=pixels.shape[0],
                columns=pixels.shape[1],
                number_of_frames=1,
                samples_per_pixel=1 if pixels.ndim == 2 else 3,
                bits_allocated=8 * pixels.dtype.itemsize,
                bits_stored=int(dataset.BitsStored),
                pixel_representation=int(dataset.get("PixelRepresentation", 0) or 0),
                photometric_interpretation=photometric,
                planar_configuration=0,
            )
        except (RuntimeError, ValueError, TypeError, NotImplementedError):
            return False
    _write_frames(dataset, frames)
    return True


def _encode_all_frames(dataset: Dataset, dicom: bytes, masks: Mapping[int, NDArray[np.bool_]]) -> UID:
    """Encode every frame again, by JPEG-LS if it supports the pixels; return the new transfer syntax."""
    frames = []
    for number in range(number_of_frames(dataset)):
        stored, photometric = read_stored(dicom, number)
        pixels = np.ascontiguousarray(stored)
        if number in masks:
            pixels = pixels.copy()
            pixels[masks[number]] = _black(dataset, pixels, photometric)
        frames.append(pixels)
    if frames[0].dtype == np.uint8 and int(dataset.BitsStored) == 8 and int(dataset.BitsAllocated) == 8:
        dataset.PhotometricInterpretation = photometric
        if frames[0].ndim == 3:
            dataset.PlanarConfiguration = 0
        interleave = 0 if frames[0].ndim == 2 else 2
        with suppress(RuntimeError):  # the encoder fails on frames of a few pixels
            _write_frames(
                dataset, [bytes(jpeg_ls.encode_array(pixels, interleave_mode=interleave)) for pixels in frames]
            )
            return JPEGLSLossless
    _store_native(dataset, frames, photometric)
    return ExplicitVRLittleEndian


def _store_native(dataset: Dataset, frames: list[NDArray[Any]], photometric: str) -> None:
    """Store decoded frames uncompressed, in cells as large as the dataset says."""
    allocated = int(dataset.BitsAllocated)
    kind = f"<{frames[0].dtype.kind}{allocated // 8}"
    data = b"".join(pixels.astype(kind).tobytes() for pixels in frames)
    dataset.PhotometricInterpretation = photometric
    if frames[0].ndim == 3:
        dataset.PlanarConfiguration = 0
    _remove_offsets(dataset)
    dataset["PixelData"] = DataElement(0x7FE00010, "OB" if allocated <= 8 else "OW", data + b"\x00" * (len(data) % 2))


def _write_frames(dataset: Dataset, frames: list[bytes]) -> None:
    _remove_offsets(dataset)
    element = DataElement(0x7FE00010, "OB", encapsulate(frames))
    element.is_undefined_length = True
    dataset["PixelData"] = element


def _remove_offsets(dataset: Dataset) -> None:
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if keyword in dataset:
            delattr(dataset, keyword)


def _black(dataset: Dataset, pixels: NDArray[Any], photometric: str) -> NDArray[Any]:
    """What a black pixel of a frame of shape (rows, columns[, samples]) has in its last axis."""
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        half = 2 ** (int(dataset.BitsStored) - 1)
        return np.array([0, half, half] if photometric.startswith("YBR") else [0, 0, 0]).astype(pixels.dtype)
    return np.array(_black_value(dataset, pixels, photometric)).astype(pixels.dtype)


def _black_value(dataset: Dataset, pixels: NDArray[Any], photometric: str) -> float:
    """Find the value of the frame that is displayed darkest."""
    if photometric == "PALETTE COLOR":
        values = np.unique(pixels)
        colors = palette_colors(values[:, None], FrameValues.of(dataset, 0)).astype(np.int64)
        return int(values[colors.sum(-1).ravel().argmin()])
    inside = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
    if not inside.size:
        return 0
    return float(inside.max() if photometric == "MONOCHROME1" else inside.min())
