# SPDX-License-Identifier: Apache-2.0
"""Routes of the audit log; in this package because entries are found and shown by the codes of patients."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from medhub.accounts import service
from medhub.accounts.access import Call, allow
from medhub.audit import service as audit
from medhub.foundation.http import Id, Moment, Page, Paging, Schema, Text
from medhub.foundation.work_pools import runs_in
from medhub.records.counts import find_patients_by_code, patient_codes

audit_routes = APIRouter(prefix="/api/audit", tags=["audit"])

FilterText = Annotated[Text | None, Query(max_length=100)]


class AuditEntryOut(Schema):
    """An audit entry: person, action, object, time, origin and outcome."""

    seq: int
    at: Moment
    actor_id: str | None
    actor: str
    action: str
    object_type: str
    object_id: str | None
    project_id: str | None
    patient_id: str | None
    patient_code: str | None = None
    origin: str
    outcome: str
    detail: dict[str, Any]
    hash: str


@audit_routes.get("", summary="Audit log")
def list_entries(
    call: Annotated[Call, allow("audit.read")],
    paging: Paging,
    project_id: Annotated[Id | None, Query()] = None,
    action: FilterText = None,
    actor_id: FilterText = None,
    object_type: FilterText = None,
    object_id: FilterText = None,
    patient_id: FilterText = None,
    outcome: FilterText = None,
    since: Annotated[AwareDatetime | None, Query(description="From this time on.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Before this time.")] = None,
) -> Page[AuditEntryOut]:
    """The entries of the projects that you administer, newest first."""
    projects = call.actor.projects("audit.read", project_id)
    with call.reading() as session:
        entry_filter = audit.EntryFilter(
            project_ids=projects,
            actor_ids=service.list_members(session, projects),
            query=paging.query,
            query_patient_ids=find_patients_by_code(session, projects, paging.query) if paging.query else frozenset(),
            action=action,
            actor_id=actor_id,
            object_type=object_type,
            object_id=object_id,
            patient_id=patient_id,
            outcome=outcome,
            since=since,
            until=until,
        )
        entries, total = audit.list_entries(session, entry_filter, offset=paging.offset, limit=paging.page_size)
        codes = patient_codes(session, {entry.patient_id for entry in entries if entry.patient_id is not None})
        rows = [AuditEntryOut.model_validate(entry) for entry in entries]
        for row in rows:
            row.patient_code = codes.get(row.patient_id or "")
        return paging.of(rows, total)


class ChainCheckOut(Schema):
    """The result of a check of the hash chain: the first invalid entry, and what is wrong with it."""

    entries: int
    intact: bool
    broken_at: int | None
    reason: str | None
    last_hash: str
    keyed_from: int | None


@audit_routes.get("/verification", summary="Verify the audit log")
@runs_in("outside")
def verify_chain(call: Annotated[Call, allow("audit.read")]) -> ChainCheckOut:
    """Check the hash chain of the installation, and its end against the head that was noted outside of the database."""
    with call.reading() as session:
        check = audit.verify_chain(session)
    return ChainCheckOut.model_validate({**vars(check), "intact": check.broken_at is None})


@audit_routes.get("/actions", summary="Kinds of acts")
def list_actions(call: Annotated[Call, allow("audit.read")]) -> list[str]:
    """All kinds of acts that were ever recorded."""
    with call.reading() as session:
        return audit.list_actions(session)
