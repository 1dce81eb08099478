# SPDX-License-Identifier: Apache-2.0
"""Photographs of more than eight bits a sample, read and written without losing any of them."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medhub.science.imaging.decoding_limits import Unacceptable

# Of colors with 16 bits Pillow keeps the more significant byte. Decoded with the byte order reversed, it keeps the less
# significant one; both together are the sample.
_OTHER_ORDER = {
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGB;16N": "RGB;16B" if np.little_endian else "RGB;16L",
    "RGBA;16B": "RGBA;16L",
    "RGBA;16L": "RGBA;16B",
    "RGBA;16N": "RGBA;16B" if np.little_endian else "RGBA;16L",
    "RGBX;16B": "RGBX;16L",
    "RGBX;16L": "RGBX;16B",
    "RGBX;16N": "RGBX;16B" if np.little_endian else "RGBX;16L",
}


def read_deep(image: Image.Image, data: bytes, format_name: str) -> tuple[NDArray[np.uint16], bool] | None:
    """Read the samples of an opened image that has more than eight bits a sample.

    Parameters
    ----------
    image
        The image, opened and not yet decoded.
    data
        The bytes that it was opened from.
    format_name
        "PNG" or "TIFF"; no other format that Pillow reads has so many bits.

    Returns
    -------
    (ndarray of uint16, bool) or None
        Array of shape (rows, columns) or (rows, columns, 3), and whether nothing was lost (the image was opaque);
        ``None`` when the image has eight bits a sample or fewer.
    """
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16), True
    rawmode = _read_rawmode(image)
    if rawmode == "LA;16B":
        return _read_deep_grey_alpha(data)
    if rawmode not in _OTHER_ORDER:
        return None
    high = np.asarray(image)
    with Image.open(BytesIO(data), formats=(format_name,)) as reopened:
        _set_rawmode(reopened, _OTHER_ORDER[rawmode])
        low = np.asarray(reopened)
    samples = high.astype(np.uint16) << 8 | low
    if samples.shape[-1] == 3 or rawmode.startswith("RGBX"):
        return np.ascontiguousarray(samples[..., :3]), True
    return lay_on_white(samples[..., :3], samples[..., 3])


def _read_deep_grey_alpha(png: bytes) -> tuple[NDArray[np.uint16], bool]:
    """Read grey and opacity of 16 bits each as four bytes a pixel, which to a decoder is RGBA of eight bits."""
    header = bytearray(png[12:29])
    header[12:14] = b"\x08\x06"
    with Image.open(
        BytesIO(png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]), formats=("PNG",)
    ) as image:
        pairs = np.asarray(image).copy().view(">u2").astype(np.uint16)
    return lay_on_white(pairs[..., 0], pairs[..., 1])


def lay_on_white(color: NDArray[np.uint16], alpha: NDArray[np.uint16]) -> tuple[NDArray[np.uint16], bool]:
    """Lay transparent parts on white, a strip at a time because the sums need four times the memory."""
    if bool((alpha == 65535).all()):
        return np.ascontiguousarray(color), True
    flat = np.empty(color.shape, np.uint16)
    for top in range(0, len(color), 256):
        opacity = alpha[top : top + 256].astype(np.uint64)
        if color.ndim == 3:
            opacity = opacity[..., None]
        flat[top : top + 256] = (color[top : top + 256] * opacity + (65535 - opacity) * 65535 + 32767) // 65535
    return flat, False


def _read_rawmode(image: Image.Image) -> str:
    tiles: list[Any] = getattr(image, "tile", [])
    if not tiles:
        return ""
    arguments = tiles[0].args
    return arguments if isinstance(arguments, str) else str(arguments[0]) if arguments else ""


def _set_rawmode(image: Image.Image, rawmode: str) -> None:
    tiles: list[Any] = image.tile  # type: ignore[attr-defined]
    image.tile = [  # type: ignore[attr-defined]
        tile._replace(args=rawmode if isinstance(tile.args, str) else (rawmode, *tile.args[1:])) for tile in tiles
    ]


def write_deep(samples: NDArray[np.uint16], extension: str, signatures: tuple[bytes, ...]) -> bytes:
    """Write colors of sixteen bits, which Pillow does not write.

    Parameters
    ----------
    samples
        Array of shape (rows, columns, 3), RGB.
    extension
        Ending of the format to be written, with its dot: ".png" or ".tif".
    signatures
        Byte strings with which a file of this format begins; the result is checked for them.

    Returns
    -------
    bytes
        The file, without a color profile.

    Raises
    ------
    Unacceptable
        When opencv is not installed, or writes something else.
    """
    try:
        import cv2
    except ImportError as error:
        raise Unacceptable(
            "Colors of sixteen bits cannot be written anew without opencv.", reason="unsupported"
        ) from error
    done, encoded = cv2.imencode(extension, samples[:, :, ::-1])
    if not done or not encoded.tobytes().startswith(signatures):
        raise Unacceptable("Colors of sixteen bits of this format cannot be written anew.", reason="unsupported")
    return encoded.tobytes()
