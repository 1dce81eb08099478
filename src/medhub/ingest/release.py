# SPDX-License-Identifier: Apache-2.0
"""What the people who resolve quarantined files see of them, and what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, Invalid
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import DecoderFailed
from medhub.ingest import service
from medhub.ingest.context import Answer, ArrivalRefused, CleanedArrival, IngestContext
from medhub.ingest.image_writer import store
from medhub.ingest.models import Arrival, Receipt
from medhub.ingest.quarantine import get_arrival, open_waiting
from medhub.records import isolated_calls
from medhub.records.models import Patient
from medhub.records.pathway import get_pathway
from medhub.science.arrivals.burned_in_text import Region
from medhub.science.arrivals.cleaning import CleanedImage, Unacceptable
from medhub.science.imaging.dicom.object_kinds import ShownAs

_LARGEST_VIEW = 2_048


@dataclass(frozen=True)
class Opened:
    """What is known of a file that waits, for the page on which it is resolved."""

    arrival: Arrival
    patient_code: str | None
    rows: int = 0  # 0 where it cannot be shown
    columns: int = 0
    frames: int = 0  # of a document, its pages
    shown_as: ShownAs | None = None
    texts: tuple[str, ...] = ()  # of a document, the text of each page, with what is hidden in it


def look_at(app: AppContext, actor: Actor, arrival_id: str) -> Opened:
    """Open an arrival: what it is, and, where it waits and can be shown, how large its picture is."""
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
        return Opened(arrival, code)
    try:
        _, _, prepared = _prepared(app, actor, arrival_id)
    except (Unacceptable, ArrivalRefused, DecoderFailed):
        return Opened(arrival, code)
    if prepared.shown_as == "document":
        return _document(app, Opened(arrival, code, shown_as="document"), prepared)
    return Opened(arrival, code, prepared.rows, prepared.columns, prepared.frames, prepared.shown_as)


def _document(app: AppContext, opened: Opened, prepared: CleanedImage) -> Opened:
    """What a person reads of a document before it is taken in: its pages, or its text."""
    try:
        said = isolated_calls.unstored_content(app, prepared.dicom)["document"] or {}
        pages, rows, columns = isolated_calls.page_size(app, prepared.dicom)
    except (Unacceptable, DecoderFailed, LookupError):
        return opened
    texts = tuple(str(one) for one in said.get("texts", ()))
    return replace(opened, rows=rows, columns=columns, frames=pages, texts=texts)


def picture(app: AppContext, actor: Actor, arrival_id: str, number: int) -> bytes:
    """A WebP picture of one frame (from 1) of a file that waits, as it was received; it may identify somebody."""
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
    _, _, prepared = _prepared(app, actor, arrival_id)
    if prepared.shown_as == "document":
        return isolated_calls.view(app, prepared.dicom, _LARGEST_VIEW, number - 1)
    if not 1 <= number <= prepared.frames:
        raise Invalid(f"The file has the frames 1 to {prepared.frames}.", field="number")
    return isolated_calls.view(
        app, prepared.dicom, min(_LARGEST_VIEW, max(prepared.rows, prepared.columns)), number - 1
    )


def release(app: AppContext, actor: Actor, arrival_id: str, boxes: Sequence[Region] | None, note: str) -> Answer:
    """Take in a file that waited: with just the ``boxes`` of a person made black, or looked through anew by program.

    What is refused again stays where it was, and the reason is raised.
    """
    if boxes is not None and not note.strip():
        raise Invalid("Write what you looked at before you release it.", field="note")
    receiving, data, prepared = _prepared(app, actor, arrival_id)
    with app.database.reading() as session:
        arrival, _ = get_arrival(session, actor, arrival_id, "arrival.resolve")
        received_hash = service.hash_of(app, receiving, data)
        if session.get(Receipt, (receiving.project_id, received_hash)) is not None:
            raise Conflict("This file came in again meanwhile and was accepted. Discard this one.")
    for frame, x0, y0, x1, y1 in boxes or ():
        if not (1 <= frame <= prepared.frames and 0 <= x0 < x1 <= prepared.columns and 0 <= y0 < y1 <= prepared.rows):
            raise Invalid(
                f"A box lies outside of the picture, which has {prepared.frames} frames of {prepared.columns} x "
                f"{prepared.rows} pixels.",
                field="boxes",
            )
    seen = service.look(app, receiving, data, prepared, boxes)
    ready = CleanedArrival(
        receiving,
        prepared,
        seen,
        received_hash,
        released=arrival,
        note=note.strip() or None,
        by_person=boxes is not None,
    )
    return store(app, actor, ready)


def _prepared(app: AppContext, actor: Actor, arrival_id: str) -> tuple[IngestContext, bytes, CleanedImage]:
    with app.database.reading() as session:
        waiting = open_waiting(session, app, actor, arrival_id)
        if waiting.arrival.patient_id is None:
            raise Conflict("Nobody has said yet whose this file is. Choose its patient first.")
        patient = session.get_one(Patient, waiting.arrival.patient_id)
        pathway = get_pathway(app.settings, waiting.arrival.pathway) if waiting.arrival.pathway else None
        receiving = replace(
            service.receiving_of(session, app, patient, pathway),
            route=waiting.arrival.route,
            peer=waiting.arrival.peer,
        )
    return receiving, waiting.data, service.prepare(app, receiving, waiting.data)
