# SPDX-License-Identifier: Apache-2.0
"""One frame of a DICOM file as the picture that it means: decoded, windowed, in red, green and blue."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import as_pixel_options
from pydicom.uid import (
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    VLMicroscopicImageStorage,
    VLPhotographicImageStorage,
)

from medhub.errors import Invalid
from medhub.science import pixel_decoders
from medhub.science.imaging.codecs.codestreams import JPEG2000_SYNTAXES
from medhub.science.imaging.codecs.jpeg import JpegFault, clean_jpeg
from medhub.science.imaging.codecs.jpeg2000 import clean_jpeg2000
from medhub.science.imaging.codecs.unused_bits import clear_native
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.object_checks import NATIVE_SYNTAXES, number_of_frames
from medhub.science.imaging.dicom.object_kinds import PIXEL_KEYWORDS, SEGMENTATION_CLASSES, PixelKeyword
from medhub.science.imaging.dicom.received_file import quiet
from medhub.science.imaging.rendering.colors import ybr_to_rgb
from medhub.science.imaging.rendering.grayscale import FrameValues, grey_levels, palette_colors
from medhub.science.imaging.rendering.segmentation import segmented_picture

pixel_decoders.register()

_PHOTOGRAPHS = (VLPhotographicImageStorage, VLMicroscopicImageStorage)
_PIXEL_TAGS = dict(zip(((0x7FE0, 0x0010), (0x7FE0, 0x0008), (0x7FE0, 0x0009)), PIXEL_KEYWORDS, strict=True))
_PLUGINS = {JPEGLSLossless: "pyjpegls", JPEGLSNearLossless: "pyjpegls"}


class NoPixels(Unacceptable):
    """The object has no pixels: it is a document, a report, a plan or measurements."""

    code: ClassVar[str] = "no-picture"

    def __init__(self) -> None:
        """Say so."""
        super().__init__("This object has no pixels that could be shown.", reason="unsupported")


class _Opened(NamedTuple):
    """A DICOM file read up to its pixels; ``stream`` stands at the first byte of their value."""

    dataset: Dataset
    syntax: UID
    stream: BytesIO
    keyword: PixelKeyword = "PixelData"


def read_frame(dicom: bytes, frame: int = 0, *, window: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """Read one frame of a stored file as a picture; the other frames are not decoded.

    Grey values go through the modality transform, the window (or the table of values of interest) and the
    presentation shape in that order (PS3.4, N.2); without any window, pixels of up to eight bits are shown as they
    are, and others from the smallest to the largest value of the frame. Colors are converted to RGB (PS3.3,
    C.7.6.3.1.2). Of more than eight bits the upper eight are shown.

    Parameters
    ----------
    dicom
        A file that ``prepare_arrival`` made.
    frame
        Number of the frame, from 0.
    window
        Center and width in modality units, instead of the window of the file; without effect on colors.

    Returns
    -------
    ndarray of uint8
        Array of shape (rows, columns, 3), RGB.

    Raises
    ------
    Invalid
        When the file has no such frame.
    Unacceptable
        When the frame cannot be decoded.
    """
    with quiet():
        try:
            opened = _open(dicom)
            frames = number_of_frames(opened.dataset)
            if not 0 <= frame < frames:
                raise Invalid(f"The image has {frames} frames; there is no frame {frame}.", field="frame")
            return _picture(opened, frame, window)
        except Invalid:  # and with it Unacceptable
            raise
        except MemoryError as error:
            raise Unacceptable(
                "Decoding this image takes more memory than an image is given.", reason="too-many-pixels"
            ) from error
        # A decoder of hostile bytes may raise anything; all mean the same.
        except Exception as error:
            raise Unacceptable(
                "The pixels of this file are damaged and cannot be decoded. Copy or export it again from its source.",
                reason="damaged",
            ) from error


def read_picture_and_values(dicom: bytes, frame: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """Read one frame as a picture, and the stored values of which it shows a window only.

    Parameters
    ----------
    dicom
        A file that ``write_file`` made.
    frame
        Number of the frame, from 0.

    Returns
    -------
    ndarray of uint8, ndarray of float32 or None
        As ``read_frame`` returns it; and of shape (rows, columns) the values of a gray image of more than eight bits.
    """
    with quiet():
        try:
            opened = _open(dicom)
            stored, photometric = _decode(opened, frame)
            picture = _picture_of(opened.dataset, stored, photometric, frame)
        except (Invalid, MemoryError):
            raise
        except Exception as error:
            raise Unacceptable(
                f"Frame {frame + 1} of this image is damaged and cannot be decoded.", reason="damaged"
            ) from error
    if stored.ndim == 3 or stored.dtype == np.uint8 or photometric == "PALETTE COLOR":
        return picture, None
    with np.errstate(over="ignore"):
        return picture, np.nan_to_num(stored.astype(np.float32))


def jpeg_frame(dicom: bytes) -> bytes | None:
    """Find the JPEG stream of a photograph that was kept as it came.

    Parameters
    ----------
    dicom
        A file that ``prepare_arrival`` made.

    Returns
    -------
    bytes or None
        The stream, if the picture is what any JPEG decoder makes of it; ``None`` for every other file.
    """
    with quiet():
        dataset, syntax, stream, _ = _open(dicom)
        if (
            syntax != JPEGBaseline8Bit
            or dataset.get("SOPClassUID") not in _PHOTOGRAPHS
            or number_of_frames(dataset) != 1
            or "WindowCenter" in dataset
            or "RescaleSlope" in dataset
        ):
            return None
        data = _encapsulated_frame(stream, dataset, 0)
    header = clean_jpeg(data, metadata=False)
    meant = "MONOCHROME2" if header.components == 1 else "RGB" if header.rgb else "YBR_FULL_422"
    return data[: data.rfind(b"\xff\xd9") + 2] if dataset.get("PhotometricInterpretation") == meant else None


def stored_samples(dicom: bytes) -> tuple[NDArray[np.uint16], int] | None:
    """Read the samples of a photograph of more than eight bits, as they are stored.

    Parameters
    ----------
    dicom
        A file that ``prepare_arrival`` made.

    Returns
    -------
    (ndarray of uint16, int) or None
        Array of shape (rows, columns) or (rows, columns, 3), and the bits that are used; ``None`` for eight bits and
        fewer.
    """
    with quiet():
        opened = _open(dicom)
        if int(opened.dataset.BitsStored) <= 8 or int(opened.dataset.get("PixelRepresentation", 0)) == 1:
            return None
        return _decode(opened, 0)[0].astype(np.uint16), int(opened.dataset.BitsStored)


def read_samples(dicom: bytes, frame: int = 0) -> tuple[NDArray[Any], str]:
    """Decode one frame to its stored values, colors as ``decoded_photometric`` says.

    Parameters
    ----------
    dicom
        A file that ``write_file`` made.
    frame
        Number of the frame, from 0.

    Returns
    -------
    ndarray, str
        H x W, or H x W x 3 where there are three samples; and the photometric interpretation of these values.

    Raises
    ------
    Unacceptable
        When the frame cannot be decoded.
    """
    array, photometric, _ = _decode_file(dicom, frame)
    return array, photometric


def _decode_file(dicom: bytes, frame: int) -> tuple[NDArray[Any], str, int]:
    """Decode one frame: its values, what they mean, and how many bits are stored (0 for floating-point numbers)."""
    with quiet():
        try:
            opened = _open(dicom)
            return *_decode(opened, frame), int(opened.dataset.get("BitsStored", 0) or 0)
        except MemoryError:
            raise
        except Exception as error:
            raise Unacceptable(
                f"Frame {frame + 1} of this image is damaged and cannot be decoded.", reason="damaged"
            ) from error


def decoded_photometric(dataset: Dataset, syntax: UID) -> str:
    """What the values of a decoded frame mean (PS3.5, 8.2): some decoders return RGB whatever is stored.

    Parameters
    ----------
    dataset
        The dataset of the file.
    syntax
        Its transfer syntax.

    Returns
    -------
    str
        A photometric interpretation.
    """
    stored = str(dataset.get("PhotometricInterpretation", "")).strip().upper()
    if not stored.startswith("YBR") or syntax in NATIVE_SYNTAXES:
        return stored
    if syntax in (JPEGBaseline8Bit, JPEGExtended12Bit) or stored in ("YBR_RCT", "YBR_ICT"):
        return "RGB"
    # Decoded components all have the size of the frame.
    return stored.removesuffix("_422")


def read_stored(dicom: bytes, frame: int = 0) -> tuple[NDArray[Any], str]:
    """Decode one frame to its stored values.

    Parameters
    ----------
    dicom
        A file that ``write_file`` made.
    frame
        Number of the frame, from 0.

    Returns
    -------
    ndarray, str
        H x W, or H x W x 3 where there are three samples; and the photometric interpretation of these values, "RGB"
        for colors however they are stored.

    Raises
    ------
    Unacceptable
        When the frame cannot be decoded.
    """
    array, photometric, bits = _decode_file(dicom, frame)
    if photometric.startswith("YBR"):
        array, photometric = ybr_to_rgb(array, photometric, bits), "RGB"
    return array, photometric


def _open(dicom: bytes) -> _Opened:
    stream = BytesIO(dicom)
    dataset = dcmread(stream, stop_before_pixels=True)
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    # Now comes the pixel data element: tag, value representation and two bytes of zero, length (PS3.5, 7.1.2).
    head = stream.read(12)
    keyword = _PIXEL_TAGS.get(struct.unpack_from("<HH", head)) if len(head) == 12 else None
    if keyword is None or not head[4:6].isalpha():
        raise NoPixels
    return _Opened(dataset, syntax, stream, keyword)


def _encapsulated_frame(stream: BytesIO, dataset: Dataset, frame: int) -> bytes:
    return get_frame(stream, frame, number_of_frames=number_of_frames(dataset))


def _picture(opened: _Opened, frame: int, window: tuple[float, float] | None) -> NDArray[np.uint8]:
    return _picture_of(opened.dataset, *_decode(opened, frame), frame, window)


def _picture_of(
    dataset: Dataset, pixels: NDArray[Any], photometric: str, frame: int, window: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """Turn the decoded values of a frame into a picture."""
    values = FrameValues.of(dataset, frame)
    if pixels.dtype.kind == "f":
        return np.repeat(grey_levels(pixels, values, window)[..., None], 3, axis=2)
    if int(dataset.SamplesPerPixel) == 3:
        bits = int(dataset.BitsStored)
        if photometric.startswith("YBR"):
            pixels = ybr_to_rgb(pixels, photometric, bits)
        if bits > 8:
            pixels = pixels >> (bits - 8)
        elif bits < 8:
            pixels = pixels.astype(np.uint16) * 255 // (2**bits - 1)
        return np.ascontiguousarray(pixels.astype(np.uint8, copy=False))
    if str(dataset.get("SOPClassUID", "")) in SEGMENTATION_CLASSES and "SegmentSequence" in dataset:
        return segmented_picture(pixels, dataset, frame)
    if photometric == "PALETTE COLOR":
        return palette_colors(pixels, values)
    return np.repeat(grey_levels(pixels, values, window)[..., None], 3, axis=2)


def _floats(opened: _Opened, frame: int) -> NDArray[Any]:
    """Read one frame of floating-point values, which are never compressed (PS3.5, 8.2)."""
    dataset = opened.dataset
    rows, columns, size = int(dataset.Rows), int(dataset.Columns), int(dataset.BitsAllocated) // 8
    length = rows * columns * size
    opened.stream.seek(frame * length, 1)
    return np.frombuffer(opened.stream.read(length), f"<f{size}").reshape(rows, columns)


def _decode(opened: _Opened, frame: int) -> tuple[NDArray[Any], str]:
    """Decode one frame; return its values, and what they mean."""
    dataset, syntax, stream, keyword = opened
    stored = str(dataset.PhotometricInterpretation).strip().upper()
    if keyword != "PixelData":
        return _floats(opened, frame), stored
    photometric = decoded_photometric(dataset, syntax)
    if syntax in (JPEGBaseline8Bit, JPEGExtended12Bit) and int(dataset.BitsStored) <= 8:
        return _decode_jpeg(_encapsulated_frame(stream, dataset, frame), dataset), photometric
    options: dict[str, Any] = as_pixel_options(dataset, pixel_keyword="PixelData", pixel_vr="OW")
    options |= {"transfer_syntax_uid": syntax, "correct_unused_bits": False}
    if syntax in NATIVE_SYNTAXES:
        options["pixel_vr"] = "OB" if int(dataset.BitsAllocated) <= 8 else "OW"
        options["view_only"] = True
        if stored.endswith("_422"):
            # The name by which pydicom knows that the colors of two pixels are one (PS3.3, C.7.6.3.1.2).
            options["photometric_interpretation"] = "YBR_FULL_422"
            photometric = stored.removesuffix("_422")
    elif photometric.startswith("YBR") and syntax in JPEG2000_SYNTAXES:
        at = stream.tell()
        codestream = clean_jpeg2000(_encapsulated_frame(stream, dataset, frame))
        stream.seek(at)
        # The decoder undoes the transform of the stream, whatever the dataset says of it.
        photometric = "RGB" if codestream.color_transform else photometric
    try:
        array, _ = get_decoder(syntax).as_array(
            stream,
            index=frame,
            raw=True,
            decoding_plugin=_PLUGINS.get(syntax, ""),
            **options,
        )
    except BaseException as error:
        # A decoder written in Rust panics on bad bytes, and its panic is no Exception.
        if type(error).__name__ == "PanicException":
            raise ValueError("the decoder gave up") from error
        raise
    # Bits above the stored ones are no part of a value; files that were stored earlier may have overlays there.
    array = clear_native(array, int(dataset.BitsStored))
    if syntax == JPEGExtended12Bit and stored.startswith("YBR"):
        array = ybr_to_rgb(array, "YBR_FULL", int(dataset.BitsStored))
    return array, photometric


def _decode_jpeg(data: bytes, dataset: Dataset) -> NDArray[np.uint8]:
    """Decode a JPEG of eight bits; whether its colors are RGB, the stream says better than the dataset, if it does."""
    try:
        header = clean_jpeg(data, metadata=False)
    except JpegFault as fault:
        raise ValueError(str(fault)) from fault
    size = (header.rows, header.columns, header.components)
    if size != (int(dataset.Rows), int(dataset.Columns), int(dataset.SamplesPerPixel)):
        raise ValueError("the stream has another size than the dataset")
    silent = not header.jfif and header.adobe_transform is None and not header.rgb
    with Image.open(BytesIO(data), formats=("JPEG",)) as image:
        if silent and dataset.get("PhotometricInterpretation") == "RGB":
            # Asked for YCbCr, libjpeg leaves the components as they are, and here they are red, green and blue.
            image.draft("YCbCr", image.size)
            return np.asarray(image)
        return np.asarray(image.convert("L" if header.components == 1 else "RGB"))
