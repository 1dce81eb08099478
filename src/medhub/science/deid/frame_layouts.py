# SPDX-License-Identifier: Apache-2.0
"""Text regions of earlier frames of a series, which later frames share where their pixels are equal."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medhub.science.deid.device_regions import Box
from medhub.science.deid.text_gate import find_text_areas

# Memory of the frames of all series, in bytes; the limit of the process is MEDHUB_DECODER_MEMORY_BYTES.
_MAX_BYTES = 512 * 1024**2
# Levels of 256 by which unchanged pixels may differ.
_MAX_LEVEL_CHANGE = 2


@dataclass
class FrameResult:
    """What is blackened in one frame, and what stays."""

    mask: NDArray[np.bool_]
    boxes: list[Box] = field(default_factory=list)
    allowed: list[Box] = field(default_factory=list)
    searched: list[Box] = field(default_factory=list)


class Layouts:
    """Text regions of earlier frames of a series, so that later frames need one detection pass only.

    A frame is treated like an earlier one only if all of its text lies in the text regions of that one, and text that
    was allowed there looks the same. The layouts stay in memory, which is limited; without them, a frame is searched
    like the first one.
    """

    def __init__(self, series: int = 4, each: int = 4, most_bytes: int = _MAX_BYTES) -> None:
        self._most_series, self._most_each, self._most_bytes = series, each, most_bytes
        self._known: dict[str, list[tuple[NDArray[Any], FrameResult]]] = {}

    def of(self, series: str) -> list[tuple[NDArray[Any], FrameResult]]:
        """Return the known frames of a series."""
        return self._known.get(series, [])

    def add(self, series: str, picture: NDArray[Any], frame: FrameResult) -> None:
        """Add a frame, and drop the oldest ones where there are too many or they are too large."""
        known = self._known.setdefault(series, [])
        known.append((picture, frame))
        del known[: -self._most_each]
        while len(self._known) > self._most_series:
            del self._known[next(iter(self._known))]
        while self._known and self._count_bytes() > self._most_bytes:
            oldest = next(iter(self._known))
            del self._known[oldest][0]
            if not self._known[oldest]:
                del self._known[oldest]

    def _count_bytes(self) -> int:
        return sum(picture.nbytes + frame.mask.nbytes for frames in self._known.values() for picture, frame in frames)


def areas_to_search(
    layouts: list[tuple[NDArray[Any], FrameResult]],
    picture: NDArray[np.uint8],
    values: NDArray[np.float32] | None,
    frame: FrameResult,
) -> list[Box]:
    """Find the areas of a frame that may contain text and that no earlier frame of its series had with equal pixels.

    What the earlier frame has in an equal area is copied.
    """
    areas = find_text_areas(picture, values)
    frame.searched += areas
    pixels = pixels_to_compare(picture, values)
    changes = [
        (find_changes(before, pixels), layout)
        for before, layout in reversed(layouts)
        if areas and before.shape == pixels.shape
    ]
    remaining = []
    for area in areas:
        x0, y0, x1, y1 = area
        equal = (
            layout
            for changed, layout in changes
            if any(_contains(box, area) for box in layout.searched) and not changed[y0:y1, x0:x1].any()
        )
        layout = next(equal, None)
        if layout is None:
            remaining.append(area)
            continue
        frame.mask[y0:y1, x0:x1] |= layout.mask[y0:y1, x0:x1]
        for known, copied in ((layout.boxes, frame.boxes), (layout.allowed, frame.allowed)):
            copied += [box for box in known if box not in copied and _overlap(box, area)]
    return remaining


def _contains(outer: Box, inner: Box) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and outer[2] >= inner[2] and outer[3] >= inner[3]


def _overlap(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def pixels_to_compare(picture: NDArray[np.uint8], values: NDArray[np.float32] | None) -> NDArray[Any]:
    """The values to compare: the image, or all stored values if it shows a window only (H x W x 1 or 3)."""
    return picture if values is None else values[:, :, None]


def find_changes(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.bool_]:
    """Find where two images differ by more than compression and rounding change."""
    apart = np.maximum(before, after) - np.minimum(before, after)
    more = reduce(np.maximum, (apart[:, :, sample] for sample in range(apart.shape[2])))
    levels = 255.0 if after.dtype == np.uint8 else float(after.max() - after.min())
    return np.asarray(more > _MAX_LEVEL_CHANGE * max(levels, 255) / 255)
