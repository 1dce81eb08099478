# SPDX-License-Identifier: Apache-2.0
"""A photograph that has been read: its pixels, the right way up, and small pictures of it."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from medhub.science.imaging.codecs.jpeg import JpegStream

PREVIEW = 256
"""Longest side of the thumbnail in pixels."""


@dataclass(frozen=True)
class Photograph:
    """A photograph, decoded and right way up, or kept as its JPEG stream.

    Attributes
    ----------
    kind
        What the file is, for example "JPEG".
    pixels
        Array of shape (rows, columns) or (rows, columns, 3), uint8 or uint16; ``None`` if ``stream`` is kept instead.
    stream
        The JPEG stream that is kept; ``None`` if ``pixels`` hold the image.
    preview
        A small picture of the whole, uint8 RGB, at least as large as the thumbnail where the photograph is.
    bits
        Bits of a sample that are used, 8 to 16.
    exact
        Whether every sample of the file is kept exactly.
    lossy
        Whether the file had been compressed with loss before it arrived.
    notes
        What was changed, one sentence each.
    source_profile
        The color profile from which colors were converted to sRGB; ``None`` where they are as in the file.
    """

    kind: str
    pixels: NDArray[Any] | None
    stream: JpegStream | None
    preview: Image.Image
    bits: int
    exact: bool
    lossy: bool
    notes: tuple[str, ...]
    source_profile: bytes | None = None


def turn(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn a picture the right way up.

    Parameters
    ----------
    pixels
        Array of shape (rows, columns[, samples]).
    orientation
        EXIF orientation 1 to 8 (EXIF 2.32, tag 0x0112).

    Returns
    -------
    ndarray
        The turned array; rows and columns change places for 5 to 8.
    """
    if orientation >= 5:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def rgb(photograph: Photograph) -> NDArray[np.uint8]:
    """Show a photograph as it will be shown once it is stored.

    Parameters
    ----------
    photograph
        The photograph.

    Returns
    -------
    ndarray of uint8
        Array of shape (rows, columns, 3), RGB; of more than eight bits the upper eight, of grey the whole range.
    """
    if photograph.stream is not None:
        with Image.open(BytesIO(photograph.stream.data), formats=("JPEG",)) as image:
            return np.asarray(image.convert("RGB"))
    pixels: NDArray[Any] = np.asarray(photograph.pixels)
    if photograph.bits > 8 and pixels.ndim == 2:
        pixels = np.rint(pixels / (2**photograph.bits - 1) * 255)
    elif photograph.bits > 8:
        pixels = pixels >> (photograph.bits - 8)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels.astype(np.uint8))


def small(pixels: NDArray[Any], bits: int = 8) -> Image.Image:
    """Make a picture for the preview, reduced by a whole factor so that it stays at least as large as the thumbnail.

    Parameters
    ----------
    pixels
        Array of shape (rows, columns) or (rows, columns, 3); uint8 or uint16.
    bits
        Bits of a sample that are used.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    factor = max(1, max(pixels.shape[:2]) // (2 * PREVIEW))
    # A strip at a time, because a picture of Pillow is a copy of its pixels.
    height = factor * max(1, 1_000_000 // (factor * pixels.shape[1]))
    strips = []
    for top in range(0, pixels.shape[0], height):
        strip = pixels[top : top + height]
        if strip.dtype != np.uint8:
            strip = (strip >> (bits - 8)).astype(np.uint8)
        strips.append(np.asarray(Image.fromarray(np.ascontiguousarray(strip)).reduce(factor)))
    return Image.fromarray(np.concatenate(strips)).convert("RGB")


def thumbnail(preview: Image.Image) -> bytes:
    """Write the thumbnail: WebP, 256 pixels at its longest side, never enlarged."""
    picture = ImageOps.contain(preview, (PREVIEW, PREVIEW)) if max(preview.size) > PREVIEW else preview
    out = BytesIO()
    picture.save(out, "WEBP", quality=80, method=2)
    return out.getvalue()
