# SPDX-License-Identifier: Apache-2.0
"""Routes of uploads and arrivals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.foundation.http import STREAMED_BODY, Id, Page, Paging
from medhub.foundation.work_pools import runs_in
from medhub.ingest import patient_assignment, quarantine, release, service
from medhub.ingest.context import IngestSource
from medhub.ingest.ingest_file import Outcome
from medhub.ingest.patient_claims.chosen_patient import choose_patient
from medhub.ingest.schemas import (
    ArrivalOpened,
    ArrivalOut,
    Assign,
    Candidate,
    Discard,
    PatientClaim,
    Release,
    ReleaseAnswer,
    UploadAnswer,
)
from medhub.ingest.upload_batches import ingest_upload
from medhub.ingest.upload_parser import FILES, UploadReader, form

uploads = APIRouter(prefix="/api/images", tags=["images"])
arrivals = APIRouter(prefix="/api/arrivals", tags=["arrivals"])

_BODY = form(
    {
        "patient_id": {"type": "string", "description": "Id of the patient. Send it before the files."},
        "pathway": {"type": "string", "examples": ["smear-review"]},
        "study_id": {
            "type": "string",
            "description": "Id of a study of the patient into which the images are uploaded, whatever study "
            "they name. Send it before the files.",
        },
        "series_id": {"type": "string", "description": "The same for a series."},
        "files": FILES,
    },
    "files",
    "patient_id",
    "pathway",
)


@uploads.post("", summary="Upload images", dependencies=[STREAMED_BODY], openapi_extra=_BODY)
async def upload(request: Request, call: Annotated[Call, allow("image.upload")]) -> UploadAnswer:
    """Ingest images of a patient; each file has its own result, and only accepted files are stored."""
    settings = call.app.settings

    def open_source(fields: Mapping[str, str]) -> IngestSource:
        with call.reading() as session:
            return choose_patient(
                session,
                call.app,
                call.actor,
                fields["patient_id"],
                fields["pathway"],
                study_id=fields.get("study_id") or None,
                series_id=fields.get("series_id") or None,
            )

    with call.app.received.lease() as lease:
        reader = UploadReader(
            request.headers.get("content-type", ""), largest_file_bytes=settings.upload_max_bytes, lease=lease
        )
        parts, required = reader.parts(request.stream()), ("patient_id", "pathway")
        return UploadAnswer(items=await ingest_upload(call, parts, open_source, required, receive=request.receive))


@arrivals.get("/{id}", summary="A quarantined file")
@runs_in("rendering")
def open_arrival(call: Annotated[Call, allow("arrival.resolve")], id: ItemId) -> ArrivalOpened:
    """A quarantined file as a person reviews it: its reason, its size, and the boxes with text."""
    review = release.review_arrival(call.app, call.actor, id)
    return ArrivalOpened(
        **ArrivalOut.of(review.arrival, review.patient_code).model_dump(),
        rows=review.rows,
        columns=review.columns,
        frames=review.frames,
        boxes=review.arrival.boxes or [],
        shown_as=review.shown_as,
        texts=list(review.texts),
    )


@arrivals.get(
    "/{id}/frames/{number}",
    summary="A frame of a quarantined file",
    response_class=Response,
    responses={
        200: {
            "content": {"image/webp": {"schema": {"type": "string", "format": "binary"}}},
            "description": "A WebP image, as received: it may identify a person.",
        }
    },
)
@runs_in("rendering")
def view_arrival(
    call: Annotated[Call, allow("arrival.resolve")],
    id: ItemId,
    number: Annotated[int, PathParameter(ge=1, le=100_000, description="Number of the frame, from 1.")],
) -> Response:
    """One frame of a quarantined file, before redaction."""
    content = release.render_arrival(call.app, call.actor, id, number)
    return Response(content, media_type="image/webp", headers={"Cache-Control": "no-store"})


@arrivals.post("/{id}/release", summary="Release a quarantined file")
@runs_in("upload")
def release_arrival(call: Annotated[Call, allow("arrival.resolve")], id: ItemId, decision: Release) -> ReleaseAnswer:
    """Store a quarantined file, with only the boxes of a person redacted, or checked again by the program."""
    answer = release.release(call.app, call.actor, id, decision.regions(), decision.note)
    return ReleaseAnswer(outcome=answer.outcome, reason=answer.reason, image_id=answer.image_id)


@arrivals.get("/{id}/person", summary="The patient that a quarantined file names")
@runs_in("rendering")
def read_claim(call: Annotated[Call, allow("arrival.resolve")], id: ItemId) -> PatientClaim:
    """The patient identifiers in a file without a patient, and the patients to whom it may belong."""
    review = patient_assignment.review_assignment(call.app, call.actor, id)
    identifiers = review.identifiers
    return PatientClaim(
        name=identifiers.name,
        number=f"{identifiers.patient_id} ({identifiers.issuer})" if identifiers.issuer else identifiers.patient_id,
        birth_date=identifiers.birth_date,
        sex=identifiers.sex,
        modality=identifiers.modality,
        candidates=[
            Candidate(
                patient_id=patient.id,
                code=patient.code,
                sex=patient.sex,
                birth_year=patient.birth_year,
                identity=identity,
            )
            for patient, identity in review.candidates
        ],
    )


@arrivals.post("/{id}/assign", summary="Assign a quarantined file to a patient")
@runs_in("upload")
def assign_arrival(call: Annotated[Call, allow("arrival.resolve")], id: ItemId, assignment: Assign) -> ReleaseAnswer:
    """Assign a file to a known or new patient and release it; files with the same identifiers follow."""
    answer = patient_assignment.assign(call.app, call.actor, id, **assignment.model_dump())
    return ReleaseAnswer(outcome=answer.outcome, reason=answer.reason, image_id=answer.image_id)


@arrivals.post("/{id}/discard", summary="Destroy a quarantined file")
def discard_arrival(call: Annotated[Call, allow("arrival.resolve")], id: ItemId, decision: Discard) -> ArrivalOut:
    """Destroy the bytes of a quarantined file; the row with its reason stays."""
    with call.writing() as session:
        arrival = quarantine.discard(session, call.actor, id, decision.note)
        _, code = quarantine.get_arrival(session, call.actor, id, "arrival.resolve")
        return ArrivalOut.of(arrival, code)


@arrivals.get("", summary="Arrivals")
def list_arrivals(
    call: Annotated[Call, allow("arrival.read")],
    paging: Paging,
    outcome: Outcome | None = None,
    patient_id: Annotated[Id | None, Query()] = None,
    project_id: Annotated[Id | None, Query()] = None,
) -> Page[ArrivalOut]:
    """Received files and their outcomes, newest first."""
    with call.reading() as session:
        rows, total = service.list_arrivals(
            session,
            call.actor,
            project_id=project_id,
            patient_id=patient_id,
            outcome=outcome,
            offset=paging.offset,
            limit=paging.page_size,
        )
        return paging.of([ArrivalOut.of(arrival, code) for arrival, code in rows], total)
