# SPDX-License-Identifier: Apache-2.0
"""Segmentations as pictures: each segment in its color over a neutral background (PS3.3, A.51 and C.8.20)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from medhub.science.imaging.rendering.grayscale import FrameValues, palette_colors

BACKGROUND = (38, 40, 42)
"""Color of pixels in no segment; neither black nor white, so that a segment can have either."""

# Colors that can be distinguished with color vision deficiency (Okabe and Ito, 2008).
_COLORS = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)),
    (200, 200, 200),
)
_UNEXPLAINED_COLOR = (255, 0, 255)
_MAX_SEGMENTS = 65_536

# White of D50, in which CIELab values of DICOM are (PS3.3, C.10.7.1.1), and from there to linear sRGB by way of D65
# (Bradford's adaptation, IEC 61966-2-1).
_D50 = np.array([0.96422, 1.0, 0.82521])
_TO_SRGB = np.array(
    [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
)


@dataclass(frozen=True)
class Segment:
    """One segment.

    Attributes
    ----------
    number
        As the object numbers it, from 1.
    label
        Its name.
    color
        Red, green, blue.
    algorithm
        "AUTOMATIC", "SEMIAUTOMATIC", "MANUAL" or empty.
    category, property_type
        Meanings of its codes; empty where there are none.
    """

    number: int
    label: str
    color: tuple[int, int, int]
    algorithm: str = ""
    category: str = ""
    property_type: str = ""


def segments_of(dataset: Dataset) -> dict[int, Segment]:
    """Read the segments of a segmentation.

    Parameters
    ----------
    dataset
        As stored.

    Returns
    -------
    dict
        Number to segment.
    """
    segments: dict[int, Segment] = {}
    for position, item in enumerate(list(dataset.get("SegmentSequence") or ())[:_MAX_SEGMENTS]):
        number = int(item.get("SegmentNumber", position + 1))
        segments[number] = Segment(
            number,
            str(item.get("SegmentLabel") or ""),
            _color_of(item, dataset, number, position),
            str(item.get("SegmentAlgorithmType") or ""),
            meaning(item, "SegmentedPropertyCategoryCodeSequence"),
            meaning(item, "SegmentedPropertyTypeCodeSequence"),
        )
    return segments


def meaning(dataset: Dataset, keyword: str) -> str:
    """The meaning of the first code of a sequence; empty where there is none."""
    items = dataset.get(keyword) or ()
    return str(items[0].get("CodeMeaning") or items[0].get("CodeValue") or "") if items else ""


def _color_of(item: Dataset, dataset: Dataset, number: int, position: int) -> tuple[int, int, int]:
    cielab = item.get("RecommendedDisplayCIELabValue")
    if cielab is not None and len(cielab) == 3:
        return srgb_of([int(value) for value in cielab])
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        color = palette_colors(np.array([[number]]), FrameValues.of(dataset, 0))[0, 0]
        return int(color[0]), int(color[1]), int(color[2])
    return _COLORS[position % len(_COLORS)]


def srgb_of(encoded: list[int]) -> tuple[int, int, int]:
    """Turn a CIELab color, as DICOM encodes it, into sRGB.

    Parameters
    ----------
    encoded
        Three numbers of 16 bits (PS3.3, C.10.7.1.1).

    Returns
    -------
    tuple
        Red, green, blue, 0 to 255.
    """
    lightness = encoded[0] * 100 / 65535
    a, b = (value * 255 / 65535 - 128 for value in encoded[1:])
    y = (lightness + 16) / 116
    f = np.array([y + a / 500, y, y - b / 200])
    xyz = _D50 * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = np.clip(_TO_SRGB @ xyz, 0, 1)
    encoded_rgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (round(float(value) * 255) for value in encoded_rgb)
    return red, green, blue


def segment_of_frame(dataset: Dataset, frame: int) -> int | None:
    """The number of the segment that a frame shows; ``None`` in a label map, whose frames show many.

    Parameters
    ----------
    dataset
        As stored.
    frame
        Number of the frame, from 0.

    Returns
    -------
    int or None
    """
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())[frame : frame + 1]
    groups += list(dataset.get("SharedFunctionalGroupsSequence") or ())[:1]
    for group in groups:
        for item in list(group.get("SegmentIdentificationSequence") or ())[:1]:
            number = item.get("ReferencedSegmentNumber")
            if number is not None:
                return int(number if isinstance(number, int) else number[0])
    return None


def is_label_map(dataset: Dataset) -> bool:
    """Whether the value of a pixel is the number of its segment."""
    return str(dataset.get("SegmentationType") or "") == "LABELMAP"


def segmented_picture(stored: NDArray[Any], dataset: Dataset, frame: int) -> NDArray[np.uint8]:
    """Color one frame by its segments.

    Parameters
    ----------
    stored
        Stored values, an integer array of shape (rows, columns).
    dataset
        As stored.
    frame
        Number of the frame, from 0.

    Returns
    -------
    ndarray of uint8
        Array of shape (rows, columns, 3), RGB. In a fractional segmentation the color is as strong as the fraction.
    """
    segments = segments_of(dataset)
    ground = np.array(BACKGROUND, np.float64)
    if is_label_map(dataset):
        numbers, indexes = np.unique(stored, return_inverse=True)
        # Numbers that the object does not explain have a color of their own.
        unknown = {int(dataset.get("PixelPaddingValue", 0) or 0): BACKGROUND, 0: BACKGROUND}
        known = {number: segment.color for number, segment in segments.items()}
        listed_colors = [known.get(int(value)) or unknown.get(int(value), _UNEXPLAINED_COLOR) for value in numbers]
        colors = np.array(listed_colors, np.uint8)
        return colors[indexes.reshape(stored.shape)]
    number = segment_of_frame(dataset, frame)
    color = np.array(segments[number].color if number in segments else _COLORS[0], np.float64)
    maximum = 1.0
    if str(dataset.get("SegmentationType") or "BINARY") == "FRACTIONAL":
        maximum = float(dataset.get("MaximumFractionalValue") or 2 ** int(dataset.BitsStored) - 1)
    shares = np.clip(stored / maximum, 0.0, 1.0)[..., None]
    return np.rint(ground + shares * (color - ground)).astype(np.uint8)
