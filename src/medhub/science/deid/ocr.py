# SPDX-License-Identifier: Apache-2.0
"""Writing in pictures: where it is, and what it says.

Each picture is looked at three times: as it is shown; with what stands out of its surroundings raised to the same
strength everywhere, since dim writing on black is found in no other way; and that turned by a quarter, since small
writing that runs up or down is.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medhub.errors import Unavailable
from medhub.science.deid.onnx_fusion import faster
from medhub.science.deid.text_detection import Detector
from medhub.science.deid.text_or_tissue import (
    SURELY,
    is_cloud,
    is_one_more,
    is_round,
    is_row,
    is_thick,
    is_tissue,
    thick_share,
)

# Surroundings, in pixels, and what is added to their variation: noise of single levels is not raised to writing.
_AROUND = 31
_FLOOR = 3.0
_GAIN = 60.0
_FOUND = 0.35
READ = 0.5
# What is higher than this (pixels) and cannot be read at all is no writing; the second where it is dim.
_HIGHEST = 64
_HIGHEST_DIM = 32
# What is read so surely is not read upside down too.
_THIS_WAY_UP = 0.9
# Runs of a network after which it gives its memory back.
_GIVEN_BACK_EVERY = 16
# So many readings are tried, and fewer of what looks like cells.
_WAYS = 6
_WAYS_OF_CELLS = 2
# A find that lies so far within another of its height is a part of it; so is a stroke that is shorter than that.
_PART = 0.8
_SAME_HEIGHT = 0.4
_STROKE = 1.5
# A find that reads badly repeats another if so much of it lies within that, and so many of its signs are those.
_REPEATS_WITHIN = 0.2
_REPEATS = 0.8

# A piece of writing as it was found, and the picture that it was found in.
_Seen = tuple[NDArray[np.float32], NDArray[np.uint8]]


class OcrUnavailable(Unavailable):
    """The library that reads is not installed."""

    code = "reader-missing"


@dataclass(frozen=True)
class TextRegion:
    """A piece of writing.

    Attributes
    ----------
    corners
        4 x 2, x and y in pixels, from the upper left, clockwise as it is read.
    readings
        What it may say, with how sure that is, 0..1; the surest first.
    thick
        Share of its ink that lies deep inside of strokes, 0..1.
    """

    corners: NDArray[np.float32]
    readings: tuple[tuple[str, float], ...]
    thick: float = 0.0

    @property
    def sides(self) -> NDArray[np.floating[Any]]:
        """Lengths of its four sides, in pixels."""
        return _sides(self.corners)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The upright box around it: x0, y0, x1, y1, the last two not included."""
        low, high = np.floor(self.corners.min(0)), np.ceil(self.corners.max(0))
        return int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1


class TextReader:
    """Finds and reads writing with RapidOCR (PP-OCRv4), which needs no network; one thread, one picture at a time."""

    def __init__(self) -> None:
        try:
            import cv2
            from rapidocr_onnxruntime import RapidOCR
        except ImportError as error:
            raise OcrUnavailable(
                "The library that finds writing in pictures is missing. Install it with: "
                "pip install --no-deps rapidocr-onnxruntime"
            ) from error
        cv2.setNumThreads(1)
        self._cv2 = cv2
        self._ocr: Any = RapidOCR(
            intra_op_num_threads=1, inter_op_num_threads=1, det_box_thresh=_FOUND, det_score_mode="slow"
        )
        # Which way up writing is, is tried by reading it.
        self._ocr.text_cls = None
        for network in (self._ocr.text_det.infer, self._ocr.text_rec.session):
            network.session = _Network(Path(network.session._model_path).read_bytes())
        self._detector = Detector(cv2, self._ocr.text_det)
        self._guard = threading.Lock()

    def find(
        self,
        picture: NDArray[np.uint8],
        values: NDArray[Any] | None = None,
        *,
        settled: Callable[[str, float], bool] = lambda text, score: score >= READ,
        low: bool = True,
    ) -> tuple[TextRegion, ...]:
        """Find writing, and read it.

        Parameters
        ----------
        picture
            H x W x 3, RGB, as it is shown.
        values
            H x W, the stored values, where they hold more than the picture shows; else its mean is taken.
        settled
            Whether a text, read so surely, needs no second reading; others are read again in other ways.
        low
            Whether letters may be as low as on the screens of old devices.

        Returns
        -------
        tuple of Writing
        """
        plain = np.ascontiguousarray(picture[:, :, ::-1])
        raised = self._raised(_grey(picture) if values is None else values)
        with self._guard:
            found = self._detector.find(((plain, False), (raised, False), (raised, True)), low=low)
            pieces = self._pieces(found, settled)
            several = [one for one in pieces if self._is_cloud(one, plain, found) or is_row(one.sides, one.readings)]
            pieces = [one for one in pieces if not any(one is other for other in several)]
            for box in [one.box for one in several]:
                # Lines that touch one another cannot be read as one, and between the cells of a row a name may stand.
                apart = [
                    (quad, source) for source in (plain, raised) for quad in self._detector.within(source, box, scale=2)
                ]
                inner = self._pieces(apart, settled)
                pieces += [one for one in inner if not is_cloud(one.sides.min(), one.readings, _HIGHEST_DIM)]
        pieces = [one for one in pieces if not any(self._repeats(one, other) for other in pieces if other is not one)]
        rounds = sum(is_round(one.readings) for one in pieces)
        return tuple(one for one in pieces if not is_tissue(one.sides, one.readings, one.thick, rounds))

    def _pieces(self, found: list[_Seen], settled: Callable[[str, float], bool]) -> list[TextRegion]:
        """Read what was found, the largest first; parts of a line that was read surely are not read again."""
        pieces: list[TextRegion] = []
        sure: list[NDArray[np.float32]] = []
        rounds = 0
        for group in sorted(_grouped(found), key=lambda one: -_area(one[0][0])):
            outline = _outline([quad for quad, _ in group])
            if any(self._is_part(outline, whole) for whole in sure):
                continue
            crops = [crop for quad, source in group if (crop := self._crop(quad, source)) is not None]
            thick = min((thick_share(self._cv2, crop) for crop in crops), default=1.0)
            if is_one_more(_sides(outline), thick, rounds):
                continue
            grown = (self._crop(_grown(quad), source) for quad, source in group)
            readings = self._read(itertools.chain(crops, grown), is_thick(thick), settled)
            piece = TextRegion(outline, readings, thick)
            rounds += is_round(readings)
            pieces.append(piece)
            ring = is_round(readings) or is_row(piece.sides, readings)
            if readings and not ring and readings[0][1] >= SURELY and settled(*readings[0]):
                sure.append(outline)
        return pieces

    def _is_part(self, inner: NDArray[np.float32], outer: NDArray[np.float32]) -> bool:
        sides, height = _sides(inner), float(_sides(outer).min())
        if sides.min() < _SAME_HEIGHT * height and sides.max() > _STROKE * height:
            return False
        both, _ = self._cv2.intersectConvexConvex(inner, outer)
        return bool(both >= _PART * _area(inner))

    def _repeats(self, piece: TextRegion, other: TextRegion) -> bool:
        """Whether a piece that reads badly is a part of another, cut out awkwardly, and says what that says."""
        if not piece.readings or not other.readings:
            return False
        part, whole = piece.readings[0][0], other.readings[0][0]
        if len(part) > len(whole) or other.readings[0][1] < _THIS_WAY_UP or piece.readings[0][1] >= SURELY:
            return False
        both, _ = self._cv2.intersectConvexConvex(piece.corners, other.corners)
        if both < _REPEATS_WITHIN * _area(piece.corners):
            return False
        said = SequenceMatcher(None, part, whole, autojunk=False).get_matching_blocks()
        return sum(one.size for one in said) >= _REPEATS * len(part) > 0

    def _is_cloud(self, piece: TextRegion, plain: NDArray[np.uint8], found: list[_Seen]) -> bool:
        as_shown = any(source is plain and _same(quad, piece.corners) for quad, source in found)
        return is_cloud(piece.sides.min(), piece.readings, _HIGHEST if as_shown else _HIGHEST_DIM)

    def places(
        self, picture: NDArray[np.uint8], values: NDArray[Any] | None, changed: NDArray[np.bool_]
    ) -> list[NDArray[np.float32]]:
        """The corners of all writing that the raised look, which finds dim writing too, finds where a picture changed.

        Parameters
        ----------
        picture, values
            As for ``find``.
        changed
            H x W, true where it is not as a picture that was looked at.
        """
        raised = self._raised(_grey(picture) if values is None else values)
        with self._guard:
            return [
                quad for box in self._detector.boxes_of(changed) for quad in self._detector.at_its_size(raised, box)
            ]

    def fill(self, mask: NDArray[np.bool_], corners: NDArray[np.float32], pad: int) -> None:
        """Set a mask (H x W) where a piece of writing is, and so many pixels around it."""
        drawn: NDArray[np.uint8] = np.zeros(mask.shape, np.uint8)
        self._cv2.fillPoly(drawn, [np.round(corners).astype(np.int32)], 1)
        if pad:
            drawn = np.asarray(self._cv2.dilate(drawn, np.ones((2 * pad + 1, 2 * pad + 1), np.uint8)), np.uint8)
        mask |= drawn.astype(bool)

    def _raised(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Write each pixel by how far it stands out of its surroundings, in their standard deviations (H x W x 3)."""
        grey = values.astype(np.float32)
        low, high = float(grey.min()), float(grey.max())
        if high - low > 255:  # so that the floor means one level of 256, whatever the bits
            grey = (grey - low) * (255 / (high - low))
        around = (_AROUND, _AROUND)
        mean = self._cv2.blur(grey, around)
        spread = np.sqrt(np.maximum(self._cv2.blur(grey * grey, around) - mean * mean, 0))
        raised = np.clip(127 + _GAIN * (grey - mean) / (spread + _FLOOR), 0, 255).astype(np.uint8)
        return np.asarray(self._cv2.merge([raised] * 3))

    def _read(
        self, crops: Iterable[NDArray[np.uint8] | None], thick: bool, settled: Callable[[str, float], bool]
    ) -> tuple[tuple[str, float], ...]:
        """Read a find in several ways, until one is sure; the surest reading first."""
        readings: list[tuple[str, float]] = []
        for crop in crops:
            if crop is not None:
                readings.append(self._read_either_way_up(crop))
                few = thick or is_round(readings)
                if settled(*readings[-1]) or len(readings) >= (_WAYS_OF_CELLS if few else _WAYS):
                    break
        return tuple(sorted(readings, key=lambda one: -one[1]))

    def _crop(self, quad: NDArray[np.float32], source: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        crop: NDArray[np.uint8] = self._ocr.get_crop_img_list(source, [quad])[0]
        return crop if min(crop.shape[:2]) > 1 else None

    def _read_either_way_up(self, crop: NDArray[np.uint8]) -> tuple[str, float]:
        best = self._read_crop(crop)
        # Rings are the same either way.
        if best[1] < _THIS_WAY_UP and not is_round([best]):
            best = max(best, self._read_crop(np.ascontiguousarray(np.rot90(crop, 2))), key=lambda one: one[1])
        return best

    def _read_crop(self, crop: NDArray[np.uint8]) -> tuple[str, float]:
        ((text, score, *_),), _ = self._ocr.text_rec([crop], False)
        return str(text), float(score)


class _Network:
    """A session of onnxruntime in the form that RapidOCR calls.

    What it computes in stays with it, since asking for memory anew takes half as long as computing; now and then it is
    given back, since pictures of many sizes leave more and more of it behind.
    """

    def __init__(self, model: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(faster(model), options, providers=["CPUExecutionProvider"])
        self._keeping, self._giving_back = onnxruntime.RunOptions(), onnxruntime.RunOptions()
        self._giving_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._runs = itertools.count(1)
        self.get_inputs, self.get_outputs = self._session.get_inputs, self._session.get_outputs

    def run(self, names: list[str], values: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Compute; only one thread does at a time."""
        how = self._keeping if next(self._runs) % _GIVEN_BACK_EVERY else self._giving_back
        found: list[NDArray[Any]] = self._session.run(names, values, how)
        return found


@cache
def text_reader() -> TextReader:
    """The reader of this process; its networks take some 130 MB."""
    return TextReader()


def _grey(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The mean of the three colors."""
    third = np.float32(1 / 3)
    return (picture[:, :, 0].astype(np.float32) + picture[:, :, 1] + picture[:, :, 2]) * third


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


def _sides(quad: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
    return np.asarray(np.linalg.norm(quad - np.roll(quad, 1, 0), axis=1))


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
