# SPDX-License-Identifier: Apache-2.0
"""Text recognition for the PHI scan, by RapidOCR with its default settings and a different preprocessing.

Each image is read twice: as displayed, and as relief, in which pixels count that are brighter or darker than their
neighborhood. The relief shows dim text on black and text over tissue.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medhub.errors import Unavailable

# Images are read in tiles of this side, so that memory is bounded and small text is not scaled down.
_TILE = 1024
_TILE_OVERLAP = 160
# Letters of up to this height (pixels) are smaller than the neighborhood that makes the relief.
_STROKES = 15
# Differences below this share of the full range are noise.
_NOISE_SHARE = 10 / 255
_MIN_SCORE = 0.5
# Small images are enlarged to this side, since small text is not detected.
_MIN_SIDE = 900
_MAX_SCALE = 3.0


@dataclass(frozen=True)
class RecognizedText:
    """A line of text.

    Attributes
    ----------
    text
        The recognized text.
    score
        Confidence of the recognition, 0..1.
    box
        x0, y0, x1, y1 in pixels.
    """

    text: str
    score: float
    box: tuple[int, int, int, int]


class TextRecognizer:
    """Reads images, one at a time, on one thread."""

    def __init__(self) -> None:
        try:
            import cv2
            from rapidocr_onnxruntime import RapidOCR
        except ImportError as error:
            raise Unavailable(
                "The library that recognizes text in images is missing. Install it with: "
                "pip install --no-deps rapidocr-onnxruntime. Or scan without pixels."
            ) from error
        cv2.setNumThreads(1)
        self._cv2 = cv2
        self._ocr: Any = RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)
        self._lock = threading.Lock()

    def read(self, picture: NDArray[np.uint8]) -> list[RecognizedText]:
        """Read all lines of an image.

        Parameters
        ----------
        picture
            H x W x 3, RGB.

        Returns
        -------
        list of RecognizedText
            A line that is read twice occurs twice.
        """
        lines: list[RecognizedText] = []
        relief = self._relief(picture)
        with self._lock:
            for source in (picture[:, :, ::-1], relief):
                for top, left, tile in _tiles(source):
                    lines += self._read_tile(tile, left, top)
            if max(picture.shape[:2]) > _TILE:  # text that is larger than a tile
                scale = _TILE / max(picture.shape[:2])
                lines += self._read_tile(np.ascontiguousarray(picture[:, :, ::-1]), 0, 0, scale)
        return lines

    def _read_tile(
        self, tile: NDArray[np.uint8], left: int, top: int, scale: float | None = None
    ) -> Iterator[RecognizedText]:
        rows, columns = tile.shape[:2]
        factor = scale or min(_MAX_SCALE, max(1.0, _MIN_SIDE / max(rows, columns)))
        size = max(48, round(columns * factor)), max(48, round(rows * factor))
        interpolation = self._cv2.INTER_AREA if factor < 1 else self._cv2.INTER_CUBIC
        enlarged = self._cv2.resize(np.ascontiguousarray(tile), size, interpolation=interpolation)
        across, down = columns / size[0], rows / size[1]
        result, _ = self._ocr(enlarged, text_score=_MIN_SCORE, box_thresh=0.4)
        for corners, text, score in result or ():
            x, y = np.asarray(corners, float).T
            box = x.min() * across + left, y.min() * down + top, x.max() * across + left, y.max() * down + top
            x0, y0, x1, y1 = (max(0, round(coordinate)) for coordinate in box)
            yield RecognizedText(str(text).strip(), float(score), (x0, y0, x1, y1))

    def _relief(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Compute by how much each pixel is brighter or darker than its neighborhood."""
        grey = picture.max(-1)
        neighborhood = self._cv2.getStructuringElement(self._cv2.MORPH_RECT, (2 * _STROKES + 1, 2 * _STROKES + 1))
        bright = self._cv2.morphologyEx(grey, self._cv2.MORPH_TOPHAT, neighborhood)
        dark = self._cv2.morphologyEx(grey, self._cv2.MORPH_BLACKHAT, neighborhood)
        stands_out = np.maximum(bright, dark).astype(np.float32)
        # Relative to the maximum of the neighborhood, so that dim text becomes as strong as bright text.
        maximum = self._cv2.blur(self._cv2.dilate(stands_out, neighborhood), (2 * _STROKES + 1, 2 * _STROKES + 1))
        relief = 255 * stands_out / np.maximum(maximum, 255 * _NOISE_SHARE)
        return np.repeat(np.clip(relief, 0, 255).astype(np.uint8)[:, :, None], 3, 2)


@cache
def text_recognizer() -> TextRecognizer:
    """Return the recognizer of this process; its networks take about 130 MB."""
    return TextRecognizer()


def _tiles(picture: NDArray[np.uint8]) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    rows, columns = picture.shape[:2]
    step = _TILE - _TILE_OVERLAP
    for top in range(0, max(1, rows - _TILE_OVERLAP), step):
        for left in range(0, max(1, columns - _TILE_OVERLAP), step):
            yield top, left, picture[top : top + _TILE, left : left + _TILE]


# Markers of laterality, positions, scales and settings, which identify nobody.
_UNITS = (
    *("mm", "cm", "um", "µm", "kv", "kvp", "ma", "mas", "ms", "sec", "hz", "khz", "mhz", "db", "bpm", "fps", "deg"),
    *("hu", "gy", "mgy", "px", "min", "fr", "cm/s", "m/s", "mm/s", "mmhg", "ml", "mg", "kg", "pix", "frm"),
)
_MARKS = (
    *("left", "right", "erect", "supine", "prone", "portable", "lateral", "upright", "oblique", "decubitus", "sitting"),
    *("anterior", "posterior", "superior", "inferior", "ant", "post", "lat", "med", "sup", "inf", "obl", "ap", "pa"),
    *("lao", "rao", "cc", "mlo", "lcc", "rcc", "lmlo", "rmlo", "head", "feet", "axial", "coronal", "sagittal", "axi"),
    *("gain", "depth", "freq", "dist", "zoom", "scale", "time", "mag", "tis", "tib", "tic", "mi", "dr", "fps", "gen"),
    *("res", "pwr", "prf", "wf", "svd", "sv", "angle", "vel", "map", "frame", "slice", "thk", "fov", "te", "tr", "ti"),
    *("win", "level", "width", "ww", "wl", "min", "max", "mean", "area", "std", "vol", "ratio", "image", "series"),
    *("expiration", "inspiration", "internal", "external", "rotation", "weight", "bearing", "standing", "view", "port"),
)
_MARK = re.compile(rf"(?:{'|'.join(sorted({*_MARKS, *_UNITS}, key=lambda mark: -len(mark)))})+$")
_PARTS = re.compile(r"[^\W\d_]+|\d+")
_MAX_DIGITS = 4


def is_mark(text: str) -> bool:
    """Whether a line consists of markers only: one or two letters, short numbers, units, laterality and settings."""
    return all(
        len(part) <= _MAX_DIGITS if part.isdigit() else len(part) <= 2 or _MARK.match(part) or _misread(part)
        for part in _PARTS.findall(text.casefold())
    )


def _misread(part: str) -> bool:
    """Whether a word is one of the longer markers with one letter misread or cut off."""
    return len(part) >= 5 and any(
        abs(len(part) - len(mark)) <= 1 and SequenceMatcher(None, part, mark).ratio() >= 0.83
        for mark in _MARKS
        if len(mark) >= 6
    )
