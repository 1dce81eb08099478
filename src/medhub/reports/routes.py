# SPDX-License-Identifier: Apache-2.0
"""Routes of reports."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.foundation.http import Id, Moment, Page, Paging, Schema
from medhub.foundation.work_pools import runs_in
from medhub.reports import service

cases = APIRouter(prefix="/api/cases", tags=["cases"])
reports = APIRouter(prefix="/api/reports", tags=["reports"])


class ReportOut(Schema):
    """An issued report."""

    case_id: str
    project_id: str
    patient_id: str
    patient_code: str
    pathway: str
    version: int
    superseded: bool
    issued_at: Moment
    signed_by: str | None
    digest: str


@cases.get(
    "/{id}/report.pdf",
    summary="The report of a signed case",
    response_class=Response,
    responses={
        200: {
            "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}},
            "description": "The report; with the identity only for roles that may read it.",
        }
    },
)
@runs_in("outside")
def read_report(call: Annotated[Call, allow("report.read")], id: ItemId) -> Response:
    """The report as PDF; the same bytes each time."""
    case, pdf = service.read_report(call.app, call.actor, id)
    return Response(
        pdf,
        media_type="application/pdf",
        headers={
            "Content-Disposition": f'inline; filename="report-{case.id}-v{case.version}.pdf"',
            "Cache-Control": "private, no-store",
        },
    )


@reports.get("", summary="Reports")
def list_reports(
    call: Annotated[Call, allow("report.read")],
    paging: Paging,
    project_id: Annotated[Id | None, Query()] = None,
    case_id: Annotated[Id | None, Query()] = None,
) -> Page[ReportOut]:
    """Issued reports, by default newest first."""
    with call.reading() as session:
        rows, total = service.list_reports(
            session,
            call.actor,
            project_id=project_id,
            case_id=case_id,
            query=paging.query,
            sort=paging.sort,
            offset=paging.offset,
            limit=paging.page_size,
        )
        return paging.of(
            [
                ReportOut(
                    case_id=case.id,
                    project_id=case.project_id,
                    patient_id=case.patient_id,
                    patient_code=code,
                    pathway=case.pathway,
                    version=case.version,
                    superseded=case.superseded,
                    issued_at=report.issued_at,
                    signed_by=case.signed_by,
                    digest=report.digest,
                )
                for report, case, code in rows
            ],
            total,
        )
