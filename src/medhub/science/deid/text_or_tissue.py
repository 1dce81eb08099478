# SPDX-License-Identifier: Apache-2.0
"""What the network finds and is no writing: cells, bubbles, bones, edges of shadows.

Writing is drawn with strokes that are thin beside its height, in every script. Cells are filled, or rings: these read
as O, 0 and 8, and where there are some, there are many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Readings less sure than this say nothing; and how surely a short word is read, and what is nothing but rings.
SAYS_NOTHING = 0.45
SURELY = 0.8
_SURELY_THICK = 0.9
_SURELY_ROUND = 0.98
# Lengths by height: of cells, and of the shortest words.
_ROUND = 1.8
_SHORT = 3.2
_NEARLY_ALL = 0.85
_ROUND_SIGNS = frozenset("oO0QcC〇")
_ROUND_DIGITS = frozenset("oO0Q〇8")
# Among so many rings, what reads badly and is mostly round is one more of them.
_MANY = 4
_MOSTLY = 0.6
# Ink is thick that lies deeper than this share of the height; so much thick ink is none of writing.
_DEEP = 0.14
_THICK = 0.15

Readings = Sequence[tuple[str, float]]


def thick_share(cv2: Any, crop: NDArray[np.uint8]) -> float:
    """Share of the ink that lies deep inside of strokes, by the height of the crop (H x W x 3).

    Ink is what Otsu's threshold parts from the level of the border.
    """
    height = min(crop.shape[:2])
    grey = cv2.GaussianBlur(crop.mean(-1).astype(np.float32), (0, 0), max(0.5, height / 24))
    grey = cv2.normalize(grey, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    _, light = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]]).mean()
    ink = (light == (0 if border > 0.5 else 1)).astype(np.uint8)
    if not ink.any():
        return 1.0
    deep = cv2.distanceTransform(ink, cv2.DIST_L2, 3) > _DEEP * height
    return float(deep.sum() / ink.sum())


def is_thick(share: float) -> bool:
    """Whether so much thick ink is more than writing has."""
    return share >= _THICK


def is_round(readings: Readings) -> bool:
    """Whether what was read is rings: O, 0 and the like, but for a sign here and there."""
    said = [text for text, score in readings if score >= SAYS_NOTHING and text.strip()]
    signs = [one for text in said for one in text if one.isalnum()]
    return bool(said) and sum(one in _ROUND_SIGNS for one in signs) >= _NEARLY_ALL * len(signs)


def is_row(sides: NDArray[Any], readings: Readings) -> bool:
    """Whether what was found is a line that is mostly rings: in a row of cells, a name may stand between them."""
    signs = [one for one in (readings[0][0] if readings else "") if one.isalnum()]
    round_ones = sum(one in _ROUND_SIGNS or one in _ROUND_DIGITS for one in signs)
    long = float(sides.max()) > _SHORT * float(sides.min())
    return long and round_ones >= _MOSTLY * len(signs) > 0 and readings[0][1] < _SURELY_ROUND


def is_cloud(height: float, readings: Readings, highest: int) -> bool:
    """Whether what was found is higher than that and says nothing at all: the edge of a shadow, not writing."""
    return height > highest and all(score < SAYS_NOTHING for _, score in readings)


def is_tissue(sides: NDArray[Any], readings: Readings, share: float, rounds: int) -> bool:
    """Whether what was found is cells, bubbles or bones.

    What is long, thin, and cannot be read is taken for writing of a script that the networks do not know.

    Parameters
    ----------
    sides
        Lengths of the four sides, in pixels.
    readings
        What it may say, and how surely; the surest first.
    share
        Of thick ink.
    rounds
        How many rings were found in the same picture.
    """
    if is_round(readings):
        return True
    text, score = readings[0] if readings else ("", 0.0)
    signs = [one for one in text if one.isalnum()]
    if is_thick(share) and score < SURELY:
        return True
    if rounds >= _MANY and signs:
        round_ones = sum(one in _ROUND_DIGITS for one in signs)
        if round_ones == len(signs) and score < _SURELY_ROUND:
            return True
        if round_ones >= _MOSTLY * len(signs) and score < SURELY:
            return True
    length = float(sides.max() / max(sides.min(), 1.0))
    sure = score >= (_SURELY_THICK if is_thick(share) else SURELY)
    return (length <= _ROUND and len(signs) < 2) or (length <= _SHORT and len(signs) < 4 and not sure)


def is_one_more(sides: NDArray[Any], share: float, rounds: int) -> bool:
    """Whether what was found needs no reading: among so many rings, what is as thick and as short as one is another."""
    return rounds >= 2 * _MANY and is_thick(share) and float(sides.max()) <= _ROUND * float(sides.min())
