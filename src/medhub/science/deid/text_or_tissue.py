# SPDX-License-Identifier: Apache-2.0
"""Classification of detections as text or as cells, bubbles, bones and edges of shadows.

Text has strokes that are thin compared with its height, in every script. Cells are filled, or rings that read as O, 0
and 8, and they occur in large numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Score below which a reading is illegible, and scores from which short words and rings count as certain.
MIN_LEGIBLE_SCORE = 0.45
CERTAIN_SCORE = 0.8
_CERTAIN_SCORE_THICK = 0.9
# A region as high as wide, higher than this (pixels), needs this score: large text is well legible.
_MAX_ILLEGIBLE_HEIGHT = 64
_MIN_LARGE_SCORE = 0.6
_CERTAIN_SCORE_ROUND = 0.98
# Lengths by height: of cells, and of the shortest words.
_MAX_CELL_RATIO = 1.8
_MAX_SHORT_RATIO = 3.2
_ROUND_SHARE = 0.85
_ROUND_SIGNS = frozenset("oO0QcC〇")
_ROUND_DIGITS = frozenset("oO0Q〇8")
# Among this many rings, a badly legible and mostly round detection is a cell as well.
_MANY_CELLS = 4
_MOSTLY_ROUND = 0.6
# Ink is thick if it lies deeper than this share of the height; text has less thick ink than the second share.
_DEEP_BY_HEIGHT = 0.14
_MAX_THICK_SHARE = 0.15

Readings = Sequence[tuple[str, float]]


def thick_share(cv2: Any, crop: NDArray[np.uint8]) -> float:
    """Share of the ink that lies deep inside strokes, relative to the height of the crop (H x W x 3).

    Otsu's threshold separates ink from the level of the border.
    """
    height = min(crop.shape[:2])
    grey = cv2.GaussianBlur(crop.mean(-1).astype(np.float32), (0, 0), max(0.5, height / 24))
    grey = cv2.normalize(grey, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    _, light = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]]).mean()
    ink = (light == (0 if border > 0.5 else 1)).astype(np.uint8)
    if not ink.any():
        return 1.0
    deep = cv2.distanceTransform(ink, cv2.DIST_L2, 3) > _DEEP_BY_HEIGHT * height
    return float(deep.sum() / ink.sum())


def is_thick(share: float) -> bool:
    """Whether the share of thick ink is greater than that of text."""
    return share >= _MAX_THICK_SHARE


def is_round(readings: Readings) -> bool:
    """Whether the readings are rings: almost only O, 0 and similar characters."""
    texts = [text for text, score in readings if score >= MIN_LEGIBLE_SCORE and text.strip()]
    characters = [character for text in texts for character in text if character.isalnum()]
    return bool(texts) and sum(character in _ROUND_SIGNS for character in characters) >= _ROUND_SHARE * len(characters)


def is_cell_row(sides: NDArray[Any], readings: Readings) -> bool:
    """Whether a detection is a line of mostly rings: a name may be between the cells of a row."""
    characters = [character for character in (readings[0][0] if readings else "") if character.isalnum()]
    round_count = sum(character in _ROUND_SIGNS or character in _ROUND_DIGITS for character in characters)
    long = float(sides.max()) > _MAX_SHORT_RATIO * float(sides.min())
    return long and round_count >= _MOSTLY_ROUND * len(characters) > 0 and readings[0][1] < _CERTAIN_SCORE_ROUND


def is_shadow(height: float, readings: Readings, highest: int) -> bool:
    """Whether a detection is higher than ``highest`` and illegible: the edge of a shadow."""
    return height > highest and all(score < MIN_LEGIBLE_SCORE for _, score in readings)


def is_tissue(sides: NDArray[Any], readings: Readings, share: float, rounds: int) -> bool:
    """Whether a detection is cells, bubbles or bones.

    A long and thin detection that is illegible counts as text in a script that the networks do not know.

    Parameters
    ----------
    sides
        Lengths of the four sides, in pixels.
    readings
        Recognized texts with their scores; the best first.
    share
        Share of thick ink.
    rounds
        Number of rings in the same image.
    """
    if is_round(readings):
        return True
    text, score = readings[0] if readings else ("", 0.0)
    characters = [character for character in text if character.isalnum()]
    if is_thick(share) and score < CERTAIN_SCORE:
        return True
    if rounds >= _MANY_CELLS and characters:
        round_count = sum(character in _ROUND_DIGITS for character in characters)
        if round_count == len(characters) and score < _CERTAIN_SCORE_ROUND:
            return True
        if round_count >= _MOSTLY_ROUND * len(characters) and score < CERTAIN_SCORE:
            return True
    length = float(sides.max() / max(sides.min(), 1.0))
    if length <= _MAX_CELL_RATIO and sides.min() > _MAX_ILLEGIBLE_HEIGHT and score < _MIN_LARGE_SCORE:
        return True
    certain = score >= (_CERTAIN_SCORE_THICK if is_thick(share) else CERTAIN_SCORE)
    return (length <= _MAX_CELL_RATIO and len(characters) < 2) or (
        length <= _MAX_SHORT_RATIO and len(characters) < 4 and not certain
    )


def is_likely_cell(sides: NDArray[Any], share: float, rounds: int) -> bool:
    """Whether a detection needs no reading: among many rings, a thick and short one is a cell."""
    return rounds >= 2 * _MANY_CELLS and is_thick(share) and float(sides.max()) <= _MAX_CELL_RATIO * float(sides.min())
