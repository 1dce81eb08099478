# SPDX-License-Identifier: Apache-2.0
"""Photographs as they arrive (JPEG, PNG, TIFF, BMP, WebP), read into pixels that are the right way up.

The content decides what a file is, never its name. Sizes are checked on the header, before pixels are decoded.
"""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.photographs.jpeg_reader import read_jpeg
from medhub.science.imaging.photographs.photograph import Photograph
from medhub.science.imaging.photographs.raster_reader import needed_png, read_raster
from medhub.science.imaging.photographs.refusal_messages import animated

# Pillow only warns of large images, and at a size of its own; here every size is checked against Limits before pixels
# are decoded.
Image.MAX_IMAGE_PIXELS = None

_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
)
_OTHERS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"%PDF-", "PDF"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"\x1f\x8b", "gzip"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyp", "video"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"8BPS", "Photoshop"),
)
TAKEN = "JPEG, PNG, TIFF, BMP, WebP and DICOM"


def identify(data: bytes) -> str | None:
    """Tell by the first bytes which kind of photograph this is, or ``None`` if it is none that is taken."""
    for start, kind in _KINDS:
        if data.startswith(start):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    return None


def refuse_unknown(data: bytes) -> Unacceptable:
    """Say what a file seems to be that is none of the kinds that are taken.

    Parameters
    ----------
    data
        The received bytes; not empty.

    Returns
    -------
    Unacceptable
        The refusal, to be raised.
    """
    for offset, start, kind in _OTHERS:
        if data[offset : offset + len(start)] == start:
            if kind == "GIF":
                return _refuse_gif(data)
            return Unacceptable(
                f"This is a {kind} file. {TAKEN} are taken: save it as one of them.", reason="unsupported"
            )
    return Unacceptable(
        f"This is not an image that can be read, whatever its name says. {TAKEN} are taken.", reason="not-an-image"
    )


def _refuse_gif(data: bytes) -> Unacceptable:
    try:
        with Image.open(BytesIO(data), formats=("GIF",)) as image:
            moving = bool(getattr(image, "is_animated", False))
    except Exception:
        moving = False
    if moving:
        return animated("GIF")
    return Unacceptable(
        f"This is a GIF file, which has at most 256 colors. {TAKEN} are taken: save the original as one of them.",
        reason="unsupported",
    )


def read_photograph(data: bytes, limits: DecodingLimits) -> Photograph:
    """Read a photograph.

    Parameters
    ----------
    data
        The received bytes.
    limits
        What is taken.

    Returns
    -------
    Photograph
        A baseline JPEG that is the right way up keeps its stream; everything else is decoded.

    Raises
    ------
    Unacceptable
        When the bytes are no photograph of a kind that is taken, are cut off or damaged, or exceed the limits.
    """
    kind = identify(data)
    if kind is None:
        raise refuse_unknown(data)
    if kind == "JPEG":
        return read_jpeg(data, limits)
    if kind == "PNG":
        data = needed_png(data)
    return read_raster(data, kind, limits)
