# SPDX-License-Identifier: Apache-2.0
"""Reading of received and of stored files in isolated processes, by the functions that science provides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import DecoderFailed
from medhub.science.arrivals.burned_in_text import BurnedInText, Region, clean_burned_in_text
from medhub.science.arrivals.cleaned_image import CleanedImage, CleaningContext
from medhub.science.arrivals.cleaning import prepare_arrivals
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers, read_identifiers_of_files
from medhub.science.deid.remaining_text import first_remaining_texts
from medhub.science.imaging.content.pdf_pages import document_in, read_page_size
from medhub.science.imaging.content.summary import content_of
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.dicom.reassign_uids import reassign_uids
from medhub.science.imaging.dicom.search_attributes import Attributes, check_attributes, read_search_attributes
from medhub.science.imaging.rendering.frames import read_frame
from medhub.science.imaging.rendering.renditions import original, render_covered, render_file

# Reading text takes about a second a megapixel, and up to twenty in a crowded field of cells; a busy machine needs
# more, within a limit.
_OCR_S_PER_MEGAPIXEL = 40.0
_MAX_OCR_S = 900.0

Answer = TypeVar("Answer")

ISOLATED_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    *(prepare_arrivals, read_identifiers_of_files, clean_burned_in_text, first_remaining_texts, reassign_uids),
    *(read_frame, render_file, render_covered, original, read_search_attributes, content_of, document_in),
)
PRELOADED_MODULES = tuple(sorted({function.__module__ for function in ISOLATED_FUNCTIONS}))
"""Modules that an isolated process imports before its first call."""


def read_patient_identifiers(
    app: AppContext, files: Sequence[bytes], limits: DecodingLimits
) -> list[PatientIdentifiers | Unacceptable]:
    """Read the patient identifiers of received files, or why one cannot be read."""
    return _check_count(files, app.isolation.run(read_identifiers_of_files, list(files), limits))


def prepare_files(
    app: AppContext, files: Sequence[bytes], contexts: Sequence[CleaningContext], limits: DecodingLimits
) -> list[CleanedImage | Unacceptable]:
    """De-identify received files in memory, each with its context, or say why one cannot be accepted."""
    distinct = list({id(context): context for context in contexts}.values())
    numbers = {id(context): number for number, context in enumerate(distinct)}
    answers = app.isolation.run_within(
        app.settings.decoder_timeout_s + len(files),
        prepare_arrivals,
        list(files),
        distinct,
        [numbers[id(context)] for context in contexts],
        limits,
    )
    return _check_count(files, answers)


def _check_count(files: Sequence[bytes], answers: list[Answer]) -> list[Answer]:
    if len(answers) != len(files):
        raise DecoderFailed("The program that reads files gave an invalid answer.", how="answer")
    return answers


def clean_pixels(
    app: AppContext,
    data: bytes,
    prepared: CleanedImage,
    context: CleaningContext,
    limits: DecodingLimits,
    boxes: Sequence[Region] | None = None,
) -> BurnedInText:
    """Make text in the pixels of a prepared image black, or the boxes that a person drew."""
    megapixels = prepared.rows * prepared.columns * prepared.frames / 1e6
    timeout_s = min(_MAX_OCR_S, app.settings.decoder_timeout_s + _OCR_S_PER_MEGAPIXEL * megapixels)
    isolation = app.reading or app.isolation
    return isolation.run_within(timeout_s, clean_burned_in_text, data, prepared.dicom, context, limits, boxes)


def read_stored_frame(app: AppContext, digest: str, number: int = 0) -> NDArray[np.uint8]:
    """One frame of a stored image, rows x columns x 3, RGB."""
    return app.isolation.run(read_frame, app.blobs.get(digest), number)


def render_stored(app: AppContext, digest: str, size: int, number: int = 0) -> bytes:
    """A WebP picture of one frame of a stored image, at most ``size`` pixels at its longest side."""
    return render_unstored(app, app.blobs.get(digest), size, number)


def render_unstored(app: AppContext, dicom: bytes, size: int, number: int, *, square: bool = True) -> bytes:
    """A WebP picture of one frame of an image that is not stored, at most ``size`` pixels at its longest side."""
    return app.isolation.run(render_file, dicom, size, "webp", frame=number, square=square)


def render_covered_areas(
    app: AppContext, digest: str, size: int, number: int, boxes: Sequence[tuple[int, int, int, int]]
) -> bytes:
    """A WebP picture of one frame of a stored image with some areas black."""
    return app.isolation.run(render_covered, app.blobs.get(digest), size, number, list(boxes))


def read_attributes(app: AppContext, digest: str, more: Sequence[str]) -> dict[str, Attributes]:
    """The search attributes of a stored object."""
    attributes = app.isolation.run(read_search_attributes, app.blobs.get(digest), list(more))
    check_attributes(attributes)
    return attributes


def read_remaining_texts(app: AppContext, dicom: bytes) -> set[tuple[str, str]]:
    """The free text that remains in a prepared image: attribute and value."""
    return set(app.isolation.run(first_remaining_texts, dicom))


def read_content(app: AppContext, digest: str) -> dict[str, Any]:
    """The content of a stored object beside its pixels; see ``content_of``."""
    return read_unstored_content(app, app.blobs.get(digest))


def read_unstored_content(app: AppContext, dicom: bytes) -> dict[str, Any]:
    """The content of an object that is not stored; it may identify a person."""
    return app.isolation.run(content_of, dicom)


def read_document(app: AppContext, digest: str) -> tuple[bytes, str]:
    """The document of a stored object, and its media type; empty where it is of no known kind."""
    return app.isolation.run(document_in, app.blobs.get(digest))


def measure_pages(app: AppContext, dicom: bytes) -> tuple[int, int, int]:
    """Pages of the document of an object that is not stored, and rows and columns of the first; zeros without one."""
    return app.isolation.run(read_page_size, dicom)


def read_photograph(app: AppContext, digest: str) -> tuple[bytes, str]:
    """A stored photograph as a file that any program opens, and its media type."""
    return app.isolation.run(original, app.blobs.get(digest))


def move_to_series(app: AppContext, dicom: bytes, study_uid: str, series_uid: str) -> bytes:
    """A stored DICOM file with the UIDs of another study and series; nothing else of it changes."""
    return app.isolation.run(reassign_uids, dicom, study_uid, series_uid)
