# SPDX-License-Identifier: Apache-2.0
"""Pictures of an image for people: as large as a screen needs, and the original that can be handed out."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medhub.science.imaging.content.pdf_pages import document_in, is_pdf, page_picture
from medhub.science.imaging.rendering.frames import NoPixels, jpeg_frame, read_frame, stored_samples
from medhub.science.imaging.rendering.pixel_aspect import read_pixel_aspect, square_size

_FEW_COLORS = 32
Form = Literal["webp", "jpeg", "png"]
MEDIA_TYPES: dict[Form, str] = {"webp": "image/webp", "jpeg": "image/jpeg", "png": "image/png"}


def render(image: NDArray[np.uint8], size: int, form: Form = "webp", *, aspect: float = 1.0) -> bytes:
    """Write a picture at most ``size`` pixels long at its longest side; it is never enlarged.

    Parameters
    ----------
    image
        Array of shape (rows, columns, 3), RGB.
    size
        Longest side in pixels, at least 1.
    form
        "webp" and "jpeg" lose a little, "png" loses nothing.
    aspect
        How many times higher than wide a pixel of the array is; those of the picture are square.

    Returns
    -------
    bytes
        The encoded picture.
    """
    return _write(Image.fromarray(image), size, form, aspect)


def render_covered(dicom: bytes, size: int, frame: int, boxes: Sequence[tuple[int, int, int, int]]) -> bytes:
    """Write a WebP picture of one frame of a DICOM file with some areas black.

    Parameters
    ----------
    dicom
        A file that ``prepare_arrival`` made.
    size
        Longest side in pixels, at least 1; the picture is never enlarged.
    frame
        Number of the frame, from 0.
    boxes
        x0, y0, x1, y1 in stored pixels; parts beyond the frame are ignored.

    Returns
    -------
    bytes
        The encoded picture.

    Raises
    ------
    Unacceptable
        When the frame cannot be decoded.
    """
    picture = read_frame(dicom, frame).copy()
    for x0, y0, x1, y1 in boxes:
        picture[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = 0
    return render(picture, size, aspect=read_pixel_aspect(dicom, frame))


def render_file(
    dicom: bytes,
    size: int,
    form: Form = "webp",
    *,
    frame: int = 0,
    window: tuple[float, float] | None = None,
    square: bool = True,
) -> bytes:
    """Write a picture of one frame of a DICOM file, or of one page of its document.

    A JPEG photograph is decoded no larger than needed.

    Parameters
    ----------
    dicom
        A file that ``prepare_arrival`` made.
    size
        Longest side in pixels, at least 1; the picture is never enlarged.
    form
        "webp", "jpeg" or "png".
    frame
        Number of the frame, from 0.
    window
        Center and width in modality units, instead of the window of the file.
    square
        Whether pixels that are not square are scaled to be; otherwise each stored pixel is a pixel of the picture.

    Returns
    -------
    bytes
        The encoded picture.

    Raises
    ------
    Unacceptable
        When the frame cannot be decoded.
    """
    try:
        aspect = read_pixel_aspect(dicom, frame) if square else 1.0
        stream = jpeg_frame(dicom) if frame == 0 and window is None else None
        if stream is None:
            return render(read_frame(dicom, frame, window=window), size, form, aspect=aspect)
    except NoPixels:
        document, media_type = document_in(dicom)
        if not is_pdf(media_type):
            raise
        return render(page_picture(document, frame, size), size, form)
    with Image.open(BytesIO(stream), formats=("JPEG",)) as image:
        if max(image.size) > size:
            # libjpeg reduces by 2, 4 or 8 while it decodes; it stops above the size, where resizing goes on.
            longest = max(image.size)
            image.draft(image.mode, (-(-image.width * size // longest), -(-image.height * size // longest)))
        return _write(image.convert("RGB"), size, form, aspect)


def original(dicom: bytes) -> tuple[bytes, str]:
    """Hand out a photograph as a file that any program opens.

    Parameters
    ----------
    dicom
        A file that ``prepare_arrival`` made of a photograph.

    Returns
    -------
    (bytes, str)
        The JPEG stream that was received, without its metadata, or else a PNG of the same pixels (in 16 bits where
        they have more than eight); and its media type.
    """
    stream = jpeg_frame(dicom)
    if stream is not None:
        return stream, "image/jpeg"
    deep = stored_samples(dicom)
    if deep is not None:
        return _deep_png(*deep), "image/png"
    out = BytesIO()
    Image.fromarray(read_frame(dicom)).save(out, "PNG", compress_level=3)
    return out.getvalue(), "image/png"


def _deep_png(samples: NDArray[np.uint16], bits: int) -> bytes:
    """Write samples of 16 bits, grey or RGB, which Pillow does only for grey (PNG specification, sections 5 and 11).

    Where fewer of the bits are used, an sBIT chunk says so.
    """
    rows, columns = samples.shape[:2]
    color = 0 if samples.ndim == 2 else 2
    lines = np.zeros((rows, 1 + samples[0].nbytes), np.uint8)
    lines[:, 1:] = samples.astype(">u2").reshape(rows, -1).view(np.uint8)
    significant = ((b"sBIT", bytes([bits] * (1 if samples.ndim == 2 else 3))),) if bits < 16 else ()
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 16, color, 0, 0, 0)),
        *significant,
        (b"IDAT", zlib.compress(lines.tobytes(), 3)),
        (b"IEND", b""),
    )
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _write(picture: Image.Image, size: int, form: Form, aspect: float = 1.0) -> bytes:
    width, height = square_size(picture.size, aspect)
    scale = min(1.0, size / max(width, height))
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    if target != picture.size:
        picture = picture.resize(target, Image.Resampling.BICUBIC, reducing_gap=2.0)
    out = BytesIO()
    if form == "webp":
        # Areas of few colors, as of segments, would bleed into each other; and they take few bytes without any loss.
        exact = picture.getcolors(_FEW_COLORS) is not None
        picture.save(out, "WEBP", quality=85, method=1, lossless=exact)
    elif form == "jpeg":
        picture.save(out, "JPEG", quality=90)
    else:
        picture.save(out, "PNG", compress_level=3)
    return out.getvalue()
