# SPDX-License-Identifier: Apache-2.0
"""Writes the HEIC files of these tests, which no dependency of Medhub can encode.

Run it in a separate environment (pip install pillow-heif numpy), because pillow-heif bundles an encoder under the GPL:

    python tests/science/imaging/photographs/make_heic_files.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

FOLDER = Path(__file__).parent / "heic"
SECRET = "Zebrowska"
ROWS, COLUMNS = 48, 64


def gradient(rows: int = ROWS) -> Any:
    """The picture in all of these files: red to the right, green downwards; 64 columns, RGB."""
    y, x = np.mgrid[0:rows, 0:COLUMNS]
    return np.stack([x * 4, y * 4, np.full_like(x, 128)], -1).astype(np.uint8)


def main() -> None:
    """Write all files."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    pillow_heif.options.SAVE_HDR_TO_12_BIT = False
    image = Image.fromarray(gradient())
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = SECRET
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = SECRET
    xmp = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a>{SECRET}</a></x:xmpmeta>".encode()
    lossless: dict[str, Any] = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}
    image.save(FOLDER / "metadata.heic", exif=exif, xmp=xmp, **lossless)
    image.save(FOLDER / "lossy.heic", quality=90)
    # Of whole coding blocks, so that it is not cropped: a test turns it.
    Image.fromarray(gradient(COLUMNS)).save(FOLDER / "square.heic", **lossless)
    Image.fromarray(gradient()[..., 0]).save(FOLDER / "grey.heic", quality=90)
    transparent = image.copy()
    transparent.putalpha(Image.fromarray(gradient()[..., 0]))
    transparent.save(FOLDER / "alpha.heic", quality=90)
    image.save(FOLDER / "burst.heic", quality=90, save_all=True, append_images=[image.rotate(180)])
    deep = gradient().astype(np.uint16) << 8
    file = pillow_heif.from_bytes(mode="RGB;16", size=(COLUMNS, ROWS), data=deep.tobytes())
    file.save(FOLDER / "ten_bits.heic", quality=100, chroma=444)


if __name__ == "__main__":
    main()
