# SPDX-License-Identifier: Apache-2.0
"""What is done to received bytes, as functions of plain values: they run in a process apart from the server.

Whoever has a process apart names one of these functions and gives it plain values and bytes; science itself knows
nothing of processes::

    values = isolation.run(wire.prepare, data, context.to_wire(), limits.to_wire())
    prepared = Prepared.from_wire(values)
    image = wire.array(isolation.run(wire.frame, dicom, 0))
    webp = isolation.run(wire.rendition, dicom, 512)
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread

from medhub.science.arrivals.burned_in_text import BurnedInText, Region, clean_burned_in_text
from medhub.science.arrivals.cleaned_image import CleaningContext
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.arrivals.patient_identifiers import read_patient_identifiers
from medhub.science.arrivals.transient_decoding import decode_photograph, decode_without_writing
from medhub.science.deid.remaining_text import remaining_texts
from medhub.science.imaging.codecs.transcoding import transcode as transcode_file
from medhub.science.imaging.content.pdf_pages import document_in, is_pdf, page_count, page_picture
from medhub.science.imaging.content.summary import content_of
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.dicom.dicomdir import named_files
from medhub.science.imaging.dicom.query_identifiers import read_identifier
from medhub.science.imaging.dicom.reassign_uids import reassign_uids
from medhub.science.imaging.dicom.search_attributes import attributes_of
from medhub.science.imaging.rendering.frames import read_frame
from medhub.science.imaging.rendering.renditions import Form, original, render_file

PAGE_PIXELS = 1_600
# Of one image, over all its frames.
MOST_REGIONS = 20_000
MOST_TEXTS = 1_000


def introduce(files: list[bytes], limits: Mapping[str, int]) -> list[dict[str, Any]]:
    """Do ``introduction_of`` for several files; a refused one gives its message and reason."""
    allowed = DecodingLimits.from_wire(limits)
    said: list[dict[str, Any]] = []
    for data in files:
        try:
            said.append({"says": read_patient_identifiers(data, allowed).to_wire()})
        except Unacceptable as refusal:
            said.append(_refused(refusal))
    return said


def _refused(refusal: Unacceptable) -> dict[str, Any]:
    return {"refused": refusal.message, "reason": str(refusal.reason)}


def prepare_all(
    files: list[bytes], contexts: list[Mapping[str, Any]], which: list[int], limits: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Do ``prepare_arrival`` for several files, each with one of the contexts; a refused one says why."""
    allowed = DecodingLimits.from_wire(limits)
    read = [CleaningContext.from_wire(context) for context in contexts]
    answers: list[dict[str, Any]] = []
    for data, number in zip(files, which, strict=True):
        try:
            prepared = prepare_arrival(data, context=read[number], limits=allowed)
            answers.append({"prepared": prepared.to_wire()})
        except Unacceptable as refusal:
            answers.append(_refused(refusal))
    return answers


def prepare(data: bytes, context: Mapping[str, Any], limits: Mapping[str, int]) -> dict[str, Any]:
    """Do ``prepare_arrival``; read the result by ``Prepared.from_wire``."""
    return prepare_arrival(
        data, context=CleaningContext.from_wire(context), limits=DecodingLimits.from_wire(limits)
    ).to_wire()


def look(
    data: bytes, dicom: bytes, context: Mapping[str, Any], limits: Mapping[str, int], chosen: list[list[int]] | None
) -> dict[str, Any]:
    """Do ``look_through``; read the result by ``seen``."""
    regions = None if chosen is None else [(box[0], box[1], box[2], box[3], box[4]) for box in chosen]
    found = clean_burned_in_text(
        data, dicom, CleaningContext.from_wire(context), DecodingLimits.from_wire(limits), regions
    )
    boxes, kept = ([list(box) for box in several] for several in (found.boxes, found.kept))
    return {**vars(found), "boxes": boxes, "kept": kept}


def seen(values: Mapping[str, Any]) -> BurnedInText:
    """Read what ``look`` gave, believing nothing.

    Raises
    ------
    ValueError
        When a value is missing, unknown, or of another type than declared.
    """
    kinds = dict.fromkeys(("transfer_syntax_uid", "doubt"), str) | dict.fromkeys(("dicom", "thumbnail"), bytes)
    if set(values) != {*kinds, "boxes", "kept"} or any(type(values[name]) is not kind for name, kind in kinds.items()):
        raise ValueError("this is nothing that was looked through")
    return BurnedInText(**{**values, "boxes": regions(values["boxes"]), "kept": regions(values["kept"])})


def regions(values: Any) -> tuple[Region, ...]:
    """Read boxes that came from elsewhere; ``ValueError`` where they are none."""
    if not isinstance(values, list) or len(values) > MOST_REGIONS:
        raise ValueError("these are no boxes")
    found = []
    for box in values:
        if not isinstance(box, list | tuple) or [type(one) for one in box] != [int] * 5:
            raise ValueError("this is no box")
        found.append((box[0], box[1], box[2], box[3], box[4]))
    return tuple(found)


def attributes(dicom: bytes, more: list[str]) -> dict[str, Any]:
    """Do ``attributes_of`` for a stored file; read the result by ``attributes.checked``."""
    return dict(attributes_of(dcmread(BytesIO(dicom), stop_before_pixels=True), more))


def file_set(directory: bytes) -> list[list[str]]:
    """Do ``named_files``."""
    return named_files(directory)


def texts(dicom: bytes) -> list[list[str]]:
    """Do ``remaining_texts``: attribute and value."""
    return [[name, value] for name, value in sorted(remaining_texts(dicom))[:MOST_TEXTS]]


def photograph(data: bytes, limits: Mapping[str, int]) -> dict[str, Any]:
    """Do ``decode_photograph``; read the result by ``array``."""
    return _picture(decode_photograph(data, DecodingLimits.from_wire(limits)))


def photograph_without_writing(data: bytes, limits: Mapping[str, int]) -> dict[str, Any]:
    """Do ``decode_without_writing``; read the result by ``array``."""
    return _picture(decode_without_writing(data, DecodingLimits.from_wire(limits)))


def frame(dicom: bytes, number: int = 0, window: list[float] | None = None) -> dict[str, Any]:
    """Do ``read_frame``; read the result by ``array``."""
    return _picture(read_frame(dicom, number, window=(window[0], window[1]) if window else None))


def rendition(
    dicom: bytes, size: int, form: Form = "webp", number: int = 0, window: list[float] | None = None
) -> bytes:
    """Do ``render_file``."""
    return render_file(dicom, size, form, frame=number, window=(window[0], window[1]) if window else None)


def download(dicom: bytes) -> list[bytes | str]:
    """Do ``original``: the bytes and their media type."""
    return list(original(dicom))


def identifier(encoded: bytes, implicit_vr: bool) -> dict[str, Any]:
    """Do ``read_identifier``; read the result by ``Identifier.from_wire``."""
    return read_identifier(encoded, implicit_vr=implicit_vr).to_wire()


def transcode(dicom: bytes, syntax: str) -> bytes:
    """Do ``transcoding.transcode``."""
    return transcode_file(dicom, syntax)


def placed(dicom: bytes, study_instance_uid: str, series_instance_uid: str) -> bytes:
    """Do ``with_place``."""
    return reassign_uids(dicom, study_instance_uid, series_instance_uid)


def content(dicom: bytes) -> dict[str, Any]:
    """Do ``content_of``."""
    return content_of(dicom)


def document(dicom: bytes) -> list[bytes | str]:
    """Do ``document_in``: the bytes and their media type."""
    return list(document_in(dicom))


def page_size(dicom: bytes) -> list[int]:
    """How many pages the document of an object has, and rows and columns of its first; zeros where it has none."""
    data, media_type = document_in(dicom)
    if not is_pdf(media_type):
        return [0, 0, 0]
    rows, columns = page_picture(data, 0, PAGE_PIXELS).shape[:2]
    return [page_count(data), rows, columns]


def _picture(image: NDArray[np.uint8]) -> dict[str, Any]:
    return {"rows": image.shape[0], "columns": image.shape[1], "pixels": image.tobytes()}


def array(values: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Read a picture that came from a process apart.

    Parameters
    ----------
    values
        ``rows``, ``columns`` and ``pixels`` (bytes of the rows, three a pixel).

    Returns
    -------
    ndarray of uint8
        Array of shape (rows, columns, 3), not writable.

    Raises
    ------
    ValueError
        When the bytes do not fit the size.
    """
    rows, columns, pixels = values["rows"], values["columns"], values["pixels"]
    if type(rows) is not int or type(columns) is not int or not isinstance(pixels, bytes):
        raise ValueError("this is not a picture")
    return np.frombuffer(pixels, np.uint8).reshape(rows, columns, 3)
