# SPDX-License-Identifier: Apache-2.0
"""Decoding of what was received and of what is stored, in processes that can be killed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from medhub.foundation.app_context import AppContext
from medhub.science.arrivals import wire
from medhub.science.arrivals.burned_in_text import BurnedInText, Region
from medhub.science.arrivals.cleaned_image import CleanedImage, CleaningContext
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers
from medhub.science.imaging.decoding_limits import DecodingLimits, Reason, Unacceptable
from medhub.science.imaging.dicom.search_attributes import Attributes, checked

# Reading takes about a second a million pixels, and up to twenty in a crowded field of cells; more is given on a busy
# machine, and not without end.
_LOOK_S_A_MEGAPIXEL = 40.0
_LONGEST_LOOK_S = 900.0
REASONS = frozenset(get_args(Reason))


def prepare(app: AppContext, data: bytes, context: CleaningContext, limits: DecodingLimits) -> CleanedImage:
    """Clean a received file in memory and turn it into DICOM."""
    return CleanedImage.from_wire(app.isolation.run(wire.prepare, data, context.to_wire(), limits.to_wire()))


def introduce(
    app: AppContext, files: Sequence[bytes], limits: DecodingLimits
) -> list[PatientIdentifiers | Unacceptable]:
    """What received files say of themselves, or why nothing can be read of one."""
    answers = app.isolation.run(wire.introduce, list(files), limits.to_wire())
    return [refusal(one) or PatientIdentifiers.from_wire(one["says"]) for one in _several(answers, len(files))]


def prepare_all(
    app: AppContext, files: Sequence[bytes], contexts: Sequence[CleaningContext], limits: DecodingLimits
) -> list[CleanedImage | Unacceptable]:
    """Clean received files in memory, each with its context, or say why one cannot be taken."""
    wires = list({id(context): context for context in contexts}.values())
    numbers = {id(context): number for number, context in enumerate(wires)}
    answers = app.isolation.run_within(
        app.settings.decoder_timeout_s + len(files),
        wire.prepare_all,
        list(files),
        [context.to_wire() for context in wires],
        [numbers[id(context)] for context in contexts],
        limits.to_wire(),
    )
    return [refusal(one) or CleanedImage.from_wire(one["prepared"]) for one in _several(answers, len(files))]


def _several(answers: Any, expected: int) -> list[dict[str, Any]]:
    if not isinstance(answers, list) or len(answers) != expected or not all(isinstance(one, dict) for one in answers):
        raise ValueError("these are no answers")
    return answers


def refusal(answer: Mapping[str, Any]) -> Unacceptable | None:
    """Read why a file was refused in a process apart, if it was."""
    if "refused" not in answer:
        return None
    reason = str(answer["reason"])
    return Unacceptable(str(answer["refused"]), reason=reason if reason in REASONS else "damaged")  # type: ignore[arg-type]


def look(
    app: AppContext,
    data: bytes,
    prepared: CleanedImage,
    context: CleaningContext,
    limits: DecodingLimits,
    chosen: Sequence[Region] | None = None,
) -> BurnedInText:
    """Look for writing in the pixels of what was prepared, and make it black; or black what a person chose."""
    megapixels = prepared.rows * prepared.columns * prepared.frames / 1e6
    timeout_s = min(_LONGEST_LOOK_S, app.settings.decoder_timeout_s + _LOOK_S_A_MEGAPIXEL * megapixels)
    boxes = None if chosen is None else [list(box) for box in chosen]
    return wire.seen(
        (app.reading or app.isolation).run_within(
            timeout_s, wire.look, data, prepared.dicom, context.to_wire(), limits.to_wire(), boxes
        )
    )


def frame(app: AppContext, digest: str, number: int = 0) -> NDArray[np.uint8]:
    """One frame of a stored image, rows x columns x 3, RGB."""
    return wire.array(app.isolation.run(wire.frame, app.blobs.get(digest), number))


def rendition(app: AppContext, digest: str, size: int, number: int = 0) -> bytes:
    """A WebP picture of one frame of a stored image, at most ``size`` pixels at its longest side."""
    return app.isolation.run(wire.rendition, app.blobs.get(digest), size, "webp", number)


def attributes(app: AppContext, digest: str, more: Sequence[str]) -> dict[str, Attributes]:
    """By what a stored object is searched."""
    return checked(app.isolation.run(wire.attributes, app.blobs.get(digest), list(more)))


def texts(app: AppContext, dicom: bytes) -> set[tuple[str, str]]:
    """The free text that remains in what was prepared: attribute and value."""
    return {(str(name), str(value)) for name, value in app.isolation.run(wire.texts, dicom)}


def view(app: AppContext, dicom: bytes, size: int, number: int) -> bytes:
    """A WebP picture of one frame of what was prepared and is not stored, at most ``size`` pixels at a side."""
    return app.isolation.run(wire.rendition, dicom, size, "webp", number)


def content(app: AppContext, digest: str) -> dict[str, Any]:
    """What a stored object says beside its pixels; see ``content_of``."""
    return app.isolation.run(wire.content, app.blobs.get(digest))


def unstored_content(app: AppContext, dicom: bytes) -> dict[str, Any]:
    """What an object that is not stored says beside its pixels; it may identify somebody."""
    return app.isolation.run(wire.content, dicom)


def document(app: AppContext, digest: str) -> tuple[bytes, str]:
    """The document of a stored object, and its media type; empty where it is of no known kind."""
    data, media_type = app.isolation.run(wire.document, app.blobs.get(digest))
    return bytes(data), str(media_type)  # type: ignore[arg-type]


def page_size(app: AppContext, dicom: bytes) -> tuple[int, int, int]:
    """Pages of the document of an object that is not stored, and rows and columns of the first; zeros without one."""
    pages, rows, columns = app.isolation.run(wire.page_size, dicom)
    return int(pages), int(rows), int(columns)


def photograph(app: AppContext, digest: str) -> tuple[bytes, str]:
    """A stored photograph as a file that any program opens, and its media type."""
    content, media_type = app.isolation.run(wire.download, app.blobs.get(digest))
    return bytes(content), str(media_type)  # type: ignore[arg-type]


def placed(app: AppContext, dicom: bytes, study_uid: str, series_uid: str) -> bytes:
    """A DICOM file of ours as one of another study and series; nothing else of it changes."""
    return bytes(app.isolation.run(wire.placed, dicom, study_uid, series_uid))
