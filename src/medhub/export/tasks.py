# SPDX-License-Identifier: Apache-2.0
"""Jobs of exports: scan every image, then pack; destroy what has expired or contains an erased patient.

A job works for a few seconds and then enqueues the next one, so that a large export does not hold up other jobs and
a process that ends loses at most those seconds.
"""

from __future__ import annotations

import time

from sqlalchemy import delete, select

from medhub.export.export_scan import scan_next_images
from medhub.export.lifecycle import ERASED_MESSAGE, HELD_STATES, end_held_export
from medhub.export.models import Export, ExportImage
from medhub.export.packing import ExportImpossible, pack_export
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext

BATCH_S = 5.0
_REPEATED_FAILURE = "The server stopped repeatedly while it built this export. Order it again."


def advance_export(app: AppContext, export_id: str) -> None:
    """Scan the next images of an export, or pack it; repeated after a kill, no step is done twice."""
    deadline = time.monotonic() + BATCH_S
    with app.database.reading() as session:
        export = session.get(Export, export_id)
        state = export.state if export is not None else None
    try:
        if state in {"waiting", "looking"}:
            scan_next_images(app, export_id, deadline)
        elif state == "packing":
            pack_export(app, export_id, deadline)
    except ExportImpossible as error:
        end_held_export(app, export_id, "failed", error.message)
    except OSError as error:
        reason = f"The export could not be written: {error.strerror or type(error).__name__}."
        end_held_export(app, export_id, "failed", reason)


def fail_export(app: AppContext, export_id: str) -> None:
    """End an export whose job failed repeatedly."""
    end_held_export(app, export_id, "failed", _REPEATED_FAILURE)


def destroy_exports_of_patient(app: AppContext, patient_id: str) -> None:
    """Destroy every held export with images of an erased patient; remove the patient from the others."""
    with app.database.reading() as session:
        query = select(ExportImage.export_id).where(
            ExportImage.patient_id == patient_id, ExportImage.excluded.is_(False)
        )
        export_ids = list(session.scalars(query.distinct()))
    for export_id in export_ids:
        end_held_export(app, export_id, "erased", ERASED_MESSAGE)
    with app.database.writing() as session:
        session.execute(delete(ExportImage).where(ExportImage.patient_id == patient_id))


def destroy_expired_exports(app: AppContext) -> int:
    """Destroy expired exports and files that belong to no export; return the number of expired exports."""
    with app.database.reading() as session:
        query = select(Export.id).where(Export.state == "ready", Export.expires_at < clock.now())
        expired = session.scalars(query).all()
        held = set(session.scalars(select(Export.id).where(Export.state.in_(HELD_STATES))))
    for export_id in expired:
        end_held_export(app, export_id, "expired", None)
    for path in app.settings.exports_folder.glob("*.zip*"):
        if path.name.partition(".")[0] not in held:
            path.unlink(missing_ok=True)
    return len(expired)
