# SPDX-License-Identifier: Apache-2.0
"""The states of an export, its file, and how an export ends."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from medhub.audit.service import AuditAct, record
from medhub.export.events import ExportStepDue
from medhub.export.export_findings import count_findings
from medhub.export.models import Export, ExportFinding, ExportImage
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import after_commit, serialize_writers
from medhub.foundation.events import publish
from medhub.foundation.settings import Settings
from medhub.records.models import Patient

ACTIVE_STATES = ("waiting", "looking", "packing")
HELD_STATES = (*ACTIVE_STATES, "blocked", "ready")
ERASED_MESSAGE = "It contained images of a patient who has since been erased. It was destroyed; order a new export."


def export_path(settings: Settings, export_id: str) -> Path:
    """The path of an export's packed file."""
    return settings.exports_folder / f"{export_id}.zip"


def expiry_time(settings: Settings, ready: datetime) -> datetime:
    """The time at which an export is destroyed that became ready at a time."""
    return ready + timedelta(days=settings.export_days)


def remove_export_files(settings: Settings, export_id: str) -> None:
    """Remove the packed file of an export, complete or partial."""
    for path in settings.exports_folder.glob(f"{export_id}*"):
        path.unlink(missing_ok=True)


def has_erased_patients(session: Session, export_id: str) -> bool:
    """Whether a patient with images in an export no longer exists."""
    query = (
        select(ExportImage.patient_id)
        .outerjoin(Patient, Patient.id == ExportImage.patient_id)
        .where(ExportImage.export_id == export_id, ExportImage.excluded.is_(False), Patient.id.is_(None))
    )
    return session.scalar(query.limit(1)) is not None


def record_step(session: Session, action: str, export: Export, **detail: Any) -> None:
    """Record a step that the hub took by itself in the audit log."""
    record(session, AuditAct(action, "export", export.id, project_id=export.project_id, detail=detail))


def block_or_pack(session: Session, export: Export) -> None:
    """Start packing an export without open findings; block one that has some until a person decides."""
    open_findings = count_findings(session, [export.id])[export.id].open
    if open_findings:
        export.state = "blocked"
        record_step(session, "export.block", export, findings=open_findings)
    else:
        export.state = "packing"
        publish(session, ExportStepDue(export_id=export.id))


def end_export(session: Session, app: AppContext, export: Export, state: str, reason: str | None) -> None:
    """End an export: its files are removed after the commit, and the excerpts of its findings at once."""
    export.state, export.failure, export.finished_at = state, reason, clock.now()
    session.execute(
        update(ExportFinding).where(ExportFinding.export_id == export.id).values(sealed_excerpt=None),
        execution_options={"synchronize_session": False},
    )
    after_commit(session, lambda: remove_export_files(app.settings, export.id))


def end_held_export(app: AppContext, export_id: str, state: str, reason: str | None) -> None:
    """End an export in a transaction of its own, unless it has ended already."""
    with app.database.writing() as session:
        serialize_writers(session, f"export {export_id}")
        export = session.get(Export, export_id)
        if export is not None and export.state in HELD_STATES:
            end_export(session, app, export, state, reason)
            record_step(session, f"export.{state}", export)
