# SPDX-License-Identifier: Apache-2.0
"""The photograph formats that the hub reads, and the refusal of files of other formats.

The content of a file decides its format, never its name.
"""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.photographs.avif_format import AVIF
from medhub.science.imaging.photographs.bmp_format import BMP
from medhub.science.imaging.photographs.heic_format import HEIC
from medhub.science.imaging.photographs.jpeg_format import JPEG
from medhub.science.imaging.photographs.photograph import Photograph
from medhub.science.imaging.photographs.photograph_format import PhotographFormat
from medhub.science.imaging.photographs.png_format import PNG
from medhub.science.imaging.photographs.refusal_messages import animated
from medhub.science.imaging.photographs.tiff_format import TIFF
from medhub.science.imaging.photographs.webp_format import WEBP

# Pillow only warns of large images, and at a size of its own; here every size is checked against DecodingLimits before
# pixels are decoded.
Image.MAX_IMAGE_PIXELS = None

FORMATS: tuple[PhotographFormat, ...] = (
    JPEG,
    PNG,
    TIFF,
    BMP,
    WEBP,
    HEIC,
    AVIF,
)
"""Every photograph format, in the order in which messages name them."""

PHOTOGRAPH_EXTENSIONS = frozenset(extension for entry in FORMATS for extension in entry.extensions)
"""Endings of the names of photographs, in lower case."""

ACCEPTED_FORMATS = f"{', '.join(entry.name for entry in FORMATS)} and DICOM"
"""The accepted formats for messages."""

_OTHER_FORMATS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF-", "PDF"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"\x1f\x8b", "gzip"),
    (4, b"ftyp", "video"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"8BPS", "Photoshop"),
)


def identify_format(data: bytes) -> PhotographFormat | None:
    """Return the photograph format of a file by its first bytes, or ``None`` if it is not a known photograph."""
    return next((entry for entry in FORMATS if entry.matches(data)), None)


def refuse_unknown(data: bytes) -> Unacceptable:
    """Build the refusal of a file that is in none of the accepted formats.

    Parameters
    ----------
    data
        The received bytes; not empty.

    Returns
    -------
    Unacceptable
        The refusal, to be raised; it names the format of the file where that is known.
    """
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _refuse_gif(data)
    for offset, signature, name in _OTHER_FORMATS:
        if data[offset : offset + len(signature)] == signature:
            return Unacceptable(
                f"This is a {name} file. {ACCEPTED_FORMATS} are accepted: save it as one of them.",
                reason="unsupported",
            )
    return Unacceptable(
        f"This is not an image that can be read, whatever its name is. {ACCEPTED_FORMATS} are accepted.",
        reason="not-an-image",
    )


def _refuse_gif(data: bytes) -> Unacceptable:
    try:
        with Image.open(BytesIO(data), formats=("GIF",)) as image:
            is_animated = bool(getattr(image, "is_animated", False))
    except Exception:
        is_animated = False
    if is_animated:
        return animated("GIF")
    return Unacceptable(
        f"This is a GIF file, which has at most 256 colors. {ACCEPTED_FORMATS} are accepted: save the original as one "
        "of them.",
        reason="unsupported",
    )


def read_photograph(data: bytes, limits: DecodingLimits) -> Photograph:
    """Read a photograph.

    Parameters
    ----------
    data
        The received bytes.
    limits
        The largest accepted file.

    Returns
    -------
    Photograph
        A baseline JPEG that is the right way up keeps its stream; everything else is decoded.

    Raises
    ------
    Unacceptable
        When the file is in none of the accepted formats, is cut off or damaged, or exceeds the limits.
    """
    photograph_format = identify_format(data)
    if photograph_format is None:
        raise refuse_unknown(data)
    return photograph_format.read(data, limits)
