# SPDX-License-Identifier: Apache-2.0
"""Quarantined files as a person reviews them, and their release through the steps of the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, Invalid
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import DecoderFailed
from medhub.foundation.visible_text import require_text, visible_text
from medhub.ingest.ingest_file import IngestFile, IngestResult, ReleaseDecision
from medhub.ingest.models import Arrival
from medhub.ingest.patient_claims.assigned_patient import source_of
from medhub.ingest.pipeline import (
    check_phi,
    clean_files,
    hash_received,
    identify_patients,
    known_hashes,
    store_accepted,
)
from medhub.ingest.quarantine import get_arrival, open_arrival
from medhub.ingest.refusals import ArrivalRefused, FileUndecodable
from medhub.records import isolated_calls
from medhub.science.arrivals.burned_in_text import Region
from medhub.science.arrivals.cleaned_image import CleanedImage
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.object_kinds import ShownAs

_LARGEST_VIEW = 2_048


@dataclass(frozen=True)
class ArrivalReview:
    """An arrival as a person reviews it; the size is 0 where the file cannot be displayed."""

    arrival: Arrival
    patient_code: str | None
    rows: int = 0
    columns: int = 0
    frames: int = 0  # pages of a document
    shown_as: ShownAs | None = None
    texts: tuple[str, ...] = ()  # the text of each page of a document, hidden text included


def review_arrival(app: AppContext, actor: Actor, arrival_id: str) -> ArrivalReview:
    """Read an arrival, with the size of its image where it is quarantined and can be displayed."""
    with app.database.reading() as session:
        arrival, code = get_arrival(session, actor, arrival_id, "arrival.resolve")
        actor.record(
            session,
            "arrival.read",
            "arrival",
            arrival.id,
            project_id=arrival.project_id,
            patient_id=arrival.patient_id,
        )
    if arrival.outcome != "quarantined" or arrival.sealed_bytes is None or arrival.patient_id is None:
        return ArrivalReview(arrival, code)
    try:
        _, image = _clean_arrival(app, actor, arrival_id)
    except (Unacceptable, ArrivalRefused, DecoderFailed):
        return ArrivalReview(arrival, code)
    if image.shown_as == "document":
        return _add_document(app, ArrivalReview(arrival, code, shown_as="document"), image)
    return ArrivalReview(arrival, code, image.rows, image.columns, image.frames, image.shown_as)


def _add_document(app: AppContext, review: ArrivalReview, image: CleanedImage) -> ArrivalReview:
    """Add the pages and the text of a document."""
    try:
        document = isolated_calls.read_unstored_content(app, image.dicom)["document"] or {}
        pages, rows, columns = isolated_calls.measure_pages(app, image.dicom)
    except (Unacceptable, DecoderFailed, LookupError):
        return review
    texts = tuple(str(text) for text in document.get("texts", ()))
    return replace(review, rows=rows, columns=columns, frames=pages, texts=texts)


def render_arrival(app: AppContext, actor: Actor, arrival_id: str, number: int) -> bytes:
    """Render one frame (from 1) of a quarantined file as WebP, as received; it may identify a person."""
    with app.database.reading() as session:
        arrival, _ = get_arrival(session, actor, arrival_id, "arrival.resolve")
        actor.record(
            session,
            "arrival.view",
            "arrival",
            arrival.id,
            project_id=arrival.project_id,
            patient_id=arrival.patient_id,
            frame=number,
        )
    _, image = _clean_arrival(app, actor, arrival_id)
    if image.shown_as == "document":
        return isolated_calls.render_unstored(app, image.dicom, _LARGEST_VIEW, number - 1)
    if not 1 <= number <= image.frames:
        raise Invalid(f"The file has the frames 1 to {image.frames}.", field="number")
    # Boxes are drawn in stored pixels.
    size = min(_LARGEST_VIEW, max(image.rows, image.columns))
    return isolated_calls.render_unstored(app, image.dicom, size, number - 1, square=False)


def release(app: AppContext, actor: Actor, arrival_id: str, boxes: Sequence[Region] | None, note: str) -> IngestResult:
    """Store a quarantined file, with only the ``boxes`` of a person redacted, or checked again by the program.

    A file that is refused again stays in quarantine, and the reason is raised.
    """
    if boxes is not None:
        require_text(note, "Write what you looked at before you release it.", "note")
    file, image = _clean_arrival(app, actor, arrival_id)
    with app.database.reading() as session:
        arrival, _ = get_arrival(session, actor, arrival_id, "arrival.resolve")
        file.received_hash = hash_received(app, arrival.project_id, file.data)
        if known_hashes(session, arrival.project_id, [file.received_hash]):
            raise Conflict("This file came in again meanwhile and was accepted. Discard this one.")
    for frame, x0, y0, x1, y1 in boxes or ():
        if not (1 <= frame <= image.frames and 0 <= x0 < x1 <= image.columns and 0 <= y0 < y1 <= image.rows):
            raise Invalid(
                f"A box lies outside of the picture, which has {image.frames} frames of {image.columns} x "
                f"{image.rows} pixels.",
                field="boxes",
            )
    file.release = ReleaseDecision(arrival_id, boxes, visible_text(note))
    check_phi(app, [file])
    store_accepted(app, actor, source_of(arrival), [file])
    if file.result is None:
        raise _error_of(file)
    return file.result


def _clean_arrival(app: AppContext, actor: Actor, arrival_id: str) -> tuple[IngestFile, CleanedImage]:
    """Open a quarantined file and clean its header in memory; raises the reason where it is refused."""
    with app.database.reading() as session:
        opened = open_arrival(session, app, actor, arrival_id)
    if opened.arrival.patient_id is None:
        raise Conflict("Nobody has said yet whose this file is. Choose its patient first.")
    source = source_of(opened.arrival)
    file = IngestFile(opened.data, len(opened.data), release=ReleaseDecision(arrival_id, None, None))
    identify_patients(app, actor, source, [file])
    clean_files(app, source, [file])
    if file.image is None:
        raise _error_of(file)
    return file, file.image


def _error_of(file: IngestFile) -> Exception:
    """The error by which a refused file is reported to the person who releases it."""
    if isinstance(file.refusal, FileUndecodable):
        return file.refusal.failure
    return file.refusal or RuntimeError("the file has neither result nor refusal")
