# SPDX-License-Identifier: Apache-2.0
"""Blackening of pixels, without loss to any other pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.file_writing import write_file
from medhub.science.imaging.dicom.object_checks import number_of_frames
from medhub.science.imaging.rendering.frames import read_stored
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
        if "PixelData" not in dataset:
            raise Unacceptable(
                "Text in floating-point pixels cannot be blackened; a person must review the image.",
                reason="unsupported",
            )
        if not syntax.is_encapsulated:
            _redact_native(dataset, masks_to_apply)
        elif syntax in _FRAME_ENCODERS and (int(dataset.SamplesPerPixel) == 1 or syntax == RLELossless):
            _redact_encapsulated(dataset, syntax, dicom, masks_to_apply)
        else:
            syntax = _encode_all_frames(dataset, dicom, masks_to_apply)
    return write_file(dataset, syntax)


def _redact_native(dataset: Dataset, masks: Mapping[int, NDArray[np.bool_]]) -> None:
    photometric = str(dataset.PhotometricInterpretation)
    allocated, samples = int(dataset.BitsAllocated), int(dataset.SamplesPerPixel)
    if allocated not in (8, 16, 32) or photometric in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        raise Unacceptable("Writing in pixels of this kind cannot be blackened here.", reason="unsupported")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    kind = f"<{'i' if int(dataset.get('PixelRepresentation', 0)) else 'u'}{allocated // 8}"
    planes = samples == 3 and int(dataset.get("PlanarConfiguration", 0) or 0) == 1
    shape = (3, rows, columns) if planes else (rows, columns, samples)
    value = bytes(dataset.PixelData)
    count = number_of_frames(dataset) * rows * columns * samples
    pixels = np.frombuffer(value, kind, count).reshape(-1, *shape).copy()
    black = (0, 128, 128) if photometric == "YBR_FULL" else (0, 0, 0)
    for number, mask in masks.items():
        frame = pixels[number]
        if samples == 3:
            for sample in range(3):
                (frame[sample] if planes else frame[:, :, sample])[mask] = black[sample]
        else:
            frame[:, :, 0][mask] = _black_value(dataset, frame[:, :, 0], photometric)
    dataset["PixelData"].value = pixels.tobytes() + value[pixels.nbytes :]


def _redact_encapsulated(dataset: Dataset, syntax: UID, dicom: bytes, masks: Mapping[int, NDArray[np.bool_]]) -> None:
    frames = list(generate_frames(dataset.PixelData, number_of_frames=number_of_frames(dataset)))
    encoder = get_encoder(_FRAME_ENCODERS[syntax])
    for number, mask in masks.items():
        pixels, photometric = _blacken_frame(dataset, dicom, number, mask)
        if syntax == RLELossless and photometric != str(dataset.PhotometricInterpretation):
            raise Unacceptable("Writing in pixels of this kind cannot be blackened here.", reason="unsupported")
        samples = 1 if pixels.ndim == 2 else 3
        frames[number] = encoder.encode(
            np.ascontiguousarray(pixels),
            rows=pixels.shape[0],
            columns=pixels.shape[1],
            number_of_frames=1,
            samples_per_pixel=samples,
            bits_allocated=int(dataset.BitsAllocated),
            bits_stored=int(dataset.BitsStored),
            pixel_representation=int(dataset.get("PixelRepresentation", 0)),
            photometric_interpretation=photometric,
            planar_configuration=0,
        )
    _write_frames(dataset, frames)


def _encode_all_frames(dataset: Dataset, dicom: bytes, masks: Mapping[int, NDArray[np.bool_]]) -> UID:
    """Encode every frame again, by JPEG-LS if it supports the pixels; return the new transfer syntax."""
    frames = []
    for number in range(number_of_frames(dataset)):
        if number in masks:
            pixels, photometric = _blacken_frame(dataset, dicom, number, masks[number])
        else:
            pixels, photometric = read_stored(dicom, number)
        frames.append(np.ascontiguousarray(pixels))
    dataset.PhotometricInterpretation = photometric
    if frames[0].ndim == 3:
        dataset.PlanarConfiguration = 0
    if frames[0].dtype == np.uint8 and int(dataset.BitsStored) == 8:
        interleave = 0 if frames[0].ndim == 2 else 2
        _write_frames(dataset, [bytes(jpeg_ls.encode_array(pixels, interleave_mode=interleave)) for pixels in frames])
        return JPEGLSLossless
    data = b"".join(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes() for pixels in frames)
    vr = "OB" if frames[0].dtype.itemsize == 1 else "OW"
    dataset["PixelData"] = DataElement(0x7FE00010, vr, data + b"\x00" * (len(data) % 2))
    return ExplicitVRLittleEndian


def _write_frames(dataset: Dataset, frames: list[bytes]) -> None:
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if keyword in dataset:
            delattr(dataset, keyword)
    element = DataElement(0x7FE00010, "OB", encapsulate(frames))
    element.is_undefined_length = True
    dataset["PixelData"] = element


def _blacken_frame(dataset: Dataset, dicom: bytes, number: int, mask: NDArray[np.bool_]) -> tuple[NDArray[Any], str]:
    stored, photometric = read_stored(dicom, number)
    pixels = stored.copy()
    pixels[mask] = 0 if pixels.ndim == 3 else _black_value(dataset, pixels, photometric)
    return pixels, photometric


def _black_value(dataset: Dataset, pixels: NDArray[Any], photometric: str) -> int:
    """Find the value of the frame that is displayed darkest."""
    if photometric == "PALETTE COLOR":
        values = np.unique(pixels)
        colors = palette_colors(values[:, None], FrameValues.of(dataset, 0)).astype(np.int64)
        return int(values[colors.sum(-1).ravel().argmin()])
    return int(pixels.max() if photometric == "MONOCHROME1" else pixels.min())
