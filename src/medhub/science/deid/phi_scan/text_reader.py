# SPDX-License-Identifier: Apache-2.0
"""Writing in pictures, read by RapidOCR as it comes, with a preparation of its own.

Each picture is read twice: as it is shown, and as relief: what is brighter or darker than all around it within a few
strokes, which brings out dim writing on black and writing over tissue.
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

# Pictures are read in pieces of this side, so that memory is bounded and small writing is not shrunk.
_PIECE = 1024
_SHARED = 160
# Letters of up to this height (pixels) are smaller than the neighborhood that makes the relief.
_STROKES = 15
# Differences below this share of the full range are noise.
_NOISE = 10 / 255
_LEAST_SURE = 0.5
# Writing smaller than this is not found, so small pictures are enlarged to such a side.
_LEAST_SIDE = 900
_LARGEST = 3.0


@dataclass(frozen=True)
class RecognizedText:
    """A line of writing.

    Attributes
    ----------
    text
        What it says.
    sure
        How sure that is, 0..1.
    box
        x0, y0, x1, y1 in pixels.
    """

    text: str
    sure: float
    box: tuple[int, int, int, int]


class TextRecognizer:
    """Reads pictures, one at a time, on one thread."""

    def __init__(self) -> None:
        try:
            import cv2
            from rapidocr_onnxruntime import RapidOCR
        except ImportError as error:
            raise Unavailable(
                "The library that reads writing in pictures is missing. Install it with: "
                "pip install --no-deps rapidocr-onnxruntime. Or do without pixels."
            ) from error
        cv2.setNumThreads(1)
        self._cv2 = cv2
        self._ocr: Any = RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)
        self._guard = threading.Lock()

    def read(self, picture: NDArray[np.uint8]) -> list[RecognizedText]:
        """Read all lines of a picture.

        Parameters
        ----------
        picture
            H x W x 3, RGB.

        Returns
        -------
        list of Reading
            What is read twice is there twice.
        """
        found: list[RecognizedText] = []
        relief = self._relief(picture)
        with self._guard:
            for source in (picture[:, :, ::-1], relief):
                for top, left, piece in _pieces(source):
                    found += self._lines(piece, left, top)
            if max(picture.shape[:2]) > _PIECE:  # writing that is larger than a piece
                small = _PIECE / max(picture.shape[:2])
                found += self._lines(np.ascontiguousarray(picture[:, :, ::-1]), 0, 0, small)
        return found

    def _lines(
        self, piece: NDArray[np.uint8], left: int, top: int, scale: float | None = None
    ) -> Iterator[RecognizedText]:
        rows, columns = piece.shape[:2]
        wanted = scale or min(_LARGEST, max(1.0, _LEAST_SIDE / max(rows, columns)))
        size = max(48, round(columns * wanted)), max(48, round(rows * wanted))
        way = self._cv2.INTER_AREA if wanted < 1 else self._cv2.INTER_CUBIC
        enlarged = self._cv2.resize(np.ascontiguousarray(piece), size, interpolation=way)
        across, down = columns / size[0], rows / size[1]
        result, _ = self._ocr(enlarged, text_score=_LEAST_SURE, box_thresh=0.4)
        for corners, text, sure in result or ():
            x, y = np.asarray(corners, float).T
            box = x.min() * across + left, y.min() * down + top, x.max() * across + left, y.max() * down + top
            x0, y0, x1, y1 = (max(0, round(one)) for one in box)
            yield RecognizedText(str(text).strip(), float(sure), (x0, y0, x1, y1))

    def _relief(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Show by how much each pixel is brighter or darker than everything within reach of a stroke."""
        grey = picture.max(-1)
        around = self._cv2.getStructuringElement(self._cv2.MORPH_RECT, (2 * _STROKES + 1, 2 * _STROKES + 1))
        bright = self._cv2.morphologyEx(grey, self._cv2.MORPH_TOPHAT, around)
        dark = self._cv2.morphologyEx(grey, self._cv2.MORPH_BLACKHAT, around)
        stands_out = np.maximum(bright, dark).astype(np.float32)
        # By what stands out most in the neighborhood, so that dim writing becomes as strong as bright writing.
        most = self._cv2.blur(self._cv2.dilate(stands_out, around), (2 * _STROKES + 1, 2 * _STROKES + 1))
        shown = 255 * stands_out / np.maximum(most, 255 * _NOISE)
        return np.repeat(np.clip(shown, 0, 255).astype(np.uint8)[:, :, None], 3, 2)


@cache
def text_recognizer() -> TextRecognizer:
    """The reader of this process; its networks take some 130 MB."""
    return TextRecognizer()


def _pieces(picture: NDArray[np.uint8]) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    rows, columns = picture.shape[:2]
    step = _PIECE - _SHARED
    for top in range(0, max(1, rows - _SHARED), step):
        for left in range(0, max(1, columns - _SHARED), step):
            yield top, left, picture[top : top + _PIECE, left : left + _PIECE]


# Marks of sides, positions, scales and settings, which say nothing of anybody.
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
_MARK = re.compile(rf"(?:{'|'.join(sorted({*_MARKS, *_UNITS}, key=lambda one: -len(one)))})+$")
_PARTS = re.compile(r"[^\W\d_]+|\d+")
_LONGEST_NUMBER = 4


def is_mark(text: str) -> bool:
    """Whether a line is of marks only: single and double letters, short numbers, units, sides and settings."""
    return all(
        len(part) <= _LONGEST_NUMBER if part.isdigit() else len(part) <= 2 or _MARK.match(part) or _misread(part)
        for part in _PARTS.findall(text.casefold())
    )


def _misread(part: str) -> bool:
    """Whether a word is one of the longer marks with one letter misread or cut off."""
    return len(part) >= 5 and any(
        abs(len(part) - len(mark)) <= 1 and SequenceMatcher(None, part, mark).ratio() >= 0.83
        for mark in _MARKS
        if len(mark) >= 6
    )
