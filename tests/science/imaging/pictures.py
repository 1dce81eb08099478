# SPDX-License-Identifier: Apache-2.0
"""Small pictures and files that tests make for themselves."""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medhub.science.arrivals.cleaned_image import CleaningContext
from medhub.science.imaging.decoding_limits import DecodingLimits

LIMITS = DecodingLimits()
CONTEXT = CleaningContext(
    uid_key=b"a secret of the test project....",
    patient_code="P-7KQ2",
    received_at=datetime(2026, 11, 21, 9, 30, tzinfo=UTC),
    sex="F",
    birth_year=1980,
)
SHARED_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def cells(rows: int = 120, columns: int = 160, *, seed: int = 1) -> NDArray[np.uint8]:
    """Dark discs on a light ground, different in every corner, so that a turned or cut picture is noticed."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    picture = np.full((rows, columns, 3), (240, 225, 230), np.float64)
    for _ in range(12):
        cy, cx, radius = generator.uniform(0, rows), generator.uniform(0, columns), generator.uniform(6, 18)
        inside = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        picture[inside] = generator.uniform(40, 180, 3)
    picture[: rows // 4, : columns // 4, 0] = 20
    return (picture + generator.uniform(-4, 4, picture.shape)).clip(0, 255).astype(np.uint8)


def encode(pixels: NDArray[Any] | Image.Image, form: str, **options: Any) -> bytes:
    """Write a picture by Pillow."""
    out = BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(out, form, **options)
    return out.getvalue()


def decoded(data: bytes) -> NDArray[np.uint8]:
    """Read a file by Pillow as RGB, as it lies in the file."""
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def png_chunk(name: bytes, body: bytes) -> bytes:
    """One chunk of a PNG file."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(columns: int, rows: int, bits: int, color: int, lines: bytes, *extra: bytes) -> bytes:
    """A PNG file made by hand, of scan lines that each begin with their filter byte."""
    header = struct.pack(">IIBBBBB", columns, rows, bits, color, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", header), *extra, png_chunk(b"IDAT", zlib.compress(lines, 9)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def deep_png(samples: NDArray[np.uint16]) -> bytes:
    """A PNG of 16 bits a sample: grey, grey with alpha, RGB or RGBA by the last axis."""
    color = 0 if samples.ndim == 2 else {2: 4, 3: 2, 4: 6}[samples.shape[2]]
    rows, columns = samples.shape[:2]
    lines = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in samples)
    return png(columns, rows, 16, color, lines)


def tiff(entries: dict[int, tuple[int, int, int | bytes]], pixels: bytes, *, order: str = "<") -> bytes:
    """A TIFF file made by hand: entries are tag: (type, count, value or bytes); 273 points at the pixels."""
    count = len(entries)
    extra_at = 8 + 2 + 12 * count + 4
    extra = b"".join(value for _, (_, _, value) in sorted(entries.items()) if isinstance(value, bytes))
    data_at = extra_at + len(extra)
    out = (b"II*\x00" if order == "<" else b"MM\x00*") + struct.pack(order + "I", 8) + struct.pack(order + "H", count)
    for tag, (kind, number, value) in sorted(entries.items()):
        if tag == 273:
            value = data_at
        if isinstance(value, bytes):
            field = struct.pack(order + "I", extra_at)
            extra_at += len(value)
        elif kind == 3:
            field = struct.pack(order + "HH", value, 0)
        else:
            field = struct.pack(order + "I", value)
        out += struct.pack(order + "HHI", tag, kind, number) + field
    return out + struct.pack(order + "I", 0) + extra + pixels


def exif(orientation: int, **texts: str) -> bytes:
    """An EXIF block with an orientation, and texts by the name of their tag."""
    from PIL import ExifTags

    block = Image.Exif()
    block[ExifTags.Base.Orientation] = orientation
    for name, text in texts.items():
        block[ExifTags.Base[name]] = text
    return block.tobytes()
