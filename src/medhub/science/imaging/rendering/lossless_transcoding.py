# SPDX-License-Identifier: Apache-2.0
"""Stored files and frames in another lossless transfer syntax, for receivers that request one."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, dcmread, dcmwrite
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    UID,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from medhub.science import pixel_decoders
from medhub.science.imaging.codecs.lossless_encoders import encode_htj2k, encode_jpeg_lossless
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.object_checks import number_of_frames
from medhub.science.imaging.dicom.received_file import quiet
from medhub.science.imaging.rendering import dicomweb_payloads
from medhub.science.imaging.rendering.frame_views import single_frame

pixel_decoders.register()

# Encoders of pydicom by their plugin, and others as functions. A stream of JPEG's selection value 1 is also valid where
# any selection value is.
_PLUGINS = {JPEGLSLossless: "pyjpegls", RLELossless: "pylibjpeg", JPEG2000Lossless: "pylibjpeg"}
_ENCODERS: dict[UID, Callable[[NDArray[Any], int], bytes]] = {
    JPEGLosslessSV1: encode_jpeg_lossless,
    JPEGLossless: encode_jpeg_lossless,
    HTJ2KLossless: encode_htj2k,
}
LOSSLESS_SYNTAXES: tuple[str, ...] = tuple(map(str, (*_PLUGINS, *_ENCODERS)))
"""Transfer syntaxes in which a stored file can be written."""


def transcode_lossless(dicom: bytes, syntax: str) -> bytes:
    """Write a stored file in another transfer syntax, without a change of its pixel values.

    Parameters
    ----------
    dicom
        A stored file with pixels.
    syntax
        One of ``LOSSLESS_SYNTAXES``.

    Returns
    -------
    bytes
        The file, with the same UIDs. Its values are decoded again and compared.

    Raises
    ------
    Unacceptable
        When it has no pixels, they cannot be decoded, or the syntax cannot hold them exactly.
    """
    plain = dicomweb_payloads.explicit(dicom)
    with quiet():
        dataset = dcmread(BytesIO(plain))
        if "PixelData" not in dataset:
            raise _cannot_hold()
        try:
            _interleave_colors(dataset)
            pixels = bytes(dataset.PixelData)
            _compress(dataset, UID(syntax))
            out = BytesIO()
            dcmwrite(out, dataset)
            encoded = out.getvalue()
            decoded = dcmread(BytesIO(dicomweb_payloads.explicit(encoded)))
        except MemoryError:
            raise
        except Exception as error:  # encoders raise what they like
            raise _cannot_hold() from error
        if bytes(decoded.PixelData) != pixels or decoded.PhotometricInterpretation != dataset.PhotometricInterpretation:
            raise _cannot_hold()
    return encoded


def transcode_frame(
    dicom: bytes, number: int, syntax: str, frame: bytes | None = None, vr: str = "", packed: bool = False
) -> bytes:
    """Write one frame as a stream of another transfer syntax, without a change of its values.

    Parameters
    ----------
    dicom
        A stored file; or what comes before its pixels, where ``frame`` is passed.
    number
        Number of the frame, from 0.
    syntax
        One of ``LOSSLESS_SYNTAXES``.
    frame, vr, packed
        The frame as it is stored, the representation of the pixel data, and whether the frame is a stream.

    Returns
    -------
    bytes
        The stream. Its values are decoded again and compared.

    Raises
    ------
    Unacceptable
        When the frame cannot be decoded, or the syntax cannot hold it exactly.
    """
    if frame is not None:
        dicom, number = single_frame(dicom, frame, number, vr=vr, encapsulated=packed), 0
    elif number or number_of_frames(_read_attributes(dicom)) > 1:
        dicom, number = _single_decoded_frame(dicom, number), 0
    with quiet():
        return get_frame(dcmread(BytesIO(transcode_lossless(dicom, syntax))).PixelData, 0, number_of_frames=1)


def _read_attributes(dicom: bytes) -> Dataset:
    with quiet():
        return dcmread(BytesIO(dicom), stop_before_pixels=True)


def _single_decoded_frame(dicom: bytes, number: int) -> bytes:
    """A file of one frame of a file whose frames cannot be separated without decoding."""
    plain = dicomweb_payloads.explicit(dicom)
    values = dicomweb_payloads.values(plain, number, "raw")
    with quiet():
        dataset = dcmread(BytesIO(plain))
        vr = str(dataset["PixelData"].VR)
        del dataset.PixelData
        if int(dataset.SamplesPerPixel) > 1:
            dataset.PlanarConfiguration = 0
        out = BytesIO()
        dcmwrite(out, dataset)
    return single_frame(out.getvalue(), values, number, vr=vr, encapsulated=False)


def _interleave_colors(dataset: Dataset) -> None:
    """Put the colors of each pixel side by side, as streams have them (PS3.3, C.7.6.3.1.3)."""
    samples = int(dataset.SamplesPerPixel)
    if samples == 1 or int(dataset.get("PlanarConfiguration", 0)) == 0:
        return
    shape = (number_of_frames(dataset), samples, int(dataset.Rows) * int(dataset.Columns))
    planes = np.frombuffer(dataset.PixelData, f"<u{int(dataset.BitsAllocated) // 8}", count=int(np.prod(shape)))
    data = planes.reshape(shape).transpose(0, 2, 1).tobytes()
    vr = str(dataset["PixelData"].VR)
    dataset["PixelData"] = DataElement(0x7FE00010, vr, data + bytes(len(data) % 2))
    dataset.PlanarConfiguration = 0


def _compress(dataset: Dataset, syntax: UID) -> None:
    """Encode the pixels of an uncompressed dataset; the photometric interpretation stays true."""
    if syntax in _PLUGINS:
        options: dict[str, Any] = {"use_mct": False} if syntax == JPEG2000Lossless else {}
        dataset.compress(syntax, encoding_plugin=_PLUGINS[syntax], generate_instance_uid=False, **options)
        return
    encode = _ENCODERS[syntax]
    samples, bits = int(dataset.SamplesPerPixel), int(dataset.BitsStored)
    kind = "i" if int(dataset.get("PixelRepresentation", 0)) else "u"
    shape = (number_of_frames(dataset), int(dataset.Rows), int(dataset.Columns), *([samples] if samples > 1 else []))
    values = np.frombuffer(dataset.PixelData, f"<{kind}{int(dataset.BitsAllocated) // 8}", count=int(np.prod(shape)))
    dataset.PixelData = encapsulate([encode(frame, bits) for frame in values.reshape(shape)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax


def _cannot_hold() -> Unacceptable:
    return Unacceptable(
        "The pixels of this file cannot be written in this transfer syntax without a change of their values.",
        reason="unsupported",
    )
