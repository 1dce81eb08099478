# SPDX-License-Identifier: Apache-2.0
"""Writing in the pixels of an image on its way into the store: found and made black before anything is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO

from pydicom import Dataset, dcmread

from medhub.science.arrivals.cleaned_image import CleaningContext
from medhub.science.deid.embedded_documents import declare_document_reviewed, review_reason_beside_pixels
from medhub.science.deid.identifying_text import IdentifyingText, identifying_text_of, identifying_text_of_person
from medhub.science.deid.pixel_cleaning import Layouts, blacken, clean_pixels_of, may_show_face
from medhub.science.imaging.decoding_limits import DecodingLimits
from medhub.science.imaging.dicom.object_kinds import kind_of
from medhub.science.imaging.dicom.received_file import is_dicom, parse_within, quiet
from medhub.science.imaging.photographs.photograph import small, thumbnail
from medhub.science.imaging.rendering.frames import read_frame

Region = tuple[int, int, int, int, int]
"""Frame (from 1), x0, y0, x1, y1, the last two not included."""

MAX_REGIONS = 20_000
"""Boxes of one image, over all its frames."""


@dataclass(frozen=True)
class BurnedInText:
    """An image that was looked through.

    Attributes
    ----------
    dicom
        The file, without the writing; as it was given where there is doubt.
    thumbnail
        WebP, of the first frame as it is now; empty where nothing changed.
    transfer_syntax_uid
        Of the file as it is now.
    boxes
        What was made black, or would be.
    kept
        Harmless writing that stays.
    doubt
        Why a person must look before anybody may have it; empty otherwise.
    """

    dicom: bytes
    thumbnail: bytes
    transfer_syntax_uid: str
    boxes: tuple[Region, ...] = ()
    kept: tuple[Region, ...] = ()
    doubt: str = ""

    def __post_init__(self) -> None:
        """Check that there are no more boxes than an image can have; ``ValueError`` otherwise."""
        if max(len(self.boxes), len(self.kept)) > MAX_REGIONS:
            raise ValueError("there are more boxes than an image can have")


@cache
def _layouts() -> Layouts:
    """What this process knows of the series that it has looked at; in memory alone."""
    return Layouts()


def clean_burned_in_text(
    data: bytes, dicom: bytes, context: CleaningContext, limits: DecodingLimits, chosen: Sequence[Region] | None = None
) -> BurnedInText:
    """Look for writing in the frames of an image, and make black what may say who somebody is.

    Parameters
    ----------
    data
        The received bytes, whose header tells modality, device, regions of ultrasound and names.
    dicom
        What ``prepare_arrival`` made of them.
    context
        Its context: the profile, and what is known of the patient.
    limits
        What is taken.
    chosen
        Boxes that a person drew; then nothing is looked for, and just these are made black.

    Returns
    -------
    Seen

    Raises
    ------
    Unacceptable
        When the pixels cannot be decoded or written anew.
    ReaderMissing
        When the library that reads is not installed.
    """
    received = _received(data, dicom, limits)
    doubt = review_reason_beside_pixels(received, context.profile)
    if kind_of(received).pixels is None and is_dicom(data):
        # Nothing of it can be made black: it stays as it is, or it does not stay.
        if chosen is not None:
            return BurnedInText(declare_document_reviewed(dicom), b"", _syntax(dicom))
        return BurnedInText(dicom, b"", _syntax(dicom), doubt=doubt)
    if chosen is not None:
        frames = defaultdict(list)
        for number, *box in chosen:
            frames[number - 1].append((box[0], box[1], box[2], box[3]))
        # Without a box too: it is said of the file that a person looked.
        faces = context.profile.pixels.faces == "hold"
        return _now(blacken(dicom, frames, faces=faces), boxes=tuple(chosen))
    if doubt:
        return BurnedInText(dicom, b"", _syntax(dicom), doubt=doubt)
    face = may_show_face(received) if context.profile.pixels.faces == "hold" else ""
    if face or not context.profile.pixels.clean:
        return BurnedInText(
            dicom, b"", _syntax(dicom), doubt=face or "By its profile a person looks through its pixels."
        )
    words = (
        identifying_text_of(received).words | identifying_text_of_person((*context.known, context.patient_code)).words
    )
    look = clean_pixels_of(
        received,
        dicom,
        only_ultrasound=context.profile.pixels.only_ultrasound,
        layouts=_layouts(),
        identity=IdentifyingText(words),
    )
    if look.doubt:
        return BurnedInText(dicom, b"", _syntax(dicom), look.boxes, look.allowed, look.doubt)
    return _now(look.data, look.boxes, look.allowed)


def _received(data: bytes, dicom: bytes, limits: DecodingLimits) -> Dataset:
    with quiet():
        return parse_within(data, limits)[0] if is_dicom(data) else dcmread(BytesIO(dicom))


def _now(dicom: bytes, boxes: tuple[Region, ...], kept: tuple[Region, ...] = ()) -> BurnedInText:
    return BurnedInText(dicom, thumbnail(small(read_frame(dicom))) if boxes else b"", _syntax(dicom), boxes, kept)


def _syntax(dicom: bytes) -> str:
    return str(dcmread(BytesIO(dicom), specific_tags=[]).file_meta.TransferSyntaxUID)
