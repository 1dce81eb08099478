# SPDX-License-Identifier: Apache-2.0
"""Text in the pixels of an object: it is detected, judged and blackened, or a person must review the object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, Sequence, dcmread

from medhub.science.deid.allowed_text import is_allowed_text
from medhub.science.deid.attributes.method_attributes import method_code
from medhub.science.deid.device_regions import Box, known_regions, ultrasound_regions
from medhub.science.deid.frame_layouts import FrameResult, Layouts, areas_to_search, find_changes, pixels_to_compare
from medhub.science.deid.identifying_text import IdentifyingText, identifying_text_of
from medhub.science.deid.ocr import MIN_SCORE, TextReader, TextRegion, text_reader
from medhub.science.deid.profile import FACES_CODE, PIXELS_CODE
from medhub.science.deid.redaction import redact
from medhub.science.deid.text_gate import find_text_areas
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.object_checks import number_of_frames
from medhub.science.imaging.rendering.frames import read_frame, read_picture_and_values

# Microscope images show no screens, and their cells are as high as small letters (PS3.3, C.7.3.1.1.1).
_MICROSCOPE_MODALITIES = frozenset(("GM", "SM"))
# Margin in pixels around a blackened text, whose edges are soft.
_PADDING = 3
# A larger region is not a line of text: lines were joined wrongly, or tissue was detected as text.
_MAX_REGION_SHARE = 0.15
# Correlation of the pixels of the same text in two frames.
_MIN_CORRELATION = 0.9
# Readings with a lower score do not let text stay: a name in an unknown script reads as some number.
_MIN_ALLOWED_SCORE = 0.8
# A text of this score and length is not read again.
_CERTAIN_SCORE = 0.9
_MIN_CERTAIN_LENGTH = 7
# Pixels of all frames that are searched for areas with text while a file is received.
_MAX_PIXELS_AT_ONCE = 4_000_000
# Share of a region that may lie outside the known text: two detections never have the same edges.
_MAX_OUTSIDE_SHARE = 0.1


@dataclass(frozen=True)
class PixelCheck:
    """Result of the search for text in the pixels of an object.

    Attributes
    ----------
    boxes
        Blackened regions: frame (from 1), x0, y0, x1, y1, the last two not included.
    allowed
        Regions of text that stays, in the same form.
    doubt
        The reason for a review by a person; empty otherwise.
    data
        The file without the text, if there is no doubt.
    """

    boxes: tuple[tuple[int, int, int, int, int], ...] = ()
    allowed: tuple[tuple[int, int, int, int, int], ...] = ()
    doubt: str = ""
    data: bytes = b""


def clean_pixels_of(
    received: Dataset,
    dicom: bytes,
    *,
    only_ultrasound: bool,
    layouts: Layouts | None = None,
    identity: IdentifyingText | None = None,
    complete: bool = True,
) -> PixelCheck:
    """Blacken text that may identify a person.

    Parameters
    ----------
    received
        As received; it has modality, device, regions, and identifying words.
    dicom
        The same object with a clean header, as written by ``write_file``.
    only_ultrasound
        Blacken everything outside the regions of ultrasound, if the file declares them.
    layouts
        Text layouts of series from earlier files.
    identity
        Words that identify a person; by default those of the dataset itself.
    complete
        Search complete frames; otherwise only the areas that ``find_text_areas`` marks.

    Returns
    -------
    PixelCheck

    Raises
    ------
    Unacceptable
        When the pixels cannot be decoded or encoded again.
    OcrUnavailable
        When the OCR library is not installed.
    """
    identity = identity if identity is not None else identifying_text_of(received)
    modality = str(received.get("Modality", "") or "").strip().upper()
    device_boxes = known_regions(received)
    ultrasound_boxes = ultrasound_regions(received) if only_ultrasound else ()
    series = str(received.get("SeriesInstanceUID", "") or received.get("SOPInstanceUID", ""))
    # Text that is permitted beside other names may be a name here.
    series = f"{series} {hash(identity)}"
    layouts = layouts if layouts is not None else Layouts()
    frames: list[FrameResult] = []
    doubt = ""
    for number in range(_stored_frames(dicom)):
        picture, values = read_picture_and_values(dicom, number)
        frame = FrameResult(np.zeros(picture.shape[:2], bool))
        _blacken_regions(frame, device_boxes, ultrasound_boxes)
        reason = _search_frame(layouts, series, picture, values, modality, identity, frame, complete=complete)
        doubt = doubt or reason
        frames.append(frame)
    declared_burned_in = str(received.get("BurnedInAnnotation", "") or "").strip().upper() == "YES"
    if declared_burned_in and not any(frame.boxes for frame in frames):
        doubt = doubt or "The file declares that text is burned into its pixels, and none was found."
    return _redact_frames(dicom, frames, doubt)


def _search_frame(
    layouts: Layouts,
    series: str,
    picture: NDArray[np.uint8],
    values: NDArray[np.float32] | None,
    modality: str,
    identity: IdentifyingText,
    frame: FrameResult,
    *,
    complete: bool,
) -> str:
    """Search a frame, but for what it shares with earlier frames of its series; return the reason for a review."""
    reader, known = text_reader(), layouts.of(series)
    if complete and _apply_known_layout(reader, known, picture, values, frame):
        return ""
    areas = None if complete else areas_to_search(known, picture, values, frame)
    doubt = "" if areas == [] else _check_frame(reader, picture, values, modality, identity, frame, areas)
    layouts.add(series, pixels_to_compare(picture, values), frame)
    return doubt


def may_contain_text(dicom: bytes) -> bool:
    """Whether a reconstructed image has areas that must be searched for text, or too many frames to tell quickly.

    Parameters
    ----------
    dicom
        A file that ``write_file`` made.

    Raises
    ------
    Unacceptable
        When a frame cannot be decoded.
    """
    header = dcmread(BytesIO(dicom), specific_tags=["NumberOfFrames", "Rows", "Columns"], stop_before_pixels=True)
    frames = number_of_frames(header)
    if frames > 1 and frames * int(header.Rows) * int(header.Columns) > _MAX_PIXELS_AT_ONCE:
        return True
    return any(find_text_areas(*read_picture_and_values(dicom, number)) for number in range(frames))


def _stored_frames(dicom: bytes) -> int:
    """How many frames a file has; the received one may not have declared them."""
    return number_of_frames(dcmread(BytesIO(dicom), specific_tags=["NumberOfFrames"], stop_before_pixels=True))


def _redact_frames(dicom: bytes, frames: list[FrameResult], doubt: str) -> PixelCheck:
    """Blacken the frames of a file, unless a person must review it."""
    boxes = tuple((number, *box) for number, frame in enumerate(frames, 1) for box in frame.boxes)
    allowed = tuple((number, *box) for number, frame in enumerate(frames, 1) for box in frame.allowed)
    if doubt:
        return PixelCheck(boxes, allowed, doubt)
    masks = {number: frame.mask for number, frame in enumerate(frames)}
    try:
        return PixelCheck(boxes, allowed, "", redact(dicom, masks, _declare_pixels_cleaned))
    except Unacceptable as error:
        # A person sees what was found.
        return PixelCheck(boxes, allowed, str(error))


def check_picture(
    picture: NDArray[np.uint8], modality: str, identity: IdentifyingText
) -> tuple[PixelCheck, NDArray[np.bool_]]:
    """Check an image that is not a DICOM object; pixels to blacken are true in the mask (H x W)."""
    frame = FrameResult(np.zeros(picture.shape[:2], bool))
    doubt = _check_frame(text_reader(), picture, None, modality, identity, frame, None)
    boxes, allowed = (tuple((1, *box) for box in frame_boxes) for frame_boxes in (frame.boxes, frame.allowed))
    return PixelCheck(boxes, allowed, doubt), frame.mask


def blacken(dicom: bytes, boxes: Mapping[int, list[Box]], *, faces: bool = False) -> bytes:
    """Blacken the boxes that a person drew, by frame number from 0; ``faces`` if the person checked for faces."""
    shape = read_frame(dicom, 0).shape[:2]
    masks = {}
    for number, frame_boxes in boxes.items():
        masks[number] = np.zeros(shape, bool)
        for x0, y0, x1, y1 in frame_boxes:
            masks[number][max(0, y0) : y1, max(0, x0) : x1] = True
    return redact(dicom, masks, _declare_faces_cleaned if faces else _declare_pixels_cleaned)


def _declare_pixels_cleaned(dataset: Dataset) -> None:
    """Declare that the pixels were cleaned (PS3.15, E.3.1)."""
    dataset.BurnedInAnnotation = "NO"
    _add_code(dataset, PIXELS_CODE)


def _declare_faces_cleaned(dataset: Dataset) -> None:
    """Declare as well that nobody can be recognized in the pixels (PS3.15, E.3.2)."""
    _declare_pixels_cleaned(dataset)
    dataset.RecognizableVisualFeatures = "NO"
    _add_code(dataset, FACES_CODE)


def _add_code(dataset: Dataset, code: tuple[str, str]) -> None:
    codes = list(dataset.get("DeidentificationMethodCodeSequence", None) or ())
    if not any(item.get("CodeValue") == code[0] for item in codes):
        dataset.DeidentificationMethodCodeSequence = Sequence([*codes, method_code(*code)])


def _blacken_regions(frame: FrameResult, device_boxes: tuple[Box, ...], ultrasound_boxes: tuple[Box, ...]) -> None:
    for x0, y0, x1, y1 in device_boxes:
        frame.mask[y0:y1, x0:x1] = True
        frame.boxes.append((x0, y0, x1, y1))
    if ultrasound_boxes:
        outside = np.ones_like(frame.mask)
        for x0, y0, x1, y1 in ultrasound_boxes:
            outside[y0:y1, x0:x1] = False
        frame.mask |= outside
        frame.boxes += _strips_outside(ultrasound_boxes, frame.mask.shape)


def _strips_outside(ultrasound_boxes: tuple[Box, ...], shape: tuple[int, ...]) -> list[Box]:
    """The strips around the bounding box of all regions; the area between regions is blackened too, without a box."""
    rows, columns = shape
    x0, y0 = min(box[0] for box in ultrasound_boxes), min(box[1] for box in ultrasound_boxes)
    x1, y1 = max(box[2] for box in ultrasound_boxes), max(box[3] for box in ultrasound_boxes)
    strips = ((0, 0, columns, y0), (0, y1, columns, rows), (0, y0, x0, y1), (x1, y0, columns, y1))
    return [strip for strip in strips if strip[0] < strip[2] and strip[1] < strip[3]]


def _check_frame(
    reader: TextReader,
    picture: NDArray[np.uint8],
    values: NDArray[np.float32] | None,
    modality: str,
    identity: IdentifyingText,
    frame: FrameResult,
    areas: list[Box] | None,
) -> str:
    """Judge all text of a frame, or of some of its areas; return the reason for a review, if any."""
    rows, columns = frame.mask.shape
    doubt = ""

    def is_final(text: str, score: float) -> bool:
        if score >= _CERTAIN_SCORE and len(text) >= _MIN_CERTAIN_LENGTH:
            return True
        return score >= _MIN_ALLOWED_SCORE and is_allowed_text(text, modality, identity)

    low = modality not in _MICROSCOPE_MODALITIES
    for region in reader.find(picture, values, is_final=is_final, low=low, areas=areas):
        box = _clip_box(region.box, rows, columns)
        x0, y0, x1, y1 = box
        if frame.mask[y0:y1, x0:x1].all():
            continue
        if _is_allowed_region(region, modality, identity):
            frame.allowed.append(box)
            continue
        drawn = np.zeros_like(frame.mask)
        reader.fill(drawn, region.corners, _PADDING)
        frame.boxes.append(_clip_box((x0 - _PADDING, y0 - _PADDING, x1 + _PADDING, y1 + _PADDING), rows, columns))
        if drawn.mean() > _MAX_REGION_SHARE:
            doubt = "One region of text covers a large part of the image; a person must review it."
        frame.mask |= drawn
    return doubt


def _clip_box(box: Box, rows: int, columns: int) -> Box:
    x0, y0, x1, y1 = box
    return max(0, x0), max(0, y0), min(columns, x1), min(rows, y1)


def _is_allowed_region(region: TextRegion, modality: str, identity: IdentifyingText) -> bool:
    """Whether the best reading is certain and permitted, and no other reading disagrees."""
    best, score = region.readings[0] if region.readings else ("", 0.0)
    if score < _MIN_ALLOWED_SCORE or not is_allowed_text(best, modality, identity):
        return False
    others = [text for text, score in region.readings[1:] if score >= MIN_SCORE]
    return all(is_allowed_text(text, modality, identity) or _is_similar_reading(text, best) for text in others)


def _is_similar_reading(text: str, other: str) -> bool:
    """Whether one reading is a part of the other, or differs in one character."""
    first, second = ("".join(reading.split()).casefold() for reading in (text, other))
    if first in second or second in first:
        return min(len(first), len(second)) >= max(len(first), len(second)) / 2
    return len(first) == len(second) > 3 and sum(a != b for a, b in zip(first, second, strict=True)) == 1


def _apply_known_layout(
    reader: TextReader,
    layouts: list[tuple[NDArray[Any], FrameResult]],
    picture: NDArray[np.uint8],
    values: NDArray[np.float32] | None,
    frame: FrameResult,
) -> bool:
    """Treat a frame like an earlier one, if its text lies only where that one has text.

    Only the areas that changed since are searched again.
    """
    pixels = pixels_to_compare(picture, values)
    candidates = [(before, layout) for before, layout in layouts if before.shape == pixels.shape]
    if not candidates:
        return False
    # The earlier frame with the fewest changed pixels.
    changes = [(find_changes(before, pixels), before, layout) for before, layout in candidates]
    changed, before, layout = min(changes, key=lambda change: int(change[0].sum()))
    known = frame.mask | layout.mask
    for x0, y0, x1, y1 in layout.allowed:
        known[max(0, y0 - _PADDING) : y1 + _PADDING, max(0, x0 - _PADDING) : x1 + _PADDING] = True
    for corners in reader.find_text_boxes(picture, values, changed):
        region = np.zeros_like(frame.mask)
        reader.fill(region, corners, 0)
        if (region & ~known).sum() > _MAX_OUTSIDE_SHARE * region.sum():
            return False
    # A permitted text there may be another text here.
    if not all(_is_similar(before[y0:y1, x0:x1], pixels[y0:y1, x0:x1]) for x0, y0, x1, y1 in layout.allowed):
        return False
    frame.mask |= layout.mask
    frame.boxes[:], frame.allowed[:] = layout.boxes, layout.allowed
    return True


def _is_similar(first: NDArray[Any], second: NDArray[Any]) -> bool:
    a, b = (values.astype(np.float64).ravel() - values.mean() for values in (first, second))
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return bool(scale == 0 or float(a @ b) / scale > _MIN_CORRELATION)
