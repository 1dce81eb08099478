# SPDX-License-Identifier: Apache-2.0
"""Routes of uploading, and of looking at what came in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter
from starlette.concurrency import run_in_threadpool

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.errors import Invalid
from medhub.foundation.http import Id, Page, Paging
from medhub.ingest import patient_assignment, quarantine, release, service
from medhub.ingest.context import too_large
from medhub.ingest.schemas import (
    ArrivalOpened,
    ArrivalOut,
    Assign,
    Candidate,
    Discard,
    PersonSaid,
    Release,
    ReleaseAnswer,
    UploadAnswer,
    UploadItem,
)
from medhub.ingest.service import IngestContext, Outcome
from medhub.ingest.upload_parser import FILES, UploadPart, UploadReader, form

uploads = APIRouter(prefix="/api/images", tags=["images"])
arrivals = APIRouter(prefix="/api/arrivals", tags=["arrivals"])

# Files that come before the fields that say whose they are wait in memory, up to this.
MOST_WAITING_BYTES = 256 * 1024**2

_BODY = form(
    {
        "patient_id": {"type": "string", "description": "Id of the patient. Send it before the files."},
        "pathway": {"type": "string", "examples": ["smear-review"]},
        "study_id": {
            "type": "string",
            "description": "Id of a study of the patient's that the images are to lie in, whatever "
            "they say themselves. Send it before the files.",
        },
        "series_id": {"type": "string", "description": "The same for a series."},
        "files": FILES,
    },
    "files",
    "patient_id",
    "pathway",
)


@uploads.post("", summary="Upload images", openapi_extra=_BODY)
async def upload(request: Request, call: Annotated[Call, allow("image.upload")]) -> UploadAnswer:
    """Take in images of a patient; each file gets an answer of its own, and only those accepted are kept."""
    settings = call.app.settings
    reader = UploadReader(request.headers.get("content-type", ""), largest_file_bytes=settings.upload_max_bytes)
    given: dict[str, str] = {}
    waiting: list[UploadPart] = []
    receiving: IngestContext | None = None
    items: list[UploadItem] = []
    async for part in reader.parts(request.stream()):
        if part.filename is None:
            given[part.name] = part.data.decode("utf-8", "replace")
        elif part.name == "files":
            waiting.append(part)
        if len(items) + len(waiting) > settings.upload_max_files:
            raise Invalid(
                f"At most {settings.upload_max_files} files go into one upload. Send the rest apart.", field="files"
            )
        # All that says whose the files are and where they go comes before the first of them.
        if receiving is None and waiting and {"patient_id", "pathway"} <= given.keys():
            receiving = await run_in_threadpool(_begin, call, dict(given))
        if receiving is not None:
            for one in waiting:
                items.append(await run_in_threadpool(_receive, call, receiving, one))
            waiting = []
        elif sum(len(one.data) for one in waiting) > MOST_WAITING_BYTES:
            raise Invalid("Send patient_id and pathway before the files.", field="patient_id")
    for name in ("patient_id", "pathway"):
        if name not in given:
            raise Invalid(f"The upload does not say its {name}.", field=name)
    if receiving is None:
        await run_in_threadpool(_begin, call, dict(given))
    if not items:
        raise Invalid("The upload has no files. Choose at least one.", field="files")
    return UploadAnswer(items=items)


def _begin(call: Call, given: dict[str, str]) -> IngestContext:
    said = {name: value.replace("\x00", "") for name, value in given.items()}
    with call.reading() as session:
        return service.begin(
            session,
            call.app,
            call.actor,
            said["patient_id"],
            said["pathway"],
            study_id=said.get("study_id") or None,
            series_id=said.get("series_id") or None,
        )


def _receive(call: Call, receiving: IngestContext, part: UploadPart) -> UploadItem:
    filename = (part.filename or "")[:255]
    if part.truncated:
        refusal = too_large(call.app, part.size)
        answer = service.quarantine(call.app, call.actor, receiving, b"", refusal, part.size)
    else:
        answer = service.receive(call.app, call.actor, receiving, bytes(part.data))
    return UploadItem(filename=filename, outcome=answer.outcome, reason=answer.reason, image_id=answer.image_id)


@arrivals.get("/{id}", summary="A file that waits")
def open_arrival(call: Annotated[Call, allow("arrival.resolve")], id: ItemId) -> ArrivalOpened:
    """A received file for who resolves it: why it waits, its size, and where writing was found in it."""
    opened = release.look_at(call.app, call.actor, id)
    return ArrivalOpened(
        **ArrivalOut.of(opened.arrival, opened.patient_code).model_dump(),
        rows=opened.rows,
        columns=opened.columns,
        frames=opened.frames,
        boxes=opened.arrival.boxes or [],
        shown_as=opened.shown_as,
        texts=list(opened.texts),
    )


@arrivals.get(
    "/{id}/frames/{number}",
    summary="The picture of a file that waits",
    response_class=Response,
    responses={
        200: {
            "content": {"image/webp": {"schema": {"type": "string", "format": "binary"}}},
            "description": "A WebP picture, as received: it may identify somebody.",
        }
    },
)
def view_arrival(
    call: Annotated[Call, allow("arrival.resolve")],
    id: ItemId,
    number: Annotated[int, PathParameter(ge=1, le=100_000, description="Number of the frame, from 1.")],
) -> Response:
    """One frame of a file that waits, before anything is made black."""
    content = release.picture(call.app, call.actor, id, number)
    return Response(content, media_type="image/webp", headers={"Cache-Control": "no-store"})


@arrivals.post("/{id}/release", summary="Take in a file that waits")
def release_arrival(call: Annotated[Call, allow("arrival.resolve")], id: ItemId, wanted: Release) -> ReleaseAnswer:
    """Take in a quarantined file, with just the boxes made black that a person chose, or looked through anew."""
    answer = release.release(call.app, call.actor, id, wanted.regions(), wanted.note)
    return ReleaseAnswer(outcome=answer.outcome, reason=answer.reason, image_id=answer.image_id)


@arrivals.get("/{id}/person", summary="What a file that waits says of its patient")
def read_claim(call: Annotated[Call, allow("arrival.resolve")], id: ItemId) -> PersonSaid:
    """Of whom a file that is nobody's yet speaks, beside the patients for whom it may be."""
    claim = patient_assignment.look_at_claim(call.app, call.actor, id)
    said = claim.said
    return PersonSaid(
        name=said.name,
        number=f"{said.patient_id} ({said.issuer})" if said.issuer else said.patient_id,
        birth_date=said.birth_date,
        sex=said.sex,
        modality=said.modality,
        candidates=[
            Candidate(
                patient_id=patient.id,
                code=patient.code,
                sex=patient.sex,
                birth_year=patient.birth_year,
                identity=identity,
            )
            for patient, identity in claim.candidates
        ],
    )


@arrivals.post("/{id}/assign", summary="Say whose a file is that waits")
def assign_arrival(call: Annotated[Call, allow("arrival.resolve")], id: ItemId, wanted: Assign) -> ReleaseAnswer:
    """Give a file that is nobody's to a patient, known or new, and take it in; what says the same follows it."""
    answer = patient_assignment.assign(call.app, call.actor, id, **wanted.model_dump())
    return ReleaseAnswer(outcome=answer.outcome, reason=answer.reason, image_id=answer.image_id)


@arrivals.post("/{id}/discard", summary="Destroy a file that waits")
def discard_arrival(call: Annotated[Call, allow("arrival.resolve")], id: ItemId, wanted: Discard) -> ArrivalOut:
    """Destroy the bytes of a quarantined file; the row with its reasons stays."""
    with call.writing() as session:
        arrival = quarantine.discard(session, call.actor, id, wanted.note)
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
    """What came in and what became of it, newest first."""
    with call.reading() as session:
        found, total = service.list_arrivals(
            session,
            call.actor,
            project_id=project_id,
            patient_id=patient_id,
            outcome=outcome,
            offset=paging.offset,
            limit=paging.page_size,
        )
        return paging.of([ArrivalOut.of(arrival, code) for arrival, code in found], total)
