# SPDX-License-Identifier: Apache-2.0
"""Text detection in images: at their own size, and enlarged in the areas where the network reports small text.

The network (PP-OCRv4 detection) reports text of at least ten pixels with near certainty in some part of it, and hardly
reports anything else. So only areas with a report need a second pass on an enlarged image.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]
Quad = NDArray[np.float32]
# An image, and whether it is searched rotated by 90 degrees.
Rendering = tuple[NDArray[np.uint8], bool]

# Larger images are searched in tiles, so that memory is bounded, and once scaled down for large text.
TILE = 1280
_OVERLAP = 192
# The probability from which an area is searched again, and the scale for this.
_MIN_PROBABILITY = 0.1
_ENLARGED = 2.0
# Text higher than this (pixels) is detected completely. Of smaller text, the network may miss the ends.
_MIN_CLEAR_HEIGHT = 22
_MARGIN_BY_HEIGHT = 4
_MIN_OVERLAP = 0.9
_MIN_MARGIN = 64
# If the areas take more than this share of an image, all of it is searched again.
_MAX_SHARE = 0.5
_SIZE_MULTIPLE = 32
# A text that ends this close (pixels) to the end of a searched area may continue beyond it.
_CUT = 4
# A small image may be the screen of an old device, whose letters are too small for the network.
_MIN_SIDE = 736


class Detector:
    """Detects text with the detection network of RapidOCR."""

    def __init__(self, cv2: Any, network: Any) -> None:
        self._cv2 = cv2
        self._network = network

    def find(self, renderings: Iterable[Rendering], *, low: bool = True) -> list[tuple[Quad, NDArray[np.uint8]]]:
        """Detect text in several renderings of one image.

        Parameters
        ----------
        renderings
            H x W x 3 each, and whether to rotate it for vertical text.
        low
            Whether letters may be as small as on the screens of old devices, so that a small image is enlarged first.

        Returns
        -------
        list
            Corners of each detection, 4 x 2, and its rendering. Most text is detected several times.
        """
        renderings = list(renderings)
        detections: list[tuple[Quad, NDArray[np.uint8]]] = []
        probable_areas: list[list[Box]] = []
        for source, turned in renderings:
            quads, areas = self._detect_tiles(source, turned)
            detections += [(quad, source) for quad in quads]
            probable_areas.append(areas)
        clear_boxes = [_bounding_box(quad) for quad, _ in detections if _height(quad) >= _MIN_CLEAR_HEIGHT]
        areas_to_enlarge = [
            [
                _enlarge(area, renderings[0][0].shape)
                for area in areas
                if not any(_is_inside(area, box) for box in clear_boxes)
            ]
            for areas in probable_areas
        ]
        scale = _min_scale(renderings[0][0].shape) if low else 1.0
        if scale > 1:
            source, turned = renderings[0]
            detections += [(quad, source) for quad in self._detect(source, scale, turned)[0]]
        for box in self._merge_boxes([area for areas in areas_to_enlarge for area in areas], renderings):
            # Text that is incomplete in one rendering may be complete in another; but it runs in one direction only.
            directions = {
                turned
                for (_, turned), areas in zip(renderings, areas_to_enlarge, strict=True)
                if any(_overlap(box, a) for a in areas)
            }
            for source, turned in renderings:
                if turned in directions:
                    detections += [(quad, source) for quad in self.find_enlarged(source, box, turned=turned)]
        return detections

    def find_in_area(
        self, renderings: Iterable[Rendering], box: Box, *, low: bool = True
    ) -> list[tuple[Quad, NDArray[np.uint8]]]:
        """Detect text in an area of an image; the area grows where it cuts a text off.

        Parameters
        ----------
        renderings, low
            As for ``find``.
        box
            The area.
        """
        renderings = list(renderings)
        rows, columns = renderings[0][0].shape[:2]
        while True:
            x0, y0, x1, y1 = box
            parts = [(source[y0:y1, x0:x1], turned) for source, turned in renderings]
            sources = {id(part): source for (part, _), (source, _) in zip(parts, renderings, strict=True)}
            offset = np.array((x0, y0), np.float32)
            detections = [(quad + offset, sources[id(part)]) for quad, part in self.find(parts, low=low)]
            grown = _grow_to_text(box, [quad for quad, _ in detections], (rows, columns))
            if grown == box:
                return detections
            box = grown

    def find_enlarged(
        self, picture: NDArray[np.uint8], box: Box, *, scale: float = _ENLARGED, turned: bool = False
    ) -> Iterator[Quad]:
        """Detect text in a part of an image, enlarged by default."""
        x0, y0, x1, y1 = max(0, box[0]), max(0, box[1]), box[2], box[3]
        part = picture[y0:y1, x0:x1]
        if min(part.shape[:2]) > 1:
            quads, _ = self._detect(part, min(scale, TILE / max(part.shape[:2])), turned)
            for quad in quads:
                yield quad + np.array((x0, y0), np.float32)

    def find_unscaled(self, picture: NDArray[np.uint8], box: Box) -> list[Quad]:
        """Detect text in a part of an image at its own size."""
        x0, y0, x1, y1 = box
        quads, _ = self._detect_tiles(picture[y0:y1, x0:x1], False)
        return [quad + np.array((x0, y0), np.float32) for quad in quads]

    def _merge_boxes(self, boxes: list[Box], renderings: list[Rendering]) -> list[Box]:
        merged = merge_overlapping_boxes(boxes)
        rows, columns = renderings[0][0].shape[:2]
        if sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in merged) > _MAX_SHARE * rows * columns <= TILE * TILE:
            return [(0, 0, columns, rows)]
        return merged

    def _detect_tiles(self, picture: NDArray[np.uint8], turned: bool) -> tuple[list[Quad], list[Box]]:
        rows, columns = picture.shape[:2]
        quads_in_picture: list[Quad] = []
        probable_areas: list[Box] = []
        for top in _tile_offsets(rows):
            for left in _tile_offsets(columns):
                quads, areas = self._detect(picture[top : top + TILE, left : left + TILE], 1, turned)
                quads_in_picture += [quad + np.array((left, top), np.float32) for quad in quads]
                probable_areas += [(x0 + left, y0 + top, x1 + left, y1 + top) for x0, y0, x1, y1 in areas]
        if max(rows, columns) > TILE:
            quads_in_picture += self._detect(picture, TILE / max(rows, columns), turned)[0]
        return quads_in_picture, probable_areas

    def _detect(self, picture: NDArray[np.uint8], scale: float, turned: bool) -> tuple[list[Quad], list[Box]]:
        """Run the network: corners of detected text, and boxes of all areas with some probability."""
        if turned:
            columns = picture.shape[1]
            quads, areas = self._detect(np.rot90(picture), scale, False)
            upright = [np.stack([columns - 1 - quad[:, 1], quad[:, 0]], 1).astype(np.float32) for quad in quads]
            return upright, [(columns - y1, x0, columns - y0, x1) for x0, y0, x1, y1 in areas]
        rows, columns = picture.shape[:2]
        size = (
            max(_SIZE_MULTIPLE, round(columns * scale / _SIZE_MULTIPLE) * _SIZE_MULTIPLE),
            max(_SIZE_MULTIPLE, round(rows * scale / _SIZE_MULTIPLE) * _SIZE_MULTIPLE),
        )
        if size != (columns, rows):
            interpolation = self._cv2.INTER_AREA if size[0] < columns else self._cv2.INTER_LINEAR
            picture = np.asarray(
                self._cv2.resize(np.ascontiguousarray(picture), size, interpolation=interpolation), np.uint8
            )
        values = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
        values *= 2 / 255
        values -= 1
        probability = self._network.infer(values)[0]
        x, y = columns / size[0], rows / size[1]
        _, _, boxes, _ = self._cv2.connectedComponentsWithStats((probability[0, 0] > _MIN_PROBABILITY).astype(np.uint8))
        areas = [
            (int(x0 * x), int(y0 * y), math.ceil((x0 + wide) * x), math.ceil((y0 + high) * y))
            for x0, y0, wide, high, _ in boxes[1:]
        ]
        quads, _ = self._network.postprocess_op(probability, size[::-1])
        to_pixels = np.array((x, y), np.float32)
        return [
            np.asarray(q, np.float32) * to_pixels for q in self._network.filter_tag_det_res(quads, size[::-1])
        ], areas


def _min_scale(shape: tuple[int, ...]) -> float:
    """Scale by which a small image is enlarged for the first pass; 1 if it is large enough."""
    scale = min(_ENLARGED, _MIN_SIDE / min(shape[:2]), TILE / max(shape[:2]))
    return max(1.0, scale)


def boxes_of_mask(mask: NDArray[np.bool_]) -> list[Box]:
    """Boxes around the true areas of a mask (H x W), with the margin that detection needs."""
    import cv2

    rows, columns = mask.shape
    padded = np.pad(mask, ((0, -rows % 8), (0, -columns % 8)))
    blocks = padded.reshape(padded.shape[0] // 8, 8, padded.shape[1] // 8, 8).any((1, 3))
    coarse = cv2.dilate(np.asarray(blocks, np.uint8), np.ones((9, 9), np.uint8))
    _, _, components, _ = cv2.connectedComponentsWithStats(coarse)
    boxes = [(8 * x, 8 * y, min(columns, 8 * (x + w)), min(rows, 8 * (y + h))) for x, y, w, h, _ in components[1:]]
    return merge_overlapping_boxes([(int(x0), int(y0), int(x1), int(y1)) for x0, y0, x1, y1 in boxes])


def merge_overlapping_boxes(boxes: list[Box]) -> list[Box]:
    """Join boxes that overlap until none do."""
    joined: list[Box] = []
    for box in boxes:
        while True:
            other = next((box for box in joined if _overlap(box, box)), None)
            if other is None:
                break
            joined.remove(other)
            box = min(box[0], other[0]), min(box[1], other[1]), max(box[2], other[2]), max(box[3], other[3])
        joined.append(box)
    return joined


def _grow_to_text(box: Box, quads: list[Quad], shape: tuple[int, int]) -> Box:
    """Extend a box within an image at the sides where it cuts detected text off."""
    x0, y0, x1, y1 = box
    for quad in quads:
        (left, top), (right, bottom) = quad.min(0), quad.max(0)
        by = max(_MIN_MARGIN, math.ceil(_MARGIN_BY_HEIGHT * _height(quad)))
        x0 = max(0, box[0] - by) if left <= box[0] + _CUT else x0
        y0 = max(0, box[1] - by) if top <= box[1] + _CUT else y0
        x1 = min(shape[1], box[2] + by) if right >= box[2] - _CUT else x1
        y1 = min(shape[0], box[3] + by) if bottom >= box[3] - _CUT else y1
    return x0, y0, x1, y1


def _bounding_box(quad: Quad) -> Box:
    low, high = np.floor(quad.min(0)), np.ceil(quad.max(0))
    return int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1


def _enlarge(box: Box, shape: tuple[int, ...]) -> Box:
    x0, y0, x1, y1 = box
    rows, columns = shape[:2]
    by = max(_MIN_MARGIN, _MARGIN_BY_HEIGHT * min(x1 - x0, y1 - y0))
    return max(0, x0 - by), max(0, y0 - by), min(columns, x1 + by), min(rows, y1 + by)


def _height(quad: Quad) -> float:
    return float(np.linalg.norm(quad - np.roll(quad, 1, 0), axis=1).min())


def _is_inside(inner: Box, outer: Box) -> bool:
    wide, high = (min(inner[n + 2], outer[n + 2]) - max(inner[n], outer[n]) for n in (0, 1))
    return min(wide, high) > 0 and wide * high >= _MIN_OVERLAP * (inner[2] - inner[0]) * (inner[3] - inner[1])


def _overlap(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _tile_offsets(length: int) -> list[int]:
    if length <= TILE:
        return [0]
    count = math.ceil((length - _OVERLAP) / (TILE - _OVERLAP))
    return [round(n * (length - TILE) / (count - 1)) for n in range(count)]
