# SPDX-License-Identifier: Apache-2.0
"""Text in the pixels of a received image: searched and made black before the image is stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO

from pydicom import Dataset, dcmread

from medhub.science.arrivals.cleaned_image import CleaningContext
from medhub.science.deid.embedded_documents import declare_document_reviewed, review_reason_beside_pixels
from medhub.science.deid.frame_layouts import Layouts
from medhub.science.deid.identifying_text import identifying_text_of, identifying_text_of_person
from medhub.science.deid.pixel_cleaning import blacken, clean_pixels_of
from medhub.science.deid.pixel_risks import may_show_face, needs_complete_search
from medhub.science.imaging.decoding_limits import DecodingLimits
from medhub.science.imaging.dicom.object_kinds import kind_of
from medhub.science.imaging.dicom.received_file import is_dicom, parse_within, quiet
from medhub.science.imaging.photographs.photograph import small, thumbnail
from medhub.science.imaging.rendering.frames import read_frame
from medhub.science.imaging.rendering.pixel_aspect import read_pixel_aspect, with_square_pixels

Region = tuple[int, int, int, int, int]
"""Frame (from 1), x0, y0, x1, y1, the last two not included."""

MAX_REGIONS = 20_000
"""Boxes of one image, over all its frames."""


@dataclass(frozen=True)
class BurnedInText:
    """An image whose pixels were searched for text.

    Attributes
    ----------
    dicom
        The file without the text; unchanged where there is doubt.
    thumbnail
        WebP picture of the first frame after cleaning; empty where nothing changed.
    transfer_syntax_uid
        Of the file after cleaning.
    boxes
        Boxes that were made black, or would be.
    allowed
        Boxes of allowed text, which stays.
    doubt
        Why a person must review the image first; empty otherwise.
    """

    dicom: bytes
    thumbnail: bytes
    transfer_syntax_uid: str
    boxes: tuple[Region, ...] = ()
    allowed: tuple[Region, ...] = ()
    doubt: str = ""

    def __post_init__(self) -> None:
        """Check that there are no more boxes than an image can have; ``ValueError`` otherwise."""
        if max(len(self.boxes), len(self.allowed)) > MAX_REGIONS:
            raise ValueError("there are more boxes than an image can have")


@cache
def _layouts() -> Layouts:
    """The layouts of the series that this process has searched; in memory only."""
    return Layouts()


def clean_burned_in_text(
    data: bytes,
    dicom: bytes,
    context: CleaningContext,
    limits: DecodingLimits,
    drawn_boxes: Sequence[Region] | None = None,
) -> BurnedInText:
    """Search the frames of an image for text, and make text black that may identify a person.

    Parameters
    ----------
    data
        The received bytes, whose header holds modality, device, ultrasound regions and names.
    dicom
        The file that ``prepare_arrival`` has made of them.
    context
        Its context: the profile, and the known names and numbers of the patient.
    limits
        What is taken.
    drawn_boxes
        Boxes that a person drew; then nothing is searched, and exactly these are made black.

    Returns
    -------
    BurnedInText

    Raises
    ------
    Unacceptable
        When the pixels cannot be decoded or written anew.
    OcrUnavailable
        When the OCR library is not installed.
    """
    received = _parse_received(data, dicom, limits)
    doubt = review_reason_beside_pixels(received, context.profile)
    if kind_of(received).pixels is None and is_dicom(data):
        # Nothing of it can be made black: it is stored as it is, or not at all.
        if drawn_boxes is not None:
            return BurnedInText(declare_document_reviewed(dicom), b"", _read_syntax(dicom))
        return BurnedInText(dicom, b"", _read_syntax(dicom), doubt=doubt)
    if drawn_boxes is not None:
        frames = defaultdict(list)
        for number, *box in drawn_boxes:
            frames[number - 1].append((box[0], box[1], box[2], box[3]))
        # Without a box too: the file records that a person reviewed it.
        faces = context.profile.pixels.faces == "hold"
        return _build_result(blacken(dicom, frames, faces=faces), boxes=tuple(drawn_boxes))
    if doubt:
        return BurnedInText(dicom, b"", _read_syntax(dicom), doubt=doubt)
    face = may_show_face(received) if context.profile.pixels.faces == "hold" else ""
    if face or not context.profile.pixels.clean:
        return BurnedInText(
            dicom, b"", _read_syntax(dicom), doubt=face or "Its profile requires that a person reviews its pixels."
        )
    return _blacken_text(received, dicom, context)


def _blacken_text(received: Dataset, dicom: bytes, context: CleaningContext) -> BurnedInText:
    identity = identifying_text_of_person((*context.known, context.patient_code))
    check = clean_pixels_of(
        received,
        dicom,
        only_ultrasound=context.profile.pixels.only_ultrasound,
        layouts=_layouts(),
        identity=identifying_text_of(received) | identity,
        complete=needs_complete_search(received, context.profile),
    )
    if check.doubt:
        return BurnedInText(dicom, b"", _read_syntax(dicom), check.boxes, check.allowed, check.doubt)
    return _build_result(check.data, check.boxes, check.allowed)


def _parse_received(data: bytes, dicom: bytes, limits: DecodingLimits) -> Dataset:
    with quiet():
        return parse_within(data, limits)[0] if is_dicom(data) else dcmread(BytesIO(dicom))


def _build_result(dicom: bytes, boxes: tuple[Region, ...], allowed: tuple[Region, ...] = ()) -> BurnedInText:
    preview = b""
    if boxes:
        preview = thumbnail(with_square_pixels(small(read_frame(dicom)), read_pixel_aspect(dicom)))
    return BurnedInText(dicom, preview, _read_syntax(dicom), boxes, allowed)


def _read_syntax(dicom: bytes) -> str:
    return str(dcmread(BytesIO(dicom), specific_tags=[]).file_meta.TransferSyntaxUID)
