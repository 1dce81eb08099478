# SPDX-License-Identifier: Apache-2.0
"""Use cases of exports: order, list, decide on findings, download, destroy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, Invalid, NotFound
from medhub.export import phi_check
from medhub.export.events import ExportStepDue
from medhub.export.export_findings import SINGLE_IMAGE_KINDS, count_findings
from medhub.export.formats import FormatName, get_format
from medhub.export.lifecycle import ERASED_MESSAGE, HELD_STATES, end_export, export_path, has_erased_patients
from medhub.export.models import Export, ExportFinding, ExportImage
from medhub.export.selection import Selection, select_images
from medhub.foundation import clock, ids, pagination
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.foundation.events import publish
from medhub.foundation.settings import Settings
from medhub.foundation.sorting import sort_clause
from medhub.foundation.visible_text import require_text, visible_text

PictureType = Literal["png", "jpeg"]
ClearScope = Literal["value", "place"]
_IMAGES_PER_UPDATE = 500


class ExportNotFound(NotFound):
    """The export does not exist, or is in a project that the actor has no role in."""

    code = "export-not-found"


class ExportNotReady(Conflict):
    """The export has no file to download."""

    code = "export-not-ready"


class ExportNotBlocked(Conflict):
    """The export waits for no decision."""

    code = "export-not-blocked"


class FindingNotFound(NotFound):
    """The finding does not exist, or a person has decided on it."""

    code = "finding-not-found"


def create_export(
    session: Session,
    app: AppContext,
    actor: Actor,
    *,
    project_id: str,
    selection: Selection,
    form: FormatName,
    picture: PictureType | None = None,
) -> Export:
    """Order an export; jobs scan and pack it in the background."""
    actor.require("export.create", project_id, "project")
    export_format = get_format(form)
    if bool(export_format.picture_types) != (picture is not None):
        raise Invalid(
            "A data set for training needs a picture type, PNG or JPEG; other formats have none.", field="picture"
        )
    images, left_out = select_images(session, app, project_id, selection, export_format)
    export = Export(
        id=ids.new_id(),
        project_id=project_id,
        form=form,
        picture=picture,
        selection=selection.kind,
        search=dict(selection.search) if selection.search else None,
        pathway=selection.pathway,
        state="waiting",
        images=len(images),
        patients=len({image.patient_id for image in images}),
        left_out=left_out,
        created_at=clock.now(),
        created_by_id=actor.user_id,
        created_by=actor.name,
    )
    session.add(export)
    session.flush()
    naming = export_format.create_naming(picture)
    rows = [
        {
            "export_id": export.id,
            "number": number,
            "image_id": image.image_id,
            "patient_id": image.patient_id,
            "file": naming.name_file(number, image),
            "label": image.label,
            "part": image.part,
            "scanned": False,
            "excluded": False,
        }
        for number, image in enumerate(images, 1)
    ]
    session.execute(insert(ExportImage), rows)
    publish(session, ExportStepDue(export_id=export.id))
    _record(session, actor, "export.create", export, form=form, images=export.images, patients=export.patients)
    return export


def _record(session: Session, actor: Actor, action: str, export: Export, **detail: Any) -> None:
    actor.record(session, action, "export", export.id, project_id=export.project_id, **detail)


def get_export(session: Session, actor: Actor, export_id: str, action: str = "export.read") -> Export:
    """An export in a project of the actor."""
    export = session.get(Export, export_id)
    if export is None:
        raise ExportNotFound("There is no such export in your projects.")
    actor.require(action, export.project_id, "export")
    return export


def list_exports(
    session: Session,
    actor: Actor,
    *,
    project_id: str | None,
    state: str | None,
    sort: str | None,
    offset: int,
    limit: int,
) -> tuple[list[Export], int]:
    """A page of the exports in the actor's projects, newest first."""
    query = select(Export).where(Export.project_id.in_(actor.projects("export.read", project_id)))
    if state is not None:
        query = query.where(Export.state == state)
    columns = {
        "created_at": Export.created_at,
        "state": Export.state,
        "images": Export.images,
        "size_bytes": Export.size_bytes,
    }
    page = query.order_by(sort_clause(sort, columns, "-created_at"), Export.id).offset(offset).limit(limit)
    exports = list(session.scalars(page))
    return exports, pagination.total_rows(session, query, offset=offset, limit=limit, page_rows=len(exports))


def clear_finding(
    session: Session, actor: Actor, export_id: str, finding_id: str, note: str, *, scope: ClearScope = "value"
) -> Export:
    """Clear a value that identifies nobody, wherever it occurs; or all values of its kind at its location."""
    note = require_text(note, "Write why this value identifies nobody.", "note")
    export, finding = _get_open_finding(session, actor, export_id, finding_id, "export.clear")
    condition = ExportFinding.mark == finding.mark
    if scope == "place":
        if finding.kind.startswith((phi_check.KNOWN_IDENTITY, *SINGLE_IMAGE_KINDS)):
            raise Invalid(
                "Known identities and unreadable files cannot be cleared together. Decide on each by itself.",
                field="alike",
            )
        condition = (ExportFinding.location == finding.location) & (ExportFinding.kind == finding.kind)
    cleared = _decide_findings(session, actor, export, condition, "cleared", note)
    _record(session, actor, "export.clear", export, finding=finding.id, findings=cleared, alike=scope)
    _pack_if_decided(session, export)
    return export


def exclude_images(session: Session, actor: Actor, export_id: str, finding_id: str, note: str | None) -> Export:
    """Exclude every image with a value from an export."""
    export, finding = _get_open_finding(session, actor, export_id, finding_id, "export.create")
    if finding.number is None:
        raise Invalid(
            "This value is in the files that describe the export, not in an image. Clear it, or order a new export."
        )
    numbers = list(
        session.scalars(
            select(ExportFinding.number)
            .where(
                ExportFinding.export_id == export.id,
                ExportFinding.mark == finding.mark,
                ExportFinding.state == "open",
                ExportFinding.number.is_not(None),
            )
            .distinct()
        )
    )
    for start in range(0, len(numbers), _IMAGES_PER_UPDATE):
        batch = numbers[start : start + _IMAGES_PER_UPDATE]
        session.execute(
            update(ExportImage)
            .where(ExportImage.export_id == export.id, ExportImage.number.in_(batch))
            .values(excluded=True)
        )
        _decide_findings(session, actor, export, ExportFinding.number.in_(batch), "excluded", visible_text(note))
    _record(session, actor, "export.exclude", export, finding=finding.id, images=len(numbers))
    _pack_if_decided(session, export)
    return export


def _get_open_finding(
    session: Session, actor: Actor, export_id: str, finding_id: str, action: str
) -> tuple[Export, ExportFinding]:
    serialize_writers(session, f"export {export_id}")
    export = get_export(session, actor, export_id, action)
    if export.state != "blocked":
        raise ExportNotBlocked(f"No finding of this export waits for a decision: its state is {export.state}.")
    finding = session.get(ExportFinding, finding_id)
    if finding is None or finding.export_id != export.id or finding.state != "open":
        raise FindingNotFound("There is no such open finding in this export.")
    return export, finding


def _decide_findings(
    session: Session, actor: Actor, export: Export, condition: Any, state: str, note: str | None
) -> int:
    rows = session.execute(
        update(ExportFinding)
        .where(ExportFinding.export_id == export.id, ExportFinding.state == "open", condition)
        .values(state=state, note=note, decided_at=clock.now(), decided_by_id=actor.user_id, decided_by=actor.name)
        .returning(ExportFinding.id),
        execution_options={"synchronize_session": False},
    )
    return len(rows.all())


def _pack_if_decided(session: Session, export: Export) -> None:
    if count_findings(session, [export.id])[export.id].open == 0:
        export.state = "packing"
        publish(session, ExportStepDue(export_id=export.id))


_NOT_READY_REASONS = {
    "waiting": "the export is queued.",
    "looking": "the PHI scan of its images is running.",
    "blocked": "the PHI scan found values that may identify a patient, and a person must decide on them.",
    "packing": "it is being packed.",
    "expired": "it has expired and was destroyed. Order it again.",
    "erased": "it contained images of a patient who has since been erased. It was destroyed; order a new export.",
    "failed": "it failed. Its page shows the reason.",
    "destroyed": "it was destroyed before it expired. Order it again.",
}


def get_export_file(session: Session, settings: Settings, actor: Actor, export_id: str) -> tuple[Export, Path]:
    """The packed file of an export that is ready; the download is recorded."""
    export = get_export(session, actor, export_id)
    if export.state != "ready":
        raise ExportNotReady(f"There is nothing to download: {_NOT_READY_REASONS[export.state]}")
    if has_erased_patients(session, export.id):  # the job that destroys it has not run yet
        raise ExportNotReady(f"There is nothing to download. {ERASED_MESSAGE}")
    if export.expires_at is not None and export.expires_at < clock.now():
        raise ExportNotReady(f"There is nothing to download: {_NOT_READY_REASONS['expired']}")
    path = export_path(settings, export.id)
    if not path.is_file():
        raise ExportNotReady("There is nothing to download: the file is missing. Order the export again.")
    _record(session, actor, "export.download", export, images=export.images, patients=export.patients)
    return export, path


def destroy_export(session: Session, app: AppContext, actor: Actor, export_id: str) -> Export:
    """Destroy an export before it expires; its row remains."""
    serialize_writers(session, f"export {export_id}")
    export = get_export(session, actor, export_id, "export.create")
    if export.state not in HELD_STATES:
        raise ExportNotReady(f"This export has ended already: its state is {export.state}.")
    end_export(session, app, export, "destroyed", None)
    _record(session, actor, "export.destroy", export)
    return export
