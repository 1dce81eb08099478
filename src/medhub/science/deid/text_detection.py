# SPDX-License-Identifier: Apache-2.0
"""Where writing is in a picture: looked for at its own size, and once more, enlarged, where something small answers.

The network (PP-OCRv4 detection) answers to writing of ten pixels and more with near certainty somewhere in it, and not
at all to most of what is no writing. So a picture without an answer needs no closer look, and one with an answer needs
it there only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]
Quad = NDArray[np.float32]
# A picture, and whether it is looked at turned by a quarter.
LookedAt = tuple[NDArray[np.uint8], bool]

# Larger pictures are looked at in pieces, so that memory is bounded, and once as a whole for large writing.
TILE = 1280
_OVERLAP = 192
# The least answer that a closer look follows, and the closer look itself.
_ANSWER = 0.1
_ENLARGED = 2.0
# What is found higher than this (pixels) is seen well enough. Of what is lower, the network may have missed the ends.
_LOW = 22
_BEYOND = 4
_INSIDE = 0.9
_LEAST_BEYOND = 64
# Of more than this share of a picture, all of it is looked at.
_MOST = 0.5
_SIDES = 32
# A small picture may be the screen of an old device, whose letters are so low that the network answers to none of them.
_LEAST_SIDE = 736


class Detector:
    """Finds pieces of writing with the detection network of RapidOCR."""

    def __init__(self, cv2: Any, network: Any) -> None:
        self._cv2 = cv2
        self._network = network

    def find(self, looks: Iterable[LookedAt], *, low: bool = True) -> list[tuple[Quad, NDArray[np.uint8]]]:
        """Find writing in several renderings of one picture.

        Parameters
        ----------
        looks
            H x W x 3 each, and whether to turn it for writing that runs up or down.
        low
            Whether letters may be so low, as on the screens of old devices, that a small picture is looked at enlarged
            in any case.

        Returns
        -------
        list
            Corners of each find, 4 x 2, and the rendering that it was found in. Most writing is found several times.
        """
        looks = list(looks)
        found: list[tuple[Quad, NDArray[np.uint8]]] = []
        answers: list[list[Box]] = []
        for source, turned in looks:
            quads, areas = self._at_its_size(source, turned)
            found += [(quad, source) for quad in quads]
            answers.append(areas)
        clear = [_around(quad) for quad, _ in found if _height(quad) >= _LOW]
        closer = [
            [_grown(area, looks[0][0].shape) for area in areas if not any(_lies_in(area, one) for one in clear)]
            for areas in answers
        ]
        scale = _least_scale(looks[0][0].shape) if low else 1.0
        if scale > 1:
            source, turned = looks[0]
            found += [(quad, source) for quad in self._look(source, scale, turned)[0]]
        for box in self._together([one for several in closer for one in several], looks):
            # Writing that one rendering shows a little of, another may show whole; but it runs one way only.
            ways = {
                turned for (_, turned), own in zip(looks, closer, strict=True) if any(_overlap(box, a) for a in own)
            }
            for source, turned in looks:
                if turned in ways:
                    found += [(quad, source) for quad in self.within(source, box, turned=turned)]
        return found

    def within(
        self, picture: NDArray[np.uint8], box: Box, *, scale: float = _ENLARGED, turned: bool = False
    ) -> Iterator[Quad]:
        """Find writing in a part of a picture, enlarged if nothing else is said."""
        x0, y0, x1, y1 = max(0, box[0]), max(0, box[1]), box[2], box[3]
        part = picture[y0:y1, x0:x1]
        if min(part.shape[:2]) > 1:
            quads, _ = self._look(part, min(scale, TILE / max(part.shape[:2])), turned)
            for quad in quads:
                yield quad + np.array((x0, y0), np.float32)

    def at_its_size(self, picture: NDArray[np.uint8], box: Box) -> list[Quad]:
        """Find writing in a part of a picture, at its own size and no closer."""
        x0, y0, x1, y1 = box
        quads, _ = self._at_its_size(picture[y0:y1, x0:x1], False)
        return [quad + np.array((x0, y0), np.float32) for quad in quads]

    def boxes_of(self, mask: NDArray[np.bool_]) -> list[Box]:
        """Boxes around what is true in a mask (H x W), with as much around it as writing needs to be found."""
        rows, columns = mask.shape
        padded = np.pad(mask, ((0, -rows % 8), (0, -columns % 8)))
        coarse = padded.reshape(padded.shape[0] // 8, 8, padded.shape[1] // 8, 8).any((1, 3)).astype(np.uint8)
        coarse = self._cv2.dilate(coarse, np.ones((9, 9), np.uint8))
        _, _, boxes, _ = self._cv2.connectedComponentsWithStats(coarse)
        found = [(8 * x, 8 * y, min(columns, 8 * (x + w)), min(rows, 8 * (y + h))) for x, y, w, h, _ in boxes[1:]]
        return joined_boxes([(int(x0), int(y0), int(x1), int(y1)) for x0, y0, x1, y1 in found])

    def _together(self, boxes: list[Box], looks: list[LookedAt]) -> list[Box]:
        joined = joined_boxes(boxes)
        rows, columns = looks[0][0].shape[:2]
        if sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in joined) > _MOST * rows * columns <= TILE * TILE:
            return [(0, 0, columns, rows)]
        return joined

    def _at_its_size(self, picture: NDArray[np.uint8], turned: bool) -> tuple[list[Quad], list[Box]]:
        rows, columns = picture.shape[:2]
        found: list[Quad] = []
        answers: list[Box] = []
        for top in _starts(rows):
            for left in _starts(columns):
                quads, areas = self._look(picture[top : top + TILE, left : left + TILE], 1, turned)
                found += [quad + np.array((left, top), np.float32) for quad in quads]
                answers += [(x0 + left, y0 + top, x1 + left, y1 + top) for x0, y0, x1, y1 in areas]
        if max(rows, columns) > TILE:
            found += self._look(picture, TILE / max(rows, columns), turned)[0]
        return found, answers

    def _look(self, picture: NDArray[np.uint8], scale: float, turned: bool) -> tuple[list[Quad], list[Box]]:
        """Corners of writing, and the boxes of whatever the network answers to."""
        if turned:
            columns = picture.shape[1]
            quads, areas = self._look(np.rot90(picture), scale, False)
            upright = [np.stack([columns - 1 - quad[:, 1], quad[:, 0]], 1).astype(np.float32) for quad in quads]
            return upright, [(columns - y1, x0, columns - y0, x1) for x0, y0, x1, y1 in areas]
        rows, columns = picture.shape[:2]
        size = max(_SIDES, round(columns * scale / _SIDES) * _SIDES), max(_SIDES, round(rows * scale / _SIDES) * _SIDES)
        if size != (columns, rows):
            way = self._cv2.INTER_AREA if size[0] < columns else self._cv2.INTER_LINEAR
            picture = np.asarray(self._cv2.resize(np.ascontiguousarray(picture), size, interpolation=way), np.uint8)
        values = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
        values *= 2 / 255
        values -= 1
        answer = self._network.infer(values)[0]
        x, y = columns / size[0], rows / size[1]
        _, _, boxes, _ = self._cv2.connectedComponentsWithStats((answer[0, 0] > _ANSWER).astype(np.uint8))
        areas = [
            (int(x0 * x), int(y0 * y), math.ceil((x0 + wide) * x), math.ceil((y0 + high) * y))
            for x0, y0, wide, high, _ in boxes[1:]
        ]
        quads, _ = self._network.postprocess_op(answer, size[::-1])
        back = np.array((x, y), np.float32)
        return [np.asarray(q, np.float32) * back for q in self._network.filter_tag_det_res(quads, size[::-1])], areas


def _least_scale(shape: tuple[int, ...]) -> float:
    """By how much a small picture is enlarged at the first look; 1 where it is large enough."""
    wanted = min(_ENLARGED, _LEAST_SIDE / min(shape[:2]), TILE / max(shape[:2]))
    return max(1.0, wanted)


def joined_boxes(boxes: list[Box]) -> list[Box]:
    """Join boxes that overlap until none do."""
    joined: list[Box] = []
    for one in boxes:
        while True:
            other = next((box for box in joined if _overlap(one, box)), None)
            if other is None:
                break
            joined.remove(other)
            one = min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])
        joined.append(one)
    return joined


def _around(quad: Quad) -> Box:
    low, high = np.floor(quad.min(0)), np.ceil(quad.max(0))
    return int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1


def _grown(box: Box, shape: tuple[int, ...]) -> Box:
    x0, y0, x1, y1 = box
    rows, columns = shape[:2]
    by = max(_LEAST_BEYOND, _BEYOND * min(x1 - x0, y1 - y0))
    return max(0, x0 - by), max(0, y0 - by), min(columns, x1 + by), min(rows, y1 + by)


def _height(quad: Quad) -> float:
    return float(np.linalg.norm(quad - np.roll(quad, 1, 0), axis=1).min())


def _lies_in(inner: Box, outer: Box) -> bool:
    wide, high = (min(inner[n + 2], outer[n + 2]) - max(inner[n], outer[n]) for n in (0, 1))
    return min(wide, high) > 0 and wide * high >= _INSIDE * (inner[2] - inner[0]) * (inner[3] - inner[1])


def _overlap(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _starts(length: int) -> list[int]:
    if length <= TILE:
        return [0]
    count = math.ceil((length - _OVERLAP) / (TILE - _OVERLAP))
    return [round(n * (length - TILE) / (count - 1)) for n in range(count)]
