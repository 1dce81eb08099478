# SPDX-License-Identifier: Apache-2.0
"""Which areas of a reconstructed image may contain text, in some milliseconds.

A network of 15,000 weights (tables/text_gate.onnx, trained by tools/train_text_gate.py on generated text of many fonts
and of scripts that do not exist) looks at an image at several scales. It says only where text may be; the text detector
decides.
"""

from __future__ import annotations

import threading
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medhub.science.deid.text_detection import Box, merge_overlapping_boxes

# The network gives one output for each cell of this side (pixels).
CELL = 8
# The area around a cell with a greater output is searched; bench/burned_in.py --reconstructed measures what it finds.
MIN_OUTPUT = 0.0
# At one of these scales, a text of 8 to 190 pixels has a height of 7 to 24 pixels, as those that the network learned.
# With each scale the margin around the cells, in cells: the ends of a text, and what the detector needs around it.
_MARGINS = {1: 3, 2: 2, 4: 1, 8: 1}
_MIN_SIDE = 32
# Shares of the sorted values that limit the displayed range, and the number of values that are sorted for it.
_PERCENTILES = (0.5, 99.5)
_MAX_SAMPLES = 40_000
# The detector takes sides that are multiples of this.
_SIZE_MULTIPLE = 32
# If the areas take more than this share of an image, all of it is searched.
_MAX_SHARE = 0.6


def find_text_areas(picture: NDArray[np.uint8], values: NDArray[np.float32] | None) -> list[Box]:
    """Find the areas of an image that may contain text of a contrast of a quarter of the displayed range.

    Parameters
    ----------
    picture
        H x W x 3, RGB, as displayed.
    values
        H x W, the stored values, if the rendering shows a window of them only.

    Returns
    -------
    list of boxes
        x0, y0, x1, y1, without overlaps, with the margin that the detector needs; empty if there is no text.
    """
    colored = bool((picture[..., 0] != picture[..., 1]).any() or (picture[..., 0] != picture[..., 2]).any())
    planes = [to_levels(picture[..., sample], displayed=True) for sample in range(3 if colored else 1)]
    if values is not None:
        planes.append(to_levels(values))
    rows, columns = picture.shape[:2]
    boxes: list[Box] = []
    for scale, margin in _MARGINS.items():
        if scale == 1 or min(rows, columns) // scale >= _MIN_SIDE:
            cells = _text_gate().outputs(planes, scale) > MIN_OUTPUT
            if cells.any():
                boxes += [_scale_box(box, CELL * scale, rows, columns) for box in _boxes_of_cells(cells, margin)]
    merged = merge_overlapping_boxes(boxes)
    if sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in merged) > _MAX_SHARE * rows * columns:
        return [(0, 0, columns, rows)]
    return merged


def to_levels(values: NDArray[Any], *, displayed: bool = False) -> NDArray[np.uint8]:
    """Scale values so that the range of most of them, or of the display, takes the middle half of 256 levels.

    Parameters
    ----------
    values
        H x W.
    displayed
        Whether they are gray levels as displayed.
    """
    if displayed:
        return np.asarray(64 + (values >> 1), np.uint8)
    step = max(1, int(np.sqrt(values.size / _MAX_SAMPLES)))
    low, high = (float(limit) for limit in np.percentile(values[::step, ::step], _PERCENTILES))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    scale = 127 / max(high - low, 1e-6)
    return np.asarray(np.clip((values - low) * scale + 64, 0, 255), np.uint8)


class _TextGate:
    """The network, in one session for each process; it uses one thread, for one image at a time."""

    def __init__(self) -> None:
        import cv2
        import onnxruntime

        cv2.setNumThreads(1)
        self._cv2 = cv2
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Images of many sizes would let the arena grow.
        options.enable_cpu_mem_arena = False
        model = files("medhub.science.deid").joinpath("tables/text_gate.onnx").read_bytes()
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._lock = threading.Lock()

    def outputs(self, planes: list[NDArray[np.uint8]], scale: int) -> NDArray[np.float32]:
        """Run the network on planes of equal size (H x W) at a scale; the greatest output of each cell."""
        rows, columns = (max(CELL, length // scale) for length in planes[0].shape)
        if scale > 1:
            way = self._cv2.INTER_AREA
            planes = [np.asarray(self._cv2.resize(plane, (columns, rows), interpolation=way)) for plane in planes]
        padding = ((0, -rows % CELL), (0, -columns % CELL))
        stacked = np.stack([np.pad(plane, padding, mode="edge") for plane in planes])[:, None]
        levels = stacked.astype(np.float32) * np.float32(1 / 255) - np.float32(0.5)
        with self._lock:
            outputs = self._session.run(None, {"levels": levels})[0]
        return np.asarray(outputs[:, 0].max(0))


@cache
def _text_gate() -> _TextGate:
    return _TextGate()


def _boxes_of_cells(cells: NDArray[np.bool_], margin: int) -> list[Box]:
    """Boxes around the true cells, with a margin, in cells."""
    import cv2

    kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    near = np.asarray(cv2.dilate(cells.astype(np.uint8), kernel), np.uint8)
    _, _, components, _ = cv2.connectedComponentsWithStats(near)
    return [(int(x), int(y), int(x + wide), int(y + high)) for x, y, wide, high, _ in components[1:]]


def _scale_box(box: Box, by: int, rows: int, columns: int) -> Box:
    """Scale a box to pixels, and extend it to multiples of a size that the detector takes."""
    x0, y0 = (low * by // _SIZE_MULTIPLE * _SIZE_MULTIPLE for low in box[:2])
    x1, y1 = (-(-high * by // _SIZE_MULTIPLE) * _SIZE_MULTIPLE for high in box[2:])
    return x0, y0, min(x1, columns), min(y1, rows)
