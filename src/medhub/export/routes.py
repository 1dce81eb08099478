# SPDX-License-Identifier: Apache-2.0
"""Routes of exports."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy.orm import Session

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.export import export_findings, finding_picture, service, transfer
from medhub.export.models import Export
from medhub.export.schemas import ClearIn, ExcludeIn, ExportCreate, ExportOut, FindingOut, SendingOut, SendTo, State
from medhub.export.selection import Selection
from medhub.foundation.file_responses import FileRange, FileRangeResponse
from medhub.foundation.http import Id, Page, Paging
from medhub.foundation.work_pools import runs_in

exports = APIRouter(prefix="/api/exports", tags=["exports"])

_BINARY = {"schema": {"type": "string", "format": "binary"}}
FindingId = Annotated[Id, Path(description="Id of the finding.")]


def _out(session: Session, call: Call, export: Export) -> ExportOut:
    session.flush()
    project = call.actor.project_names.get(export.project_id, "")
    return ExportOut.of(export, project, export_findings.count_findings(session, [export.id])[export.id])


@exports.get("", summary="Exports")
def list_exports(
    call: Annotated[Call, allow("export.read")],
    paging: Paging,
    project_id: Annotated[Id | None, Query()] = None,
    state: State | None = None,
) -> Page[ExportOut]:
    """Exports, newest first unless sorted otherwise."""
    with call.reading() as session:
        rows, total = service.list_exports(
            session,
            call.actor,
            project_id=project_id,
            state=state,
            sort=paging.sort,
            offset=paging.offset,
            limit=paging.page_size,
        )
        counts = export_findings.count_findings(session, [export.id for export in rows])
        names = call.actor.project_names
        return paging.of(
            [ExportOut.of(export, names.get(export.project_id, ""), counts[export.id]) for export in rows], total
        )


@exports.post("", status_code=201, summary="Order an export")
@runs_in("outside")
def create_export(call: Annotated[Call, allow("export.create")], body: ExportCreate) -> ExportOut:
    """Build a data set in the background: PHI scan, decisions on findings, packing, download."""
    project_id = call.actor.choose_project("export.create", body.project_id)
    with call.writing() as session:
        export = service.create_export(
            session,
            call.app,
            call.actor,
            project_id=project_id,
            selection=Selection(body.selection, body.ids, body.pathway, body.wanted),
            form=body.form,
            picture=body.picture,
        )
        return _out(session, call, export)


@exports.get("/{id}", summary="One export")
def read_export(call: Annotated[Call, allow("export.read")], id: ItemId) -> ExportOut:
    """An export: its progress, its k-anonymity, and the number of findings that wait for a decision."""
    with call.reading() as session:
        return _out(session, call, service.get_export(session, call.actor, id))


@exports.delete("/{id}", summary="Destroy an export")
def destroy_export(call: Annotated[Call, allow("export.create")], id: ItemId) -> ExportOut:
    """Destroy an export before it expires; its entry remains."""
    with call.writing() as session:
        return _out(session, call, service.destroy_export(session, call.app, call.actor, id))


@exports.get("/{id}/findings", summary="Findings of the PHI scan")
def list_findings(
    call: Annotated[Call, allow("export.read")],
    id: ItemId,
    paging: Paging,
    state: Literal["open", "cleared", "excluded"] | None = None,
) -> Page[FindingOut]:
    """Values that identify, or may identify, a patient; the value itself only for roles that may read identities."""
    with call.reading() as session:
        export = service.get_export(session, call.actor, id)
        groups, total = export_findings.list_findings(
            session,
            call.app.keys,
            call.actor,
            export,
            state=state,
            offset=paging.offset,
            limit=paging.page_size,
        )
        return paging.of([FindingOut.of(group) for group in groups], total)


@exports.get(
    "/{id}/findings/{finding_id}/picture",
    summary="Picture of a finding",
    response_class=Response,
    responses={200: {"content": {"image/webp": _BINARY}, "description": "A WebP picture."}},
)
def read_finding_picture(
    call: Annotated[Call, allow("export.read")],
    id: ItemId,
    finding_id: FindingId,
    size: Annotated[int, Query(ge=16, le=2048, description="Pixels at the longest side.")] = 256,
) -> Response:
    """The frame with a finding; the text that was found is covered, unless the role may read identities."""
    with call.reading() as session:
        export = service.get_export(session, call.actor, id)
        image, frame, covered = finding_picture.get_finding_image(session, call.actor, export, finding_id)
    content = finding_picture.render_finding(call.app, image, frame, covered, size)
    return Response(content, media_type="image/webp", headers={"Cache-Control": "private, no-store"})


@exports.post("/{id}/findings/{finding_id}/clear", summary="Clear a finding")
def clear_finding(
    call: Annotated[Call, allow("export.clear")], id: ItemId, finding_id: FindingId, body: ClearIn
) -> ExportOut:
    """Clear a value that identifies nobody, with the reason; the export is packed when no finding is open."""
    with call.writing() as session:
        export = service.clear_finding(session, call.actor, id, finding_id, body.note, scope=body.alike)
        return _out(session, call, export)


@exports.post("/{id}/findings/{finding_id}/exclude", summary="Exclude images")
def exclude_images(
    call: Annotated[Call, allow("export.create")], id: ItemId, finding_id: FindingId, body: ExcludeIn
) -> ExportOut:
    """Exclude every image with a value; the export is packed when no finding is open."""
    with call.writing() as session:
        return _out(session, call, service.exclude_images(session, call.actor, id, finding_id, body.note))


@exports.post("/{id}/sendings", summary="Send an export to a DICOM node")
def send_export(call: Annotated[Call, allow("export.create")], id: ItemId, body: SendTo) -> SendingOut:
    """Send the objects of a finished export by C-STORE, in the background."""
    with call.writing() as session:
        return SendingOut.model_validate(transfer.create_sending(session, call.actor, id, body.node), extra="ignore")


@exports.get("/{id}/sendings", summary="Transmissions of an export")
def list_sendings(call: Annotated[Call, allow("export.read")], id: ItemId) -> list[SendingOut]:
    """The transmissions of an export, newest first, with their progress."""
    with call.reading() as session:
        sendings = transfer.list_sendings(session, call.actor, id)
        return [SendingOut.model_validate(sending, extra="ignore") for sending in sendings]


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
@runs_in("outside")
def read_file(call: Annotated[Call, allow("export.read")], id: ItemId) -> Response:
    """The export as one ZIP; ranges are not supported."""
    with call.reading() as session:
        export, path = service.get_export_file(session, call.app.settings, call.actor, id)
    headers = {
        "Content-Disposition": f'attachment; filename="export-{export.id[-12:]}.zip"',
        "Cache-Control": "private, no-store",
        "Accept-Ranges": "none",
        "X-Content-Type-Options": "nosniff",
    }
    return FileRangeResponse(FileRange.of_file(path), media_type="application/zip", headers=headers)
