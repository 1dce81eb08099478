# SPDX-License-Identifier: Apache-2.0
"""Writing in the pixels of an object: found, judged, and made black; or the reason why a person must look first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, Sequence
from pydicom.uid import SecondaryCaptureImageStorage

from medhub.science.deid.allowed_text import is_allowed_text
from medhub.science.deid.attributes.method_attributes import method_code
from medhub.science.deid.device_regions import Box, known_regions, ultrasound_regions
from medhub.science.deid.identifying_text import IdentifyingText, identifying_text_of
from medhub.science.deid.ocr import READ, TextReader, TextRegion, text_reader
from medhub.science.deid.profile import FACES_CODE, PIXELS_CODE
from medhub.science.deid.redaction import redact
from medhub.science.imaging.dicom.object_checks import number_of_frames
from medhub.science.imaging.rendering.frames import read_frame, read_stored

# Values of computing, not pictures: nothing is ever drawn into them.
_COMPUTED = frozenset(("SEG", "RTDOSE"))
# Modalities whose original images come from the detector without writing (PS3.3, C.7.6.1.1.2).
_RECONSTRUCTED = frozenset(("CT", "MR", "PT", "NM", "SEG", "RTDOSE", "OPT", "BMD"))
# Pictures of the surface of the body (PS3.3, C.7.3.1.1.1), and what is made of slices that make up a volume.
_OF_SURFACES = frozenset(("XC", "DMS", "ES"))
_VOLUMES = frozenset(("CT", "MR", "PT", "NM", "OPT"))
_OF_THE_HEAD = (
    *("HEAD", "BRAIN", "FACE", "SKULL", "ORBIT", "EYE", "SINUS", "JAW", "MAXILLA", "MANDIBLE", "NOSE", "EAR"),
    *("NECK", "WHOLE"),
)
# What a camera on a microscope takes is no screen, and its cells are as high as low letters (PS3.3, C.7.3.1.1.1).
_OF_MICROSCOPES = frozenset(("GM", "SM"))
# Black goes a little past the writing, whose edges are soft.
_PAD = 3
# A larger piece is no line of writing: either it is torn apart wrongly or tissue is taken for writing.
_LARGEST_SHARE = 0.15
# Levels of 256 by which pixels differ of which nothing changed.
_UNCHANGED = 2
# So alike are the pixels of the same writing in two frames.
_ALIKE = 0.9
# Less sure readings are no reason to let writing stay: a name in a script that is not known reads as some number.
_STAYS = 0.8
# What is long and read so surely is not read again.
_SURE = 0.9
_LONG = 7
# So much of a piece may lie beside where writing is known: two looks never draw its edge alike.
_OUTSIDE = 0.1


@dataclass(frozen=True)
class PixelCheck:
    """What was found in the pixels of an object.

    Attributes
    ----------
    boxes
        What was made black: frame (from 1), x0, y0, x1, y1, the last two not included.
    kept
        Harmless writing that stays, in the same form.
    doubt
        Why a person must look before anybody may have it; empty otherwise.
    data
        The file without the writing, if there is no doubt.
    """

    boxes: tuple[tuple[int, int, int, int, int], ...] = ()
    kept: tuple[tuple[int, int, int, int, int], ...] = ()
    doubt: str = ""
    data: bytes = b""


@dataclass
class _Frame:
    """What is made black in one frame, and what stays."""

    mask: NDArray[np.bool_]
    boxes: list[Box] = field(default_factory=list)
    kept: list[Box] = field(default_factory=list)


class Layouts:
    """Where frames of a series that were looked at have writing, so that each further one needs one look only.

    Nothing is taken over unchecked: a frame is treated as one before it when all writing in it lies where that one
    has writing, and what was harmless there looks the same. Nothing of it is ever written.
    """

    def __init__(self, series: int = 4, each: int = 4) -> None:
        self._most_series, self._most_each = series, each
        self._known: dict[str, list[tuple[NDArray[Any], _Frame]]] = {}

    def of(self, series: str) -> list[tuple[NDArray[Any], _Frame]]:
        """What is known of a series."""
        return self._known.get(series, [])

    def add(self, series: str, picture: NDArray[Any], frame: _Frame) -> None:
        """Remember a frame; the oldest are forgotten."""
        known = self._known.setdefault(series, [])
        known.append((picture, frame))
        del known[: -self._most_each]
        while len(self._known) > self._most_series:
            del self._known[next(iter(self._known))]


def may_hold_writing(received: Dataset) -> str:
    """Say why the pixels of an object cannot leave unseen; empty where they may.

    Scanners that reconstruct their images write beside them, not into them. Whatever is a picture of a screen, of
    paper, or of a person may hold writing; so may what a program derived from another image.
    """
    if str(received.get("BurnedInAnnotation", "")).strip().upper() == "YES":
        return "The file says itself that writing is burned into its pixels."
    kinds = [str(one).upper() for one in received.get("ImageType", None) or ()]
    modality = str(received.get("Modality", "") or "").strip().upper()
    if modality not in _RECONSTRUCTED:
        return f"Images of the modality {modality or '(none)'} may have writing in their pixels; a person must look."
    secondary = str(received.get("SOPClassUID", "")).startswith(SecondaryCaptureImageStorage)
    if secondary or "SECONDARY" in kinds or "SCREEN SAVE" in kinds:
        return "It is a secondary image, as pictures of screens are; a person must look."
    return ""


def may_show_face(received: Dataset) -> str:
    """Say why a person may be recognized in the pixels of an object; empty where nobody can be.

    A photograph may show a face; from slices through a head one can be rebuilt (PS3.15, E.3.2). What says of no other
    region of the body that it is of that counts as of the head.
    """
    modality = str(received.get("Modality", "") or "").strip().upper()
    if modality in _OF_SURFACES:
        return "A photograph may show a face; a person must look."
    region = str(received.get("BodyPartExamined", "") or "").strip().upper()
    if modality in _VOLUMES and (not region or any(one in region for one in _OF_THE_HEAD)):
        return "From slices through a head its face can be rebuilt; a person must decide."
    return ""


def is_picture(received: Dataset) -> bool:
    """Whether the pixels of an object are a picture, in which something may be written."""
    return str(received.get("Modality", "") or "").strip().upper() not in _COMPUTED


def clean_pixels_of(
    received: Dataset,
    dicom: bytes,
    *,
    only_ultrasound: bool,
    layouts: Layouts | None = None,
    identity: IdentifyingText | None = None,
) -> PixelCheck:
    """Make writing black that may say who somebody is.

    Parameters
    ----------
    received
        As received; tells modality, device, regions, and the words that are names.
    dicom
        The same object with a clean header, as ``write_file`` made it.
    only_ultrasound
        Make all black that lies outside of the regions of ultrasound, where a file names them.
    layouts
        What is known of the series that were looked at before.
    identity
        Words that say who somebody is; those of the dataset itself if not given.

    Returns
    -------
    Look

    Raises
    ------
    Unacceptable
        When the pixels cannot be decoded or written anew.
    ReaderMissing
        When the library that reads is not installed.
    """
    identity = identity if identity is not None else identifying_text_of(received)
    modality = str(received.get("Modality", "") or "").strip().upper()
    always = known_regions(received)
    within = ultrasound_regions(received) if only_ultrasound else ()
    series = str(received.get("SeriesInstanceUID", "") or received.get("SOPInstanceUID", ""))
    # What was harmless beside other names need not be so beside these.
    series = f"{series} {hash(identity)}"
    layouts = layouts if layouts is not None else Layouts()
    eye = text_reader()
    found: list[_Frame] = []
    doubt = ""
    for number in range(number_of_frames(received)):
        picture = read_frame(dicom, number)
        one = _Frame(np.zeros(picture.shape[:2], bool))
        _blacken_regions(one, always, within)
        values = _values(dicom, number)
        if not _known_layout(eye, layouts.of(series), picture, values, one):
            doubt = doubt or _look(eye, picture, values, modality, identity, one)
            layouts.add(series, _shown(picture, values), one)
        found.append(one)
    said_yes = str(received.get("BurnedInAnnotation", "") or "").strip().upper() == "YES"
    if said_yes and not any(one.boxes for one in found):
        doubt = doubt or "The file says that writing is burned into its pixels, and none was found."
    boxes = tuple((number, *box) for number, one in enumerate(found, 1) for box in one.boxes)
    kept = tuple((number, *box) for number, one in enumerate(found, 1) for box in one.kept)
    if doubt:
        return PixelCheck(boxes, kept, doubt)
    masks = {number: one.mask for number, one in enumerate(found)}
    return PixelCheck(boxes, kept, "", redact(dicom, masks, _mark))


def check_picture(
    picture: NDArray[np.uint8], modality: str, identity: IdentifyingText
) -> tuple[PixelCheck, NDArray[np.bool_]]:
    """Look for writing in a picture that is no DICOM object; what is to become black is true in the mask (H x W)."""
    one = _Frame(np.zeros(picture.shape[:2], bool))
    doubt = _look(text_reader(), picture, None, modality, identity, one)
    boxes, kept = (tuple((1, *box) for box in several) for several in (one.boxes, one.kept))
    return PixelCheck(boxes, kept, doubt), one.mask


def blacken(dicom: bytes, boxes: Mapping[int, list[Box]], *, faces: bool = False) -> bytes:
    """Make boxes black that a person chose, by number of the frame, from 0; ``faces`` if the person looked for them."""
    shape = read_frame(dicom, 0).shape[:2]
    masks = {}
    for number, several in boxes.items():
        masks[number] = np.zeros(shape, bool)
        for x0, y0, x1, y1 in several:
            masks[number][max(0, y0) : y1, max(0, x0) : x1] = True
    return redact(dicom, masks, _mark_faces if faces else _mark)


def _mark(dataset: Dataset) -> None:
    """Say that the pixels were cleaned (PS3.15, E.3.1)."""
    dataset.BurnedInAnnotation = "NO"
    _add_code(dataset, PIXELS_CODE)


def _mark_faces(dataset: Dataset) -> None:
    """Say that nobody can be recognized in the pixels either (PS3.15, E.3.2)."""
    _mark(dataset)
    dataset.RecognizableVisualFeatures = "NO"
    _add_code(dataset, FACES_CODE)


def _add_code(dataset: Dataset, code: tuple[str, str]) -> None:
    codes = list(dataset.get("DeidentificationMethodCodeSequence", None) or ())
    if not any(one.get("CodeValue") == code[0] for one in codes):
        dataset.DeidentificationMethodCodeSequence = Sequence([*codes, method_code(*code)])


def _blacken_regions(one: _Frame, always: tuple[Box, ...], within: tuple[Box, ...]) -> None:
    for x0, y0, x1, y1 in always:
        one.mask[y0:y1, x0:x1] = True
        one.boxes.append((x0, y0, x1, y1))
    if within:
        outside = np.ones_like(one.mask)
        for x0, y0, x1, y1 in within:
            outside[y0:y1, x0:x1] = False
        one.mask |= outside
        one.boxes += _outside(within, one.mask.shape)


def _outside(within: tuple[Box, ...], shape: tuple[int, ...]) -> list[Box]:
    """The strips around the box of all regions; what lies between regions is black too, but in no strip."""
    rows, columns = shape
    x0, y0 = min(one[0] for one in within), min(one[1] for one in within)
    x1, y1 = max(one[2] for one in within), max(one[3] for one in within)
    strips = ((0, 0, columns, y0), (0, y1, columns, rows), (0, y0, x0, y1), (x1, y0, columns, y1))
    return [one for one in strips if one[0] < one[2] and one[1] < one[3]]


def _values(dicom: bytes, number: int) -> NDArray[np.float32] | None:
    """The stored values of a grey image of more than eight bits, of which a picture shows a window only."""
    stored, photometric = read_stored(dicom, number)
    if stored.ndim == 3 or stored.dtype == np.uint8 or photometric == "PALETTE COLOR":
        return None
    with np.errstate(over="ignore"):
        return np.nan_to_num(stored.astype(np.float32))


def _look(
    eye: TextReader,
    picture: NDArray[np.uint8],
    values: NDArray[np.float32] | None,
    modality: str,
    identity: IdentifyingText,
    one: _Frame,
) -> str:
    """Judge all writing of a frame; says what is in doubt."""
    rows, columns = one.mask.shape
    doubt = ""

    def settled(text: str, score: float) -> bool:
        if score >= _SURE and len(text) >= _LONG:
            return True
        return score >= _STAYS and is_allowed_text(text, modality, identity)

    for piece in eye.find(picture, values, settled=settled, low=modality not in _OF_MICROSCOPES):
        box = _within(piece.box, rows, columns)
        x0, y0, x1, y1 = box
        if one.mask[y0:y1, x0:x1].all():
            continue
        if _may_stay(piece, modality, identity):
            one.kept.append(box)
            continue
        drawn = np.zeros_like(one.mask)
        eye.fill(drawn, piece.corners, _PAD)
        one.boxes.append(_within((x0 - _PAD, y0 - _PAD, x1 + _PAD, y1 + _PAD), rows, columns))
        if drawn.mean() > _LARGEST_SHARE:
            doubt = "What looks like one piece of writing covers a large part of the picture; a person must look."
        one.mask |= drawn
    return doubt


def _within(box: Box, rows: int, columns: int) -> Box:
    x0, y0, x1, y1 = box
    return max(0, x0), max(0, y0), min(columns, x1), min(rows, y1)


def _may_stay(piece: TextRegion, modality: str, identity: IdentifyingText) -> bool:
    """Whether its surest reading is sure and harmless, and no other one says something else."""
    if (
        not piece.readings
        or piece.readings[0][1] < _STAYS
        or not is_allowed_text(piece.readings[0][0], modality, identity)
    ):
        return False
    others = [text for text, score in piece.readings[1:] if score >= READ]
    return all(is_allowed_text(text, modality, identity) or _is_part(text, piece.readings[0][0]) for text in others)


def _is_part(text: str, whole: str) -> bool:
    """Whether one reading is the other with letters cut off, or one of them misread."""
    first, second = ("".join(one.split()).casefold() for one in (text, whole))
    if first in second or second in first:
        return min(len(first), len(second)) >= max(len(first), len(second)) / 2
    return len(first) == len(second) > 3 and sum(a != b for a, b in zip(first, second, strict=True)) == 1


def _known_layout(
    eye: TextReader,
    layouts: list[tuple[NDArray[Any], _Frame]],
    picture: NDArray[np.uint8],
    values: NDArray[np.float32] | None,
    one: _Frame,
) -> bool:
    """Treat a frame as one before it, if writing is nowhere but where that one has it.

    What has not changed was looked at with that one; only what has is looked at again.
    """
    shown = _shown(picture, values)
    fitting = [(before, layout) for before, layout in layouts if before.shape == shown.shape]
    if not fitting:
        return False
    # The one of which the frame has most.
    changes = [(_changed(before, shown), before, layout) for before, layout in fitting]
    changed, before, layout = min(changes, key=lambda one: int(one[0].sum()))
    known = one.mask | layout.mask
    for x0, y0, x1, y1 in layout.kept:
        known[max(0, y0 - _PAD) : y1 + _PAD, max(0, x0 - _PAD) : x1 + _PAD] = True
    for corners in eye.places(picture, values, changed):
        place = np.zeros_like(one.mask)
        eye.fill(place, corners, 0)
        if (place & ~known).sum() > _OUTSIDE * place.sum():
            return False
    # What was harmless there may be something else here.
    if not all(_alike(before[y0:y1, x0:x1], shown[y0:y1, x0:x1]) for x0, y0, x1, y1 in layout.kept):
        return False
    one.mask |= layout.mask
    one.boxes[:], one.kept[:] = layout.boxes, layout.kept
    return True


def _shown(picture: NDArray[np.uint8], values: NDArray[np.float32] | None) -> NDArray[Any]:
    """What is compared: the picture, or, where it shows a window only, all stored values (H x W x 1 or 3)."""
    return picture if values is None else values[:, :, None]


def _changed(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.bool_]:
    """Where two pictures are not the same, but for what compression and rounding change."""
    apart = np.maximum(before, after) - np.minimum(before, after)
    more = reduce(np.maximum, (apart[:, :, sample] for sample in range(apart.shape[2])))
    levels = 255.0 if after.dtype == np.uint8 else float(after.max() - after.min())
    return np.asarray(more > _UNCHANGED * max(levels, 255) / 255)


def _alike(first: NDArray[Any], second: NDArray[Any]) -> bool:
    a, b = (one.astype(np.float64).ravel() - one.mean() for one in (first, second))
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return bool(scale == 0 or float(a @ b) / scale > _ALIKE)
