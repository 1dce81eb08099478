# SPDX-License-Identifier: Apache-2.0
"""Pictures whose pixels are not square, in the proportions of what they show (PS3.3, 10.7.1.3 and C.7.6.3.1.7)."""

from __future__ import annotations

from io import BytesIO
from math import isfinite
from typing import Any

from PIL import Image
from pydicom import Dataset, dcmread

from medhub.science.imaging.dicom.received_file import quiet

# The first that a dataset has counts: the distance of rows, and of columns.
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
_LONGEST_SIDE = 16_384
# Sides of less than a thousandth more show no difference, and spacings are rounded.
_TOLERANCE = 1e-3


def pixel_aspect(dataset: Dataset, frame: int = 0) -> float:
    """How many times higher than wide a pixel is.

    Parameters
    ----------
    dataset
        The dataset of the file.
    frame
        Number of the frame, from 0.

    Returns
    -------
    float
        1.0 where the dataset does not say it, or says what cannot be.
    """
    for keyword in _SPACINGS:
        for source in (*_measures(dataset, frame), dataset) if keyword == "PixelSpacing" else (dataset,):
            aspect = _aspect_of(source, keyword)
            if aspect is not None:
                return aspect
    return 1.0


def _measures(dataset: Dataset, frame: int) -> list[Dataset]:
    """The pixel measures of a frame of a multi-frame object (PS3.3, C.7.6.16.2.1)."""
    per_frame, shared = (list(dataset.get(keyword) or ()) for keyword in _GROUPS)
    groups = [*per_frame[frame : frame + 1], *shared[:1]]
    return [item for group in groups for item in list(group.get("PixelMeasuresSequence") or ())[:1]]


def _aspect_of(source: Dataset, keyword: str) -> float | None:
    try:
        value: Any = source.get(keyword)
        rows, columns = (float(number) for number in value)
    except (TypeError, ValueError):
        return None
    if not (isfinite(rows) and isfinite(columns) and rows > 0 and columns > 0):
        return None
    aspect = rows / columns
    return 1.0 if abs(aspect - 1.0) < _TOLERANCE else aspect


def read_pixel_aspect(dicom: bytes, frame: int = 0) -> float:
    """Read from a file how many times higher than wide a pixel is; see ``pixel_aspect``."""
    with quiet():
        dataset = dcmread(BytesIO(dicom), stop_before_pixels=True, specific_tags=[*_SPACINGS, *_GROUPS])
        return pixel_aspect(dataset, frame)


def square_size(size: tuple[int, int], aspect: float) -> tuple[int, int]:
    """The size of a picture with square pixels: the side with the larger pixels is enlarged, so that no detail is lost.

    Parameters
    ----------
    size
        Width and height in pixels.
    aspect
        How many times higher than wide a pixel is.

    Returns
    -------
    (int, int)
        Width and height.
    """
    width, height = size
    if aspect >= 1.0:
        if height * aspect <= max(_LONGEST_SIDE, height):
            return width, max(1, round(height * aspect))
        return max(1, round(width / aspect)), height
    if width / aspect <= max(_LONGEST_SIDE, width):
        return max(1, round(width / aspect)), height
    return width, max(1, round(height * aspect))


def with_square_pixels(picture: Image.Image, aspect: float) -> Image.Image:
    """Scale a picture so that its pixels are square."""
    size = square_size(picture.size, aspect)
    return picture if size == picture.size else picture.resize(size, Image.Resampling.BICUBIC)
