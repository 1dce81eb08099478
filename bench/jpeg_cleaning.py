# SPDX-License-Identifier: Apache-2.0
"""JPEG photographs cleaned by their bytes, beside decoding and encoding them again with Pillow.

``.venv/bin/python bench/jpeg_cleaning.py [FOLDER]``: time, size, and how far pixels are from the received ones.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from medhub.science.imaging.codecs.jpeg import clean_jpeg

DEMO = Path(__file__).resolve().parents[1] / "demo" / "blood-cells"


def clean_bytes(data: bytes) -> bytes:
    """As Medhub does it: the segments that the picture needs, byte for byte."""
    return clean_jpeg(data).data


def encode_again(quality: int) -> Callable[[bytes], bytes]:
    """As most programs do it: decode, and encode without metadata."""

    def encode(data: bytes) -> bytes:
        output = BytesIO()
        with Image.open(BytesIO(data)) as image:
            image.convert("RGB").save(output, "JPEG", quality=quality, subsampling=0)
        return output.getvalue()

    return encode


def encode_lossless(data: bytes) -> bytes:
    """Decode, and write PNG."""
    output = BytesIO()
    with Image.open(BytesIO(data)) as image:
        image.convert("RGB").save(output, "PNG")
    return output.getvalue()


def pixels_of(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    """Decode to RGB, signed so that differences can be taken."""
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")).astype(np.int16)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DEMO)
    folder: Path = parser.parse_args().folder
    images = [path.read_bytes() for path in sorted(folder.rglob("*.jp*g"))]
    size_kb = sum(map(len, images)) / len(images) / 1e3
    print(f"{len(images)} photographs, {size_kb:.0f} kB on average; load {os.getloadavg()[0]:.1f}")
    print("| way | ms of processor time (median) | size | pixels changed | greatest difference |")
    print("|---|---:|---:|---:|---:|")
    ways = {
        "bytes (Medhub)": clean_bytes,
        "JPEG again, quality 95": encode_again(95),
        "JPEG again, quality 100": encode_again(100),
        "PNG": encode_lossless,
    }
    for title, clean in ways.items():
        times, sizes, changed, greatest = [], [], [], 0
        for data in images:
            start = time.process_time()
            result = clean(data)
            times.append(1e3 * (time.process_time() - start))
            sizes.append(len(result) / len(data))
            difference = np.abs(pixels_of(result) - pixels_of(data))
            changed.append(float((difference > 0).any(axis=2).mean()))
            greatest = max(greatest, int(difference.max()))
        cost = f"{statistics.median(times):.2f} | {statistics.mean(sizes):.0%}"
        print(f"| {title} | {cost} | {statistics.mean(changed):.1%} | {greatest} |")


if __name__ == "__main__":
    main()
