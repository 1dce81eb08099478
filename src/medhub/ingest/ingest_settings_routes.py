# SPDX-License-Identifier: Apache-2.0
"""Routes of the ingest settings of a project, and of uploads of DICOM files that name their patient."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.foundation.http import STREAMED_BODY
from medhub.foundation.work_pools import runs_in
from medhub.ingest import ingest_settings
from medhub.ingest.context import IngestSource
from medhub.ingest.schemas import ArchiveChoice, ArchiveOut, UploadAnswer
from medhub.ingest.upload_batches import ingest_upload
from medhub.ingest.upload_parser import FILES, UploadReader, form

projects = APIRouter(prefix="/api/projects", tags=["archive"])

_BODY = form(
    {"files": FILES},
    "files",
)


@projects.get("/{id}/archive", summary="Ingest settings of a project")
def read_archive(call: Annotated[Call, allow("project.read")], id: ItemId) -> ArchiveOut:
    """The rules for files that name their patient, and the progress of indexing."""
    with call.reading() as session:
        return ArchiveOut.of(ingest_settings.read_settings(session, call.actor, id))


@projects.put("/{id}/archive", summary="Change the ingest settings of a project")
@runs_in("outside")
def change_archive(call: Annotated[Call, allow("project.change")], id: ItemId, choice: ArchiveChoice) -> ArchiveOut:
    """Change the rules for new files; new search attributes are read from the stored images as well."""
    with call.writing() as session:
        return ArchiveOut.of(ingest_settings.change_settings(session, call.app, call.actor, id, **choice.model_dump()))


@projects.post("/{id}/archive/index", summary="Index a project again")
@runs_in("outside")
def index_archive(call: Annotated[Call, allow("project.change")], id: ItemId) -> ArchiveOut:
    """Read the search attributes from all images of a project again; the settings show the progress."""
    with call.writing() as session:
        return ArchiveOut.of(ingest_settings.index_again(session, call.actor, id))


@projects.post(
    "/{id}/files",
    summary="Upload files that name their patient",
    dependencies=[STREAMED_BODY],
    openapi_extra=_BODY,
)
async def upload_files(request: Request, call: Annotated[Call, allow("image.upload")], id: ItemId) -> UploadAnswer:
    """Ingest DICOM files of any patients; each names its patient, and contradictions are never merged."""
    await run_in_threadpool(call.actor.require, "image.upload", id, "project")
    source, settings = IngestSource(id, "folder"), call.app.settings
    with call.app.received.lease() as lease:
        reader = UploadReader(
            request.headers.get("content-type", ""), largest_file_bytes=settings.upload_max_bytes, lease=lease
        )
        parts = reader.parts(request.stream())
        return UploadAnswer(items=await ingest_upload(call, parts, lambda _: source, receive=request.receive))
