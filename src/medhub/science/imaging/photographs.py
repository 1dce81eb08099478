# SPDX-License-Identifier: Apache-2.0
"""Photographs as they arrive (JPEG, PNG, TIFF, BMP, WebP), read into pixels that are the right way up.

The content decides what a file is, never its name. Sizes are checked on the header, before pixels are decoded.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from medhub.science.imaging.deep_color import read_deep
from medhub.science.imaging.jpeg import SOF_BASELINE, SOF_LOSSLESS, JpegFault, JpegStream, clean_jpeg
from medhub.science.imaging.limits import Limits, Unacceptable, refuse_oversized

# Pillow only warns of large images, and at a size of its own; here every size is checked against Limits before pixels
# are decoded.
Image.MAX_IMAGE_PIXELS = None

PREVIEW = 256
"""Longest side of the thumbnail in pixels."""

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
_RECOPY = "It was probably cut off while it was copied; copy it again from where it was made."


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
        Whether the file had been compressed with loss before it arrived; ``None`` where that cannot be known.
    notes
        What was changed, one sentence each.
    """

    kind: str
    pixels: NDArray[Any] | None
    stream: JpegStream | None
    preview: Image.Image
    bits: int
    exact: bool
    lossy: bool | None
    notes: tuple[str, ...]


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
            animated = bool(getattr(image, "is_animated", False))
    except Exception:
        animated = False
    if animated:
        return _refuse_animated("GIF")
    return Unacceptable(
        f"This is a GIF file, which has at most 256 colors. {TAKEN} are taken: save the original as one of them.",
        reason="unsupported",
    )


def _refuse_animated(kind: str) -> Unacceptable:
    return Unacceptable(
        f"This {kind} file is an animation of several pictures. Save the one that matters as a PNG or JPEG file.",
        reason="animated",
    )


def read_photograph(data: bytes, limits: Limits) -> Photograph:
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
        return _read_jpeg(data, limits)
    if kind == "PNG":
        _check_png(data)
    return _read_other(data, kind, limits)


@contextmanager
def _decoding(kind: str) -> Iterator[None]:
    """Turn whatever a decoder raises on bad bytes into a refusal."""
    try:
        yield
    except Unacceptable:
        raise
    except MemoryError as error:
        raise Unacceptable(
            f"Reading this {kind} file takes more memory than a file is given. Save it smaller.",
            reason="too-many-pixels",
        ) from error
    except OSError as error:
        if "truncated" in str(error):
            raise Unacceptable(f"This {kind} file ends before its image does. {_RECOPY}", reason="truncated") from error
        raise _damaged(kind) from error
    # A decoder of hostile bytes may raise anything (struct.error, SyntaxError, IndexError, ...); all mean the same.
    except Exception as error:
        raise _damaged(kind) from error


def _damaged(kind: str) -> Unacceptable:
    return Unacceptable(
        f"This {kind} file is damaged: its image data cannot be decoded. Copy or export it again from its source.",
        reason="damaged",
    )


def _read_jpeg(data: bytes, limits: Limits) -> Photograph:
    try:
        header = clean_jpeg(data, metadata=False)
        refuse_oversized(header.rows, header.columns, limits)
        stream = clean_jpeg(data)
    except JpegFault as fault:
        if fault.truncated:
            raise _truncated_jpeg(data) from fault
        raise Unacceptable(
            f"This JPEG file is damaged: {fault}. Copy or export it again from its source.", reason="damaged"
        ) from fault
    if stream.bits != 8 or (stream.process >= SOF_LOSSLESS and stream.process not in (0xC9, 0xCA)):
        raise Unacceptable(
            "This JPEG file uses a rare process (12 bits or lossless) that cannot be read as a photograph. "
            "Save it as PNG or TIFF.",
            reason="unsupported",
        )
    orientation = stream.orientation
    keep = stream.process == SOF_BASELINE and stream.components in (1, 3) and orientation == 1
    with _decoding("JPEG"), Image.open(BytesIO(stream.data), formats=("JPEG",)) as image:
        if keep:
            # Every coefficient is read, so that damage is found, but only as many pixels are made as the preview needs.
            image.draft(image.mode, (PREVIEW, PREVIEW))
            image.load()
            return Photograph("JPEG", None, stream, image.convert("RGB"), 8, True, True, ())
        notes: list[str] = []
        exact = True
        if image.mode == "CMYK":
            exact = False
            notes.append("Printing colors (CMYK) were turned into red, green and blue without a color profile.")
            pixels = np.asarray(image.convert("RGB"))
        else:
            pixels = np.asarray(image)
    if orientation != 1:
        pixels = turn(pixels, orientation)
        notes.append("The picture was turned the right way up, as its camera had noted; no pixel value changed.")
    if stream.process != SOF_BASELINE:
        notes.append("The JPEG process of the file is not one that DICOM carries; its decoded pixels were kept.")
    return Photograph("JPEG", pixels, None, small(pixels), 8, exact, True, tuple(notes))


def _truncated_jpeg(data: bytes) -> Unacceptable:
    share = _decoded_share(data)
    there = f" About {share:.0%} of its rows are there." if share is not None else ""
    return Unacceptable(f"This JPEG file ends before its image does.{there} {_RECOPY}", reason="truncated")


def _decoded_share(data: bytes) -> float | None:
    """Share of the rows that a decoder gets out of a cut-off JPEG; ``None`` where a row count says nothing."""
    parser = ImageFile.Parser()
    try:
        header = clean_jpeg(data, metadata=False)
        if header.process not in (SOF_BASELINE, 0xC1) or header.rows * header.columns > 25_000_000:
            return None
        parser.feed(data)
        if parser.image is None:
            return 0.0
        rows = np.asarray(parser.image).reshape(header.rows, -1).any(axis=1)
    except Exception:
        return None
    filled = np.flatnonzero(rows)
    return float(filled[-1] + 1) / header.rows if filled.size else 0.0


def _check_png(data: bytes) -> None:
    """Walk the chunks of a PNG (PNG specification, third edition, section 5): whole, unharmed, not animated."""
    at = 8
    while True:
        if at + 12 > len(data):
            raise Unacceptable(f"This PNG file ends before its image does. {_RECOPY}", reason="truncated")
        (length,) = struct.unpack_from(">I", data, at)
        name = data[at + 4 : at + 8]
        if at + 12 + length > len(data):
            raise Unacceptable(f"This PNG file ends before its image does. {_RECOPY}", reason="truncated")
        # Upper case in the first letter marks the chunks that the image needs.
        if name[:1].isupper():
            (check,) = struct.unpack_from(">I", data, at + 8 + length)
            if zlib.crc32(memoryview(data)[at + 4 : at + 8 + length]) != check:
                raise _damaged("PNG")
        if name == b"acTL" and length >= 4 and struct.unpack_from(">I", data, at + 8)[0] > 1:
            raise _refuse_animated("PNG")
        if name == b"IEND":
            return
        at += 12 + length


def _read_other(data: bytes, kind: str, limits: Limits) -> Photograph:
    formats = {"WebP": "WEBP"}.get(kind, kind)
    if kind == "WebP" and struct.unpack_from("<I", data, 4)[0] + 8 > len(data) + 1:
        raise Unacceptable(f"This WebP file ends before its image does. {_RECOPY}", reason="truncated")
    with _decoding(kind), Image.open(BytesIO(data), formats=(formats,)) as image:
        refuse_oversized(image.height, image.width, limits)
        if kind == "WebP" and getattr(image, "n_frames", 1) > 1:
            raise _refuse_animated("WebP")
        if kind == "TIFF":
            _check_pages(image, limits)
        orientation = _orientation(image)
        pixels, bits, exact, notes = _samples(image, data, kind)
    if (pixels.ndim == 2 and not pixels.size) or pixels.ndim not in (2, 3):
        raise _damaged(kind)
    # Pillow turns TIFF files by itself while it decodes them.
    if orientation != 1:
        if kind != "TIFF":
            pixels = turn(pixels, orientation)
        notes.append("The picture was turned the right way up, as its file had noted; no pixel value changed.")
    lossy = {"WebP": b"VP8 " in data[:64], "TIFF": None}.get(kind, False)
    return Photograph(kind, pixels, None, small(pixels, bits), bits, exact, lossy, tuple(notes))


def _check_pages(image: Image.Image, limits: Limits) -> None:
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
    if mode in ("RGB", "RGBX", "P"):
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
    grey = image.mode in ("LA", "La", "L")
    layered = np.asarray(image.convert("RGBA"))
    color, alpha = layered[..., :3], layered[..., 3]
    if grey:
        color = color[..., 0]
    if bool((alpha == 255).all()):
        return np.ascontiguousarray(color), True
    return blend(color, alpha, 255).astype(np.uint8), False


def blend(color: NDArray[Any], alpha: NDArray[Any], white: int) -> NDArray[np.uint32]:
    """Lay samples on white by their opacity, rounded to the nearest value.

    Parameters
    ----------
    color
        Array of shape (rows, columns) or (rows, columns, 3), not multiplied by the opacity.
    alpha
        Array of shape (rows, columns), 0 to ``white``.
    white
        Largest value of a sample.

    Returns
    -------
    ndarray of uint32
        Array of the shape of ``color``.
    """
    a = alpha.astype(np.uint32) if color.ndim == 2 else alpha.astype(np.uint32)[..., None]
    return (color * a + (white - a) * white + white // 2) // white


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
    if pixels.dtype != np.uint8:
        pixels = (pixels[::factor, ::factor] >> (bits - 8)).astype(np.uint8)
        factor = 1
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if factor > 1:
        image = image.reduce(factor)
    return image.convert("RGB")


def thumbnail(preview: Image.Image) -> bytes:
    """Write the thumbnail: WebP, 256 pixels at its longest side, never enlarged."""
    picture = ImageOps.contain(preview, (PREVIEW, PREVIEW)) if max(preview.size) > PREVIEW else preview
    out = BytesIO()
    picture.save(out, "WEBP", quality=80, method=2)
    return out.getvalue()
