# SPDX-License-Identifier: Apache-2.0
"""Photographs in PNG, TIFF, BMP and WebP, decoded into samples of which none is lost."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable, refuse_oversized
from medhub.science.imaging.photographs.deep_color import read_deep
from medhub.science.imaging.photographs.photograph import Photograph, small, turn
from medhub.science.imaging.photographs.refusal_messages import animated, damaged, decoding, truncated


def needed_png(data: bytes) -> bytes:
    """Check that a PNG is whole, unharmed and not animated, and keep only the chunks that its picture needs.

    Texts and profiles may be bombs of their own (PNG specification, third edition, sections 5 and 11).

    Parameters
    ----------
    data
        The received bytes, which begin as a PNG does.

    Returns
    -------
    bytes
        A PNG of the same picture.

    Raises
    ------
    Unacceptable
        When the file is cut off, damaged, or an animation.
    """
    needed = [data[:8]]
    at = 8
    while True:
        if at + 12 > len(data):
            raise truncated("PNG")
        (length,) = struct.unpack_from(">I", data, at)
        name = data[at + 4 : at + 8]
        if at + 12 + length > len(data):
            raise truncated("PNG")
        # Upper case in the first letter marks the chunks that the image needs.
        if name[:1].isupper():
            (check,) = struct.unpack_from(">I", data, at + 8 + length)
            if zlib.crc32(memoryview(data)[at + 4 : at + 8 + length]) != check:
                raise damaged("PNG")
        if name == b"acTL" and length >= 4 and struct.unpack_from(">I", data, at + 8)[0] > 1:
            raise animated("PNG")
        if name[:1].isupper() or name in (b"tRNS", b"eXIf"):
            needed.append(data[at : at + 12 + length])
        if name == b"IEND":
            return b"".join(needed)
        at += 12 + length


def read_raster(data: bytes, kind: str, limits: DecodingLimits) -> Photograph:
    """Read a photograph of samples.

    Parameters
    ----------
    data
        The received bytes; of a PNG what ``needed_png`` leaves of them.
    kind
        "PNG", "TIFF", "BMP" or "WebP".
    limits
        What is taken.

    Returns
    -------
    Photograph
        With its pixels, right way up; transparent parts lie on white.

    Raises
    ------
    Unacceptable
        When the file is cut off, damaged, animated, of several pages, of samples that are not taken, or larger than
        the limits.
    """
    formats = {"WebP": "WEBP"}.get(kind, kind)
    if kind == "WebP" and struct.unpack_from("<I", data, 4)[0] + 8 > len(data) + 1:
        raise truncated("WebP")
    with decoding(kind), Image.open(BytesIO(data), formats=(formats,)) as image:
        refuse_oversized(image.height, image.width, limits)
        if kind == "WebP" and getattr(image, "n_frames", 1) > 1:
            raise animated("WebP")
        if kind == "TIFF":
            _check_pages(image, limits)
        lossy = _lossy(image, data, kind)
        # A TIFF forgets its orientation once it is decoded; a PNG is decoded when it is asked for it.
        orientation = _orientation(image) if kind == "TIFF" else 1
        pixels, bits, exact, notes = _samples(image, data, kind)
        orientation = orientation if kind == "TIFF" else _orientation(image)
    if (pixels.ndim == 2 and not pixels.size) or pixels.ndim not in (2, 3):
        raise damaged(kind)
    # Pillow turns TIFF files by itself while it decodes them.
    if orientation != 1:
        if kind != "TIFF":
            pixels = turn(pixels, orientation)
        notes.append("The picture was turned the right way up, as its file had noted; no pixel value changed.")
    return Photograph(kind, pixels, None, small(pixels, bits), bits, exact, lossy, tuple(notes))


def _check_pages(image: Image.Image, limits: DecodingLimits) -> None:
    """Refuse a TIFF of several pages; reduced copies of the same page (NewSubfileType, tag 254) do not count."""
    pages = 1
    for number in range(1, 1 + limits.max_frames):
        try:
            image.seek(number)
        except EOFError:
            break
        if not image.tag_v2.get(254, 0) & 1:  # type: ignore[attr-defined]
            pages += 1
        if pages > 1:
            raise Unacceptable(
                "This TIFF file has several pages. Save each page that matters as a file of its own.",
                reason="unsupported",
            )
    image.seek(0)


def _lossy(image: Image.Image, data: bytes, kind: str) -> bool:
    """Whether the samples had been compressed with loss: a VP8 chunk in WebP, JPEG or WebP inside TIFF."""
    if kind == "WebP":
        return b"VP8 " in data[:64]
    compression = image.info.get("compression", "")
    return kind == "TIFF" and compression in ("jpeg", "tiff_jpeg", "webp")


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _samples(image: Image.Image, data: bytes, kind: str) -> tuple[NDArray[Any], int, bool, list[str]]:
    """Decode into grey or RGB samples: the array, its bits, whether nothing was lost, and what was changed."""
    notes: list[str] = []
    deep = read_deep(image, data, kind)
    if deep is not None:
        samples, exact = deep
        if not exact:
            notes.append("Transparent parts were laid on white.")
        bits = int(samples.max()).bit_length()
        if bits <= 8:
            return samples.astype(np.uint8), 8, exact, notes
        return samples, bits, exact, notes
    mode = image.mode
    if mode in ("I", "F"):
        raise Unacceptable(
            f"The samples of this {kind} file have 32 bits; at most 16 are taken. Save it with 8 or 16 bits a sample.",
            reason="unsupported",
        )
    if mode in ("RGBA", "RGBa", "LA", "La", "PA") or image.has_transparency_data:
        pixels, opaque = _flatten(image)
        if not opaque:
            notes.append("Transparent parts were laid on white.")
        return pixels, 8, opaque, notes
    if mode in ("1", "L"):
        return np.asarray(image.convert("L")), 8, True, notes
    if mode == "RGB":
        return np.asarray(image), 8, True, notes
    if mode in ("RGBX", "P"):
        return np.asarray(image.convert("RGB")), 8, True, notes
    if mode in ("CMYK", "YCbCr"):
        if mode == "CMYK":
            notes.append("Printing colors (CMYK) were turned into red, green and blue without a color profile.")
        return np.asarray(image.convert("RGB")), 8, False, notes
    raise Unacceptable(
        f"The colors of this {kind} file ({mode}) cannot be read. Save it in red, green and blue.", reason="unsupported"
    )


def _flatten(image: Image.Image) -> tuple[NDArray[np.uint8], bool]:
    """Lay transparent parts on white; what lies hidden under them is not kept."""
    mode = "L" if image.mode in ("LA", "La", "L") else "RGB"
    layered = image.convert("LA" if mode == "L" else "RGBA")
    alpha = layered.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return np.asarray(layered.convert(mode)), True
    ground = Image.new(mode, image.size, "white")
    ground.paste(layered.convert(mode), mask=alpha)
    return np.asarray(ground), False
