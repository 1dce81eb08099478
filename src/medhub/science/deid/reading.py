# SPDX-License-Identifier: Apache-2.0
"""Writing in pictures: where it is, and what it says.

Each picture is looked at three times: as it is shown; with what stands out of its surroundings raised to the same
strength everywhere, since dim writing on black is found in no other way; and that turned by a quarter, since small
writing that runs up or down is.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medhub.errors import Unavailable

# Writing lower than about ten pixels is not found, so small pictures are enlarged to this side.
_LEAST_SIDE = 736
_MOST_ENLARGED = 2.0
# Larger pictures are looked at in pieces, so that memory is bounded, and once as a whole for large writing.
_TILE = 1280
_OVERLAP = 192
# Surroundings, in pixels, and what is added to their variation: noise of single levels is not raised to writing.
_AROUND = 31
_FLOOR = 3.0
_GAIN = 60.0
_FOUND = 0.35
READ = 0.5
# What is higher than this (pixels) and cannot be read at all is no writing; the second where it is dim.
_HIGHEST = 64
_HIGHEST_DIM = 32
_SAYS_NOTHING = 0.45
# Lengths by height: of cells, and of the shortest words; and how surely a short word is read.
_ROUND = 1.8
_SHORT = 3.2
_SURELY = 0.8
_ROUND_SIGNS = frozenset("oO0QcC〇")

# A piece of writing as it was found, and the picture that it was found in.
_Seen = tuple[NDArray[np.float32], NDArray[np.uint8]]


class ReaderMissing(Unavailable):
    """The library that reads is not installed."""

    code = "reader-missing"


@dataclass(frozen=True)
class Writing:
    """A piece of writing.

    Attributes
    ----------
    corners
        4 x 2, x and y in pixels, from the upper left, clockwise as it is read.
    readings
        What it may say, with how sure that is, 0..1; the surest first.
    """

    corners: NDArray[np.float32]
    readings: tuple[tuple[str, float], ...]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The upright box around it: x0, y0, x1, y1, the last two not included."""
        low, high = np.floor(self.corners.min(0)), np.ceil(self.corners.max(0))
        return int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1


class Reader:
    """Finds and reads writing with RapidOCR (PP-OCRv4), which needs no network; one thread, one picture at a time."""

    def __init__(self) -> None:
        try:
            import cv2
            from rapidocr_onnxruntime import RapidOCR
        except ImportError as error:
            raise ReaderMissing(
                "The library that finds writing in pictures is missing. Install it with: "
                "pip install --no-deps rapidocr-onnxruntime"
            ) from error
        cv2.setNumThreads(1)
        self._cv2 = cv2
        # Sizes are chosen here, so the library enlarges nothing by itself.
        self._ocr: Any = RapidOCR(
            intra_op_num_threads=1,
            inter_op_num_threads=1,
            det_limit_side_len=32,
            det_box_thresh=_FOUND,
            det_score_mode="slow",
        )
        self._guard = threading.Lock()

    def find(
        self,
        picture: NDArray[np.uint8],
        values: NDArray[Any] | None = None,
        *,
        settled: Callable[[str, float], bool] = lambda text, score: score >= READ,
    ) -> tuple[Writing, ...]:
        """Find writing, and read it.

        Parameters
        ----------
        picture
            H x W x 3, RGB, as it is shown.
        values
            H x W, the stored values, where they hold more than the picture shows; else its mean is taken.
        settled
            Whether a text, read so surely, needs no second reading; others are read again in other ways.

        Returns
        -------
        tuple of Writing
        """
        plain = np.ascontiguousarray(picture[:, :, ::-1])
        raised = np.repeat(self._raised(picture.mean(-1) if values is None else values)[:, :, None], 3, 2).copy()
        with self._guard:
            found = [
                (quad, source)
                for source, look in ((plain, self._detect), (raised, self._detect), (raised, self._detect_upright))
                for quad in look(source)
            ]
            pieces: list[Writing] = []
            for group in _grouped(found):
                piece = self._read(group, settled)
                if _is_cloud(piece, _HIGHEST if any(source is plain for _, source in group) else _HIGHEST_DIM):
                    # Lines that touch one another are found as one, and cannot be read as one.
                    apart = [(quad, source) for source in (plain, raised) for quad in self._within(source, piece.box)]
                    inner = [self._read(one, settled) for one in _grouped(apart)]
                    pieces += [one for one in inner if not _is_cloud(one, _HIGHEST_DIM)]
                else:
                    pieces.append(piece)
        return tuple(one for one in pieces if not _is_tissue(one))

    def _within(self, picture: NDArray[np.uint8], box: tuple[int, int, int, int]) -> Iterator[NDArray[np.float32]]:
        """Find writing in a part of a picture, enlarged."""
        x0, y0, x1, y1 = max(0, box[0]), max(0, box[1]), box[2], box[3]
        part = np.ascontiguousarray(picture[y0:y1, x0:x1])
        if min(part.shape[:2]) > 1:
            for quad in self._detect_scaled(part, min(_MOST_ENLARGED, _TILE / max(part.shape[:2]))):
                yield quad + np.array((x0, y0), np.float32)

    def places(self, picture: NDArray[np.uint8], values: NDArray[Any] | None = None) -> list[NDArray[np.float32]]:
        """The corners of all writing that the raised look, which finds dim writing too, finds in a picture, unread."""
        raised = np.repeat(self._raised(picture.mean(-1) if values is None else values)[:, :, None], 3, 2).copy()
        with self._guard:
            return list(self._detect(raised))

    def fill(self, mask: NDArray[np.bool_], corners: NDArray[np.float32], pad: int) -> None:
        """Set a mask (H x W) where a piece of writing is, and so many pixels around it."""
        drawn: NDArray[np.uint8] = np.zeros(mask.shape, np.uint8)
        self._cv2.fillPoly(drawn, [np.round(corners).astype(np.int32)], 1)
        if pad:
            drawn = np.asarray(self._cv2.dilate(drawn, np.ones((2 * pad + 1, 2 * pad + 1), np.uint8)), np.uint8)
        mask |= drawn.astype(bool)

    def _raised(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Write each pixel by how far it stands out of its surroundings, in their standard deviations."""
        grey = values.astype(np.float32)
        low, high = float(grey.min()), float(grey.max())
        if high - low > 255:  # so that the floor means one level of 256, whatever the bits
            grey = (grey - low) * (255 / (high - low))
        around = (_AROUND, _AROUND)
        mean = self._cv2.blur(grey, around)
        spread = np.sqrt(np.maximum(self._cv2.blur(grey * grey, around) - mean * mean, 0))
        return np.asarray(np.clip(127 + _GAIN * (grey - mean) / (spread + _FLOOR), 0, 255), np.uint8)

    def _detect(self, picture: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
        rows, columns = picture.shape[:2]
        for top, left in _tiles(rows, columns):
            tile = picture[top : top + _TILE, left : left + _TILE]
            found = self._detect_scaled(tile, _enlarged(tile.shape))
            yield from (quad + np.array((left, top), np.float32) for quad in found)
        if max(rows, columns) > _TILE:
            yield from self._detect_scaled(picture, _TILE / max(rows, columns))

    def _detect_upright(self, picture: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
        """Find writing that runs up or down, by turning the picture."""
        columns = picture.shape[1]
        for quad in self._detect(np.ascontiguousarray(np.rot90(picture))):
            yield np.stack([columns - 1 - quad[:, 1], quad[:, 0]], 1).astype(np.float32)

    def _detect_scaled(self, picture: NDArray[np.uint8], scale: float) -> Iterator[NDArray[np.float32]]:
        rows, columns = picture.shape[:2]
        size = max(32, round(columns * scale)), max(32, round(rows * scale))
        if size != (columns, rows):
            way = self._cv2.INTER_AREA if scale < 1 else self._cv2.INTER_LINEAR
            picture = np.asarray(self._cv2.resize(picture, size, interpolation=way), np.uint8)
        quads, _ = self._ocr.text_det(picture)
        back = np.array((columns / size[0], rows / size[1]), np.float32)
        for quad in quads if quads is not None else ():
            yield np.asarray(quad, np.float32) * back

    def _read(self, group: list[_Seen], settled: Callable[[str, float], bool]) -> Writing:
        readings: list[tuple[str, float]] = []
        ways = [*group, *((_grown(quad), source) for quad, source in group)]
        for quad, source in ways:
            reading = self._read_either_way_up(quad, source)
            if reading is None:
                continue
            readings.append(reading)
            if settled(*reading):
                break
        return Writing(_outline([quad for quad, _ in group]), tuple(sorted(readings, key=lambda one: -one[1])))

    def _read_either_way_up(self, quad: NDArray[np.float32], source: NDArray[np.uint8]) -> tuple[str, float] | None:
        crops = [one for one in self._ocr.get_crop_img_list(source, [quad]) if min(one.shape[:2]) > 1]
        if not crops:
            return None
        crops += [np.ascontiguousarray(np.rot90(crops[0], 2))]
        found, _ = self._ocr.text_rec(crops, False)
        text, score = max(((str(one[0]), float(one[1])) for one in found), key=lambda one: one[1])
        return text, score


@cache
def reader() -> Reader:
    """The reader of this process; its networks take some 130 MB."""
    return Reader()


def _enlarged(shape: tuple[int, ...]) -> float:
    rows, columns = shape[:2]
    wanted = min(_MOST_ENLARGED, max(1.0, _LEAST_SIDE / min(rows, columns)))
    return min(wanted, max(1.0, _TILE / max(rows, columns)))


def _tiles(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    for top in _starts(rows):
        for left in _starts(columns):
            yield top, left


def _starts(length: int) -> list[int]:
    if length <= _TILE:
        return [0]
    count = math.ceil((length - _OVERLAP) / (_TILE - _OVERLAP))
    return [round(n * (length - _TILE) / (count - 1)) for n in range(count)]


def _is_cloud(piece: Writing, highest: int) -> bool:
    """Whether what was found is higher than that and says nothing at all: the edge of a shadow, not writing."""
    sides = np.linalg.norm(piece.corners - np.roll(piece.corners, 1, 0), axis=1)
    return bool(sides.min() > highest) and all(score < _SAYS_NOTHING for _, score in piece.readings)


def _is_tissue(piece: Writing) -> bool:
    """Whether what was found is cells, bubbles or bones: they read as O, as dots, as one letter, or badly and short.

    What is long but cannot be read is taken for writing of a script that the networks do not know.
    """
    said = {text for text, score in piece.readings if score >= _SAYS_NOTHING}
    if said and all({one for one in text if one.isalnum()} <= _ROUND_SIGNS for text in said):
        return True
    text, score = piece.readings[0] if piece.readings else ("", 0.0)
    letters = sum(map(str.isalnum, text))
    sides = np.linalg.norm(piece.corners - np.roll(piece.corners, 1, 0), axis=1)
    length = float(sides.max() / max(sides.min(), 1.0))
    return (length <= _ROUND and letters < 2) or (length <= _SHORT and letters < 4 and score < _SURELY)


def _grown(quad: NDArray[np.float32]) -> NDArray[np.float32]:
    """A quadrangle with half its height more at each end and a fifth above and below: detection cuts letters off."""
    along, down = quad[1] - quad[0], quad[3] - quad[0]
    height, length = float(np.linalg.norm(down)), float(np.linalg.norm(along))
    if length < height:  # it stands upright
        along, down, height, length = down, along, length, height
    along, down = along / max(length, 1e-6) * height * 0.5, down * 0.2
    center = quad.mean(0)
    signs = np.sign((quad - center) @ np.stack([along, down], 1))
    return np.asarray(np.maximum(quad + signs @ np.stack([along, down]), 0), np.float32)


def _outline(quads: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The outline of what was found several times: the narrowest of those that cut no letters off."""
    lengths = [float(np.linalg.norm(quad - np.roll(quad, 1, 0), axis=1).max()) for quad in quads]
    whole = [quad for quad, length in zip(quads, lengths, strict=True) if length >= 0.9 * max(lengths)]
    return min(whole, key=_area)


def _area(quad: NDArray[np.float32]) -> float:
    x, y = quad[:, 0], quad[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _grouped(found: list[_Seen]) -> list[list[_Seen]]:
    """Put together what was found more than once; the pieces of a group cover one another almost wholly."""
    groups: list[list[_Seen]] = []
    for one in found:
        for group in groups:
            if _same(group[0][0], one[0]):
                group.append(one)
                break
        else:
            groups.append([one])
    return groups


def _same(first: NDArray[np.float32], second: NDArray[np.float32]) -> bool:
    """Whether two finds are one: alike, or one the other with its end cut off."""
    low, high = np.maximum(first.min(0), second.min(0)), np.minimum(first.max(0), second.max(0))
    both = float(np.prod(np.maximum(high - low, 0)))
    sizes = sorted(float(np.prod(one.max(0) - one.min(0))) for one in (first, second))
    return both > 0.6 * (sum(sizes) - both) or (both > 0.8 * sizes[0] and sizes[1] < 3 * sizes[0])
