# SPDX-License-Identifier: Apache-2.0
"""Routes of exports."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy.orm import Session

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.export import service, transfer
from medhub.export.models import Export
from medhub.export.schemas import ClearIn, ExcludeIn, ExportCreate, ExportOut, FindingOut, SendingOut, SendTo, State
from medhub.export.selection import Selection
from medhub.foundation.file_responses import Span, SpanResponse
from medhub.foundation.http import Id, Page, Paging

exports = APIRouter(prefix="/api/exports", tags=["exports"])

FindingId = Annotated[Id, Path(description="Id of the finding.")]


def _out(session: Session, call: Call, export: Export) -> ExportOut:
    session.flush()
    project = call.actor.project_names.get(export.project_id, "")
    return ExportOut.of(export, project, service.counts_of(session, [export.id])[export.id])


@exports.get("", summary="Exports")
def list_exports(
    call: Annotated[Call, allow("export.read")],
    paging: Paging,
    project_id: Annotated[Id | None, Query()] = None,
    state: State | None = None,
) -> Page[ExportOut]:
    """What was ordered to leave, the latest first unless sorted otherwise."""
    with call.reading() as session:
        found, total = service.list_exports(
            session,
            call.actor,
            project_id=project_id,
            state=state,
            sort=paging.sort,
            offset=paging.offset,
            limit=paging.page_size,
        )
        counts = service.counts_of(session, [one.id for one in found])
        names = call.actor.project_names
        return paging.of([ExportOut.of(one, names.get(one.project_id, ""), counts[one.id]) for one in found], total)


@exports.post("", status_code=201, summary="Order an export")
def create_export(call: Annotated[Call, allow("export.create")], given: ExportCreate) -> ExportOut:
    """Have a data set built, looked through and packed; it can be fetched once nothing in it says who somebody is."""
    project_id = call.actor.choose_project("export.create", given.project_id)
    with call.writing() as session:
        made = service.order(
            session,
            call.app,
            call.actor,
            project_id=project_id,
            chosen=Selection(given.selection, given.ids, given.pathway, given.wanted),
            form=given.form,
            picture=given.picture,
        )
        return _out(session, call, made)


@exports.get("/{id}", summary="One export")
def read_export(call: Annotated[Call, allow("export.read")], id: ItemId) -> ExportOut:
    """An export: how far it is, among how many people each hides, and what waits for a decision."""
    with call.reading() as session:
        return _out(session, call, service.get_export(session, call.actor, id))


@exports.delete("/{id}", summary="Destroy an export")
def destroy_export(call: Annotated[Call, allow("export.create")], id: ItemId) -> ExportOut:
    """Destroy what was built before its time; that it was there stays known."""
    with call.writing() as session:
        return _out(session, call, service.destroy(session, call.app, call.actor, id))


@exports.get("/{id}/findings", summary="What the last look found")
def list_findings(
    call: Annotated[Call, allow("export.read")],
    id: ItemId,
    paging: Paging,
    state: Literal["open", "cleared", "excluded"] | None = None,
) -> Page[FindingOut]:
    """What says, or may say, who somebody is; each value once, shown only to who may see identities."""
    with call.reading() as session:
        export = service.get_export(session, call.actor, id)
        found, total = service.list_findings(
            session,
            call.app.keys,
            call.actor,
            export,
            state=state,
            offset=paging.offset,
            limit=paging.page_size,
        )
        return paging.of([FindingOut.of(one) for one in found], total)


@exports.post("/{id}/findings/{finding_id}/clear", summary="Clear a finding")
def clear_finding(
    call: Annotated[Call, allow("export.clear")], id: ItemId, finding_id: FindingId, given: ClearIn
) -> ExportOut:
    """Say why a value identifies nobody; once nothing is open, the export is packed."""
    with call.writing() as session:
        return _out(session, call, service.clear(session, call.actor, id, finding_id, given.note, alike=given.alike))


@exports.post("/{id}/findings/{finding_id}/exclude", summary="Take images out")
def exclude_images(
    call: Annotated[Call, allow("export.create")], id: ItemId, finding_id: FindingId, given: ExcludeIn
) -> ExportOut:
    """Take every image out in which a value was found; once nothing is open, the export is packed."""
    with call.writing() as session:
        return _out(session, call, service.exclude(session, call.actor, id, finding_id, given.note))


@exports.post("/{id}/sendings", summary="Send an export to a DICOM node")
def send_export(call: Annotated[Call, allow("export.create")], id: ItemId, given: SendTo) -> SendingOut:
    """Send the objects of a finished export by C-STORE, in the background."""
    with call.writing() as session:
        return SendingOut.model_validate(transfer.order(session, call.actor, id, given.node), extra="ignore")


@exports.get("/{id}/sendings", summary="Where an export was sent")
def list_sendings(call: Annotated[Call, allow("export.read")], id: ItemId) -> list[SendingOut]:
    """Each time that the export was sent, newest first, and how far it is."""
    with call.reading() as session:
        found = transfer.list_sendings(session, call.actor, id)
        return [SendingOut.model_validate(one, extra="ignore") for one in found]


@exports.get(
    "/{id}/file",
    summary="Download an export",
    response_class=Response,
    responses={
        200: {
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
            "description": "A ZIP with neutral names.",
        }
    },
)
def read_file(call: Annotated[Call, allow("export.read")], id: ItemId) -> Response:
    """The export as one ZIP, whole each time."""
    with call.reading() as session:
        export, path = service.fetch(session, call.app.settings, call.actor, id)
    headers = {
        "Content-Disposition": f'attachment; filename="export-{export.id[-12:]}.zip"',
        "Cache-Control": "private, no-store",
        "Accept-Ranges": "none",
        "X-Content-Type-Options": "nosniff",
    }
    return SpanResponse(Span.whole(path), media_type="application/zip", headers=headers)
