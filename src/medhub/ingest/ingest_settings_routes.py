# SPDX-License-Identifier: Apache-2.0
"""Routes of how a project takes in files that name their patient themselves, and by what it is searched."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.errors import Invalid
from medhub.ingest import ingest_settings
from medhub.ingest.context import too_large
from medhub.ingest.patient_matching import IngestSource
from medhub.ingest.pipeline import MOST_BYTES, MOST_FILES, receive_files
from medhub.ingest.quarantine import quarantine_unassigned
from medhub.ingest.schemas import ArchiveChoice, ArchiveOut, UploadAnswer, UploadItem
from medhub.ingest.upload_parser import FILES, UploadPart, UploadReader, form

projects = APIRouter(prefix="/api/projects", tags=["archive"])

_BODY = form(
    {"files": FILES},
    "files",
)


@projects.get("/{id}/archive", summary="How a project takes in files")
def read_archive(call: Annotated[Call, allow("project.read")], id: ItemId) -> ArchiveOut:
    """What holds for files that name their patient themselves, and how far what is here has been indexed."""
    with call.reading() as session:
        return ArchiveOut.of(ingest_settings.read_settings(session, call.actor, id))


@projects.put("/{id}/archive", summary="Choose how a project takes in files")
def change_archive(call: Annotated[Call, allow("project.change")], id: ItemId, choice: ArchiveChoice) -> ArchiveOut:
    """Take in files another way from now on; attributes that are new are looked up in what is here already."""
    with call.writing() as session:
        return ArchiveOut.of(ingest_settings.change_settings(session, call.app, call.actor, id, **choice.model_dump()))


@projects.post("/{id}/archive/index", summary="Index a project anew")
def index_archive(call: Annotated[Call, allow("project.change")], id: ItemId) -> ArchiveOut:
    """Take the searched attributes out of all images of a project once more; the settings tell how far it is."""
    with call.writing() as session:
        return ArchiveOut.of(ingest_settings.index_again(session, call.actor, id))


@projects.post("/{id}/files", summary="Upload files that say whose they are", openapi_extra=_BODY)
async def upload_files(request: Request, call: Annotated[Call, allow("image.upload")], id: ItemId) -> UploadAnswer:
    """Take in DICOM files of any patients; each names its own, and is never merged silently."""
    await run_in_threadpool(call.actor.require, "image.upload", id, "project")
    settings = call.app.settings
    reader = UploadReader(request.headers.get("content-type", ""), largest_file_bytes=settings.upload_max_bytes)
    waiting: list[UploadPart] = []
    items: list[UploadItem] = []
    async for part in reader.parts(request.stream()):
        if part.filename is None or part.name != "files":
            continue
        waiting.append(part)
        if len(items) + len(waiting) > settings.upload_max_files:
            raise Invalid(
                f"At most {settings.upload_max_files} files go into one upload. Send the rest apart.", field="files"
            )
        if len(waiting) >= MOST_FILES or sum(len(one.data) for one in waiting) >= MOST_BYTES:
            items += await run_in_threadpool(_receive, call, id, waiting)
            waiting = []
    if waiting:
        items += await run_in_threadpool(_receive, call, id, waiting)
    if not items:
        raise Invalid("The upload has no files. Choose at least one.", field="files")
    return UploadAnswer(items=items)


def _receive(call: Call, project_id: str, parts: list[UploadPart]) -> list[UploadItem]:
    door = IngestSource(project_id, "folder")
    taken = iter(receive_files(call.app, call.actor, door, [bytes(one.data) for one in parts if not one.truncated]))
    answers = [
        quarantine_unassigned(call.app, call.actor, door, b"", too_large(call.app, one.size), one.size)
        if one.truncated
        else next(taken)
        for one in parts
    ]
    return [
        UploadItem(
            filename=(one.filename or "")[:255],
            outcome=answer.outcome,
            reason=answer.reason,
            image_id=answer.image_id,
        )
        for one, answer in zip(parts, answers, strict=True)
    ]
