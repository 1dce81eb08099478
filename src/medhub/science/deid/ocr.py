# SPDX-License-Identifier: Apache-2.0
"""Optical character recognition: text regions in images, and their text.

Each image is searched in three renderings: as displayed; with local contrast equalized, which makes dim text on black
detectable; and the equalized rendering rotated by 90 degrees, for small vertical text.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medhub.errors import Unavailable
from medhub.science.deid.onnx_fusion import fuse_operations
from medhub.science.deid.text_detection import Box, Detector, boxes_of_mask
from medhub.science.deid.text_or_tissue import (
    CERTAIN_SCORE,
    is_cell_row,
    is_likely_cell,
    is_round,
    is_shadow,
    is_thick,
    is_tissue,
    thick_share,
)

# Side of the neighborhood in pixels, and what is added to its deviation, so that noise is not amplified to text.
_NEIGHBORHOOD = 31
_MIN_DEVIATION = 3.0
_GAIN = 60.0
_DETECTION_THRESHOLD = 0.35
MIN_SCORE = 0.5
# An illegible region that is higher than this (pixels) is not text; the second value is for dim regions.
_MAX_HEIGHT = 64
_MAX_HEIGHT_DIM = 32
# A text with this score is not read upside down as well.
_UPRIGHT_SCORE = 0.9
# Runs of a network after which it releases its memory.
_RUNS_BETWEEN_SHRINKS = 16
# Number of readings that are tried; fewer for regions that look like cells.
_MAX_READINGS = 6
_MAX_READINGS_OF_CELLS = 2
# A detection is a part of another of similar height if this share of it lies within; so is a short stroke.
_PART_OVERLAP = 0.8
_MIN_HEIGHT_SHARE = 0.4
_MAX_STROKE_RATIO = 1.5
# A badly legible detection duplicates another if this share of it lies within, and this share of its text agrees.
_DUPLICATE_OVERLAP = 0.2
_DUPLICATE_SHARE = 0.8

# The corners of a detected text, and the rendering that it was detected in.
_Detection = tuple[NDArray[np.float32], NDArray[np.uint8]]


class OcrUnavailable(Unavailable):
    """The OCR library is not installed."""

    code = "reader-missing"


@dataclass(frozen=True)
class TextRegion:
    """A region of text.

    Attributes
    ----------
    corners
        4 x 2, x and y in pixels, from the upper left, clockwise as it is read.
    readings
        Recognized texts with their scores, 0..1; the best first.
    thick
        Share of its ink that lies deep inside strokes, 0..1.
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
        """Its bounding box: x0, y0, x1, y1, the last two not included."""
        low, high = np.floor(self.corners.min(0)), np.ceil(self.corners.max(0))
        return int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1


class TextReader:
    """Detects and recognizes text with RapidOCR (PP-OCRv4), offline; one thread, one image at a time."""

    def __init__(self) -> None:
        try:
            import cv2
            from rapidocr_onnxruntime import RapidOCR
        except ImportError as error:
            raise OcrUnavailable(
                "The library that recognizes text in images is missing. Install it with: "
                "pip install --no-deps rapidocr-onnxruntime"
            ) from error
        cv2.setNumThreads(1)
        self._cv2 = cv2
        self._ocr: Any = RapidOCR(
            intra_op_num_threads=1, inter_op_num_threads=1, det_box_thresh=_DETECTION_THRESHOLD, det_score_mode="slow"
        )
        # The orientation of a text is found by reading it both ways.
        self._ocr.text_cls = None
        for network in (self._ocr.text_det.infer, self._ocr.text_rec.session):
            network.session = _Network(Path(network.session._model_path).read_bytes())
        self._detector = Detector(cv2, self._ocr.text_det)
        self._lock = threading.Lock()

    def find(
        self,
        picture: NDArray[np.uint8],
        values: NDArray[Any] | None = None,
        *,
        is_final: Callable[[str, float], bool] = lambda text, score: score >= MIN_SCORE,
        low: bool = True,
        areas: Sequence[Box] | None = None,
    ) -> tuple[TextRegion, ...]:
        """Detect text and read it.

        Parameters
        ----------
        picture
            H x W x 3, RGB, as displayed.
        values
            H x W, the stored values, if they contain more than the rendering; by default the mean of its colors.
        is_final
            Whether a text with this score needs no second reading; others are read again in other ways.
        low
            Whether letters may be as small as on the screens of old devices.
        areas
            Where to search; by default the complete image.

        Returns
        -------
        tuple of TextRegion
        """
        plain = np.ascontiguousarray(picture[:, :, ::-1])
        equalized = self._equalize_contrast(_to_gray(picture) if values is None else values)
        with self._lock:
            detections = self._detect(plain, equalized, low, areas)
            regions = self._read_detections(detections, is_final)
            cell_rows = [
                region
                for region in regions
                if self._is_shadow(region, plain, detections) or is_cell_row(region.sides, region.readings)
            ]
            regions = [region for region in regions if not any(region is row for row in cell_rows)]
            for row_box in [row.box for row in cell_rows]:
                # Touching lines cannot be read as one, and a name may be between the cells of a row.
                detections = [
                    (quad, source)
                    for source in (plain, equalized)
                    for quad in self._detector.find_enlarged(source, row_box, scale=2)
                ]
                inner_regions = self._read_detections(detections, is_final)
                regions += [
                    region
                    for region in inner_regions
                    if not is_shadow(region.sides.min(), region.readings, _MAX_HEIGHT_DIM)
                ]
        regions = [
            region
            for region in regions
            if not any(self._is_duplicate(region, other) for other in regions if other is not region)
        ]
        rounds = sum(is_round(region.readings) for region in regions)
        return tuple(region for region in regions if not is_tissue(region.sides, region.readings, region.thick, rounds))

    def _detect(
        self, plain: NDArray[np.uint8], equalized: NDArray[np.uint8], low: bool, areas: Sequence[Box] | None
    ) -> list[_Detection]:
        renderings = ((plain, False), (equalized, False), (equalized, True))
        if areas is None:
            return self._detector.find(renderings, low=low)
        by_area = (self._detector.find_in_area(renderings, area, low=low) for area in areas)
        return list(itertools.chain.from_iterable(by_area))

    def _read_detections(
        self, detections: list[_Detection], is_final: Callable[[str, float], bool]
    ) -> list[TextRegion]:
        """Read detections, the largest first; parts of a line with a certain reading are skipped."""
        regions: list[TextRegion] = []
        certain_outlines: list[NDArray[np.float32]] = []
        cell_count = 0
        for group in sorted(_group_detections(detections), key=lambda group: -_area(group[0][0])):
            outline = _outline([quad for quad, _ in group])
            if any(self._is_part(outline, certain) for certain in certain_outlines):
                continue
            crops = [crop for quad, source in group if (crop := self._crop(quad, source)) is not None]
            thick = min((thick_share(self._cv2, crop) for crop in crops), default=1.0)
            if is_likely_cell(_sides(outline), thick, cell_count):
                continue
            enlarged_crops = (self._crop(_enlarge(quad), source) for quad, source in group)
            readings = self._read_crops(itertools.chain(crops, enlarged_crops), is_thick(thick), is_final)
            region = TextRegion(outline, readings, thick)
            cell_count += is_round(readings)
            regions.append(region)
            is_ring = is_round(readings) or is_cell_row(region.sides, readings)
            if readings and not is_ring and readings[0][1] >= CERTAIN_SCORE and is_final(*readings[0]):
                certain_outlines.append(outline)
        return regions

    def _is_part(self, inner: NDArray[np.float32], outer: NDArray[np.float32]) -> bool:
        sides, height = _sides(inner), float(_sides(outer).min())
        if sides.min() < _MIN_HEIGHT_SHARE * height and sides.max() > _MAX_STROKE_RATIO * height:
            return False
        both, _ = self._cv2.intersectConvexConvex(inner, outer)
        return bool(both >= _PART_OVERLAP * _area(inner))

    def _is_duplicate(self, region: TextRegion, other: TextRegion) -> bool:
        """Whether a badly legible region is a part of another and has its text."""
        if not region.readings or not other.readings:
            return False
        part, text = region.readings[0][0], other.readings[0][0]
        if len(part) > len(text) or other.readings[0][1] < _UPRIGHT_SCORE or region.readings[0][1] >= CERTAIN_SCORE:
            return False
        both, _ = self._cv2.intersectConvexConvex(region.corners, other.corners)
        if both < _DUPLICATE_OVERLAP * _area(region.corners):
            return False
        blocks = SequenceMatcher(None, part, text, autojunk=False).get_matching_blocks()
        return sum(block.size for block in blocks) >= _DUPLICATE_SHARE * len(part) > 0

    def _is_shadow(self, region: TextRegion, plain: NDArray[np.uint8], detections: list[_Detection]) -> bool:
        in_plain_rendering = any(source is plain and _is_same_text(quad, region.corners) for quad, source in detections)
        return is_shadow(region.sides.min(), region.readings, _MAX_HEIGHT if in_plain_rendering else _MAX_HEIGHT_DIM)

    def find_text_boxes(
        self, picture: NDArray[np.uint8], values: NDArray[Any] | None, changed: NDArray[np.bool_]
    ) -> list[NDArray[np.float32]]:
        """Detect text, also dim text, in the changed areas of an image; return the corners.

        Parameters
        ----------
        picture, values
            As for ``find``.
        changed
            H x W, true where it differs from an image that was searched before.
        """
        equalized = self._equalize_contrast(_to_gray(picture) if values is None else values)
        with self._lock:
            return [quad for box in boxes_of_mask(changed) for quad in self._detector.find_unscaled(equalized, box)]

    def fill(self, mask: NDArray[np.bool_], corners: NDArray[np.float32], pad: int) -> None:
        """Set a mask (H x W) where a text is, with a margin of ``pad`` pixels."""
        drawn: NDArray[np.uint8] = np.zeros(mask.shape, np.uint8)
        self._cv2.fillPoly(drawn, [np.round(corners).astype(np.int32)], 1)
        if pad:
            drawn = np.asarray(self._cv2.dilate(drawn, np.ones((2 * pad + 1, 2 * pad + 1), np.uint8)), np.uint8)
        mask |= drawn.astype(bool)

    def _equalize_contrast(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Write each pixel as its difference from the local mean, in standard deviations (H x W x 3)."""
        gray = values.astype(np.float32)
        low, high = float(gray.min()), float(gray.max())
        if high - low > 255:  # so that the minimum deviation is in levels of 256 for any number of bits
            gray = (gray - low) * (255 / (high - low))
        window = (_NEIGHBORHOOD, _NEIGHBORHOOD)
        mean = self._cv2.blur(gray, window)
        spread = np.sqrt(np.maximum(self._cv2.blur(gray * gray, window) - mean * mean, 0))
        equalized = np.clip(127 + _GAIN * (gray - mean) / (spread + _MIN_DEVIATION), 0, 255).astype(np.uint8)
        return np.asarray(self._cv2.merge([equalized] * 3))

    def _read_crops(
        self, crops: Iterable[NDArray[np.uint8] | None], thick: bool, is_final: Callable[[str, float], bool]
    ) -> tuple[tuple[str, float], ...]:
        """Read a detection in several ways until a reading is certain; the best reading first."""
        readings: list[tuple[str, float]] = []
        for crop in crops:
            if crop is not None:
                readings.append(self._read_both_ways_up(crop))
                few = thick or is_round(readings)
                if is_final(*readings[-1]) or len(readings) >= (_MAX_READINGS_OF_CELLS if few else _MAX_READINGS):
                    break
        return tuple(sorted(readings, key=lambda reading: -reading[1]))

    def _crop(self, quad: NDArray[np.float32], source: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        crop: NDArray[np.uint8] = self._ocr.get_crop_img_list(source, [quad])[0]
        return crop if min(crop.shape[:2]) > 1 else None

    def _read_both_ways_up(self, crop: NDArray[np.uint8]) -> tuple[str, float]:
        best = self._read_crop(crop)
        # Rings are the same either way.
        if best[1] < _UPRIGHT_SCORE and not is_round([best]):
            best = max(best, self._read_crop(np.ascontiguousarray(np.rot90(crop, 2))), key=lambda reading: reading[1])
        return best

    def _read_crop(self, crop: NDArray[np.uint8]) -> tuple[str, float]:
        ((text, score, *_),), _ = self._ocr.text_rec([crop], False)
        return str(text), float(score)


class _Network:
    """A session of onnxruntime with the interface that RapidOCR expects.

    It keeps its working memory, since allocation takes half as long as the computation, and releases it now and then,
    since images of many sizes let it grow.
    """

    def __init__(self, model: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            fuse_operations(model), options, providers=["CPUExecutionProvider"]
        )
        self._keep_memory, self._shrink_memory = onnxruntime.RunOptions(), onnxruntime.RunOptions()
        self._shrink_memory.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._runs = itertools.count(1)
        self.get_inputs, self.get_outputs = self._session.get_inputs, self._session.get_outputs

    def run(self, names: list[str], values: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the network; one thread at a time."""
        options = self._keep_memory if next(self._runs) % _RUNS_BETWEEN_SHRINKS else self._shrink_memory
        outputs: list[NDArray[Any]] = self._session.run(names, values, options)
        return outputs


@cache
def text_reader() -> TextReader:
    """Return the reader of this process; its networks take about 130 MB."""
    return TextReader()


def _to_gray(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The mean of the three colors."""
    third = np.float32(1 / 3)
    return (picture[:, :, 0].astype(np.float32) + picture[:, :, 1] + picture[:, :, 2]) * third


def _enlarge(quad: NDArray[np.float32]) -> NDArray[np.float32]:
    """Extend a quadrangle by half its height at each end and a fifth above and below: detection cuts letters off."""
    along, down = quad[1] - quad[0], quad[3] - quad[0]
    height, length = float(np.linalg.norm(down)), float(np.linalg.norm(along))
    if length < height:  # it stands upright
        along, down, height, length = down, along, length, height
    along, down = along / max(length, 1e-6) * height * 0.5, down * 0.2
    center = quad.mean(0)
    signs = np.sign((quad - center) @ np.stack([along, down], 1))
    return np.asarray(np.maximum(quad + signs @ np.stack([along, down]), 0), np.float32)


def _outline(quads: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Select the outline of a text that was detected several times: the smallest that cuts no letters off."""
    lengths = [float(np.linalg.norm(quad - np.roll(quad, 1, 0), axis=1).max()) for quad in quads]
    complete = [quad for quad, length in zip(quads, lengths, strict=True) if length >= 0.9 * max(lengths)]
    return min(complete, key=_area)


def _sides(quad: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
    return np.asarray(np.linalg.norm(quad - np.roll(quad, 1, 0), axis=1))


def _area(quad: NDArray[np.float32]) -> float:
    x, y = quad[:, 0], quad[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _group_detections(detections: list[_Detection]) -> list[list[_Detection]]:
    """Group detections of the same text, which overlap almost completely."""
    groups: list[list[_Detection]] = []
    for detection in detections:
        for group in groups:
            if _is_same_text(group[0][0], detection[0]):
                group.append(detection)
                break
        else:
            groups.append([detection])
    return groups


def _is_same_text(first: NDArray[np.float32], second: NDArray[np.float32]) -> bool:
    """Whether two detections are the same text: equal, or one is the other with its end cut off."""
    low, high = np.maximum(first.min(0), second.min(0)), np.minimum(first.max(0), second.max(0))
    both = float(np.prod(np.maximum(high - low, 0)))
    sizes = sorted(float(np.prod(quad.max(0) - quad.min(0))) for quad in (first, second))
    return both > 0.6 * (sum(sizes) - both) or (both > 0.8 * sizes[0] and sizes[1] < 3 * sizes[0])
