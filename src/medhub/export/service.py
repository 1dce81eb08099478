# SPDX-License-Identifier: Apache-2.0
"""Ordering exports, deciding on what the last look found, and fetching what is ready."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, Invalid, NotFound
from medhub.export import phi_check, selection
from medhub.export.events import ExportWanted
from medhub.export.models import Export, ExportFinding, ExportImage
from medhub.export.selection import Form, Selection
from medhub.export.table import Names
from medhub.foundation import clock, ids, pagination
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import after_commit, in_turn
from medhub.foundation.events import announce
from medhub.foundation.keys import Keys
from medhub.foundation.natural_sort import ordering
from medhub.foundation.settings import Settings
from medhub.records import vault
from medhub.records.models import Patient

# Kinds of findings whose words say nothing of what is there: each image is decided on by itself.
OF_ONE_IMAGE = ("cannot be read", "bit plane", "curve")
_MOST_PLACES = 5
AT_WORK = ("waiting", "looking", "packing")
HELD = (*AT_WORK, "blocked", "ready")
ERASED = "It contained a person who has since been erased. It was destroyed; order a new export."

Picture = Literal["png", "jpeg"]
Alike = Literal["value", "place"]


class ExportNotFound(NotFound):
    """There is no such export, or not in a project of the asker's."""

    code = "export-not-found"


class ExportNotReady(Conflict):
    """There is nothing to fetch."""

    code = "export-not-ready"


class ExportNotBlocked(Conflict):
    """There is nothing to decide."""

    code = "export-not-blocked"


class FindingNotFound(NotFound):
    """There is no such finding, or somebody has decided on it."""

    code = "finding-not-found"


def order(
    session: Session,
    app: AppContext,
    actor: Actor,
    *,
    project_id: str,
    chosen: Selection,
    form: Form,
    picture: Picture | None = None,
) -> Export:
    """Order an export; it is built and looked through in the background."""
    actor.require("export.create", project_id, "project")
    if (form == "training") != (picture is not None):
        raise Invalid("A data set for training is of PNG or JPEG pictures; other forms have none.", field="picture")
    images, left_out = selection.choose(session, app, project_id, chosen, form)
    export = Export(
        id=ids.new_id(),
        project_id=project_id,
        form=form,
        picture=picture,
        selection=chosen.kind,
        wanted=dict(chosen.wanted) if chosen.wanted else None,
        pathway=chosen.pathway,
        state="waiting",
        images=len(images),
        patients=len({one.patient_id for one in images}),
        left_out=left_out,
        created_at=clock.now(),
        created_by_id=actor.user_id,
        created_by=actor.name,
    )
    session.add(export)
    session.flush()
    naming = Names(form, picture)
    rows = [
        {
            "export_id": export.id,
            "number": number,
            "image_id": one.image_id,
            "patient_id": one.patient_id,
            "file": naming.of(number, one),
            "label": one.label,
            "part": one.part,
            "looked": False,
            "excluded": False,
        }
        for number, one in enumerate(images, 1)
    ]
    session.execute(insert(ExportImage), rows)
    announce(session, ExportWanted(export_id=export.id))
    _record(session, actor, "export.create", export, form=form, images=export.images, patients=export.patients)
    return export


def _record(session: Session, actor: Actor, action: str, export: Export, **detail: Any) -> None:
    actor.record(session, action, "export", export.id, project_id=export.project_id, **detail)


def get_export(session: Session, actor: Actor, export_id: str, action: str = "export.read") -> Export:
    """An export in a project of the actor's."""
    export = session.get(Export, export_id)
    if export is None:
        raise ExportNotFound("There is no such export, or not in a project of yours.")
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
    """A page of the exports in the actor's projects, the latest first."""
    chosen = select(Export).where(Export.project_id.in_(actor.projects("export.read", project_id)))
    if state is not None:
        chosen = chosen.where(Export.state == state)
    columns = {
        "created_at": Export.created_at,
        "state": Export.state,
        "images": Export.images,
        "size_bytes": Export.size_bytes,
    }
    page = chosen.order_by(ordering(sort, columns, "-created_at"), Export.id).offset(offset).limit(limit)
    found = list(session.scalars(page))
    return found, pagination.total(session, chosen, offset=offset, limit=limit, found=len(found))


@dataclass(frozen=True)
class Counts:
    """How many values wait for a decision, how many were cleared, and how many images were taken out."""

    open: int = 0
    cleared: int = 0
    excluded: int = 0


def counts_of(session: Session, export_ids: Sequence[str]) -> dict[str, Counts]:
    """What became of the findings and images of exports."""
    found: dict[tuple[str, str], int] = {}
    rows = session.execute(
        select(ExportFinding.export_id, ExportFinding.state, func.count(func.distinct(ExportFinding.mark)))
        .where(ExportFinding.export_id.in_(export_ids))
        .group_by(ExportFinding.export_id, ExportFinding.state)
    )
    found.update({(export_id, state): count for export_id, state, count in rows})
    taken_out = session.execute(
        select(ExportImage.export_id, func.count())
        .where(ExportImage.export_id.in_(export_ids), ExportImage.excluded)
        .group_by(ExportImage.export_id)
    )
    excluded = dict(taken_out.all())
    return {
        one: Counts(found.get((one, "open"), 0), found.get((one, "cleared"), 0), excluded.get(one, 0))
        for one in export_ids
    }


@dataclass(frozen=True)
class FindingGroup:
    """The same value, wherever in an export it was found, and what was decided on it."""

    finding: ExportFinding  # the first of them
    kinds: list[str]
    places: list[str]  # the first few
    image_id: str | None
    patient_code: str | None
    images: int
    findings: int
    excerpt: str | None


def list_findings(
    session: Session, keys: Keys, actor: Actor, export: Export, *, state: str | None, offset: int, limit: int
) -> tuple[list[FindingGroup], int]:
    """A page of what was found, each value once; what it says is shown to who may see identities."""
    chosen = (
        select(
            func.min(ExportFinding.id),
            ExportFinding.mark,
            func.count(func.distinct(ExportFinding.number)),
            func.count(),
        )
        .where(ExportFinding.export_id == export.id)
        .group_by(ExportFinding.mark, ExportFinding.state, ExportFinding.note, ExportFinding.decided_at)
    )
    if state is not None:
        chosen = chosen.where(ExportFinding.state == state)
    total = session.scalar(select(func.count()).select_from(chosen.subquery())) or 0
    rows = session.execute(chosen.order_by(func.min(ExportFinding.id)).offset(offset).limit(limit)).all()
    marks = [row[1] for row in rows]
    kinds = _distinct(session, export, marks, ExportFinding.kind)
    places = _distinct(session, export, marks, ExportFinding.place)
    firsts = {
        finding.id: (finding, image_id, code)
        for finding, image_id, code in session.execute(
            select(ExportFinding, ExportImage.image_id, Patient.code)
            .outerjoin(
                ExportImage,
                (ExportImage.export_id == ExportFinding.export_id) & (ExportImage.number == ExportFinding.number),
            )
            .outerjoin(Patient, Patient.id == ExportFinding.patient_id)
            .where(ExportFinding.id.in_([row[0] for row in rows]))
        )
    }
    shown = actor.may("identity.read", export.project_id)
    found = []
    for first, mark, images, count in rows:
        finding, image_id, code = firsts[first]
        excerpt = _excerpt(session, keys, finding) if shown else None
        told = (kinds[mark], places[mark][:_MOST_PLACES])
        found.append(FindingGroup(finding, *told, image_id, code, images, count, excerpt))
    _record(session, actor, "export.read-findings", export, found=total, values_shown=shown)
    return found, total


def _distinct(session: Session, export: Export, marks: list[str], column: Any) -> dict[str, list[str]]:
    """What a column says of findings, for each value."""
    chosen = (
        select(ExportFinding.mark, column, func.min(ExportFinding.id))
        .where(ExportFinding.export_id == export.id, ExportFinding.mark.in_(marks))
        .group_by(ExportFinding.mark, column)
    )
    found: dict[str, list[str]] = {mark: [] for mark in marks}
    for mark, value, _first in session.execute(chosen.order_by(func.min(ExportFinding.id))):
        found[mark].append(value)
    return found


def sealing(finding_id: str) -> str:
    """What the value of a finding is bound to."""
    return f"finding {finding_id}"


def _excerpt(session: Session, keys: Keys, finding: ExportFinding) -> str | None:
    if finding.sealed_excerpt is None or finding.patient_id is None:
        return None
    return vault.unseal_for(session, keys, finding.patient_id, finding.sealed_excerpt, sealing(finding.id)).decode()


def clear(
    session: Session, actor: Actor, export_id: str, finding_id: str, note: str, *, alike: Alike = "value"
) -> Export:
    """Say of a value why it identifies nobody; the same value is cleared in all images, or all at the same place."""
    export, finding = _open_finding(session, actor, export_id, finding_id, "export.clear")
    same = ExportFinding.mark == finding.mark
    if alike == "place":
        if finding.kind.startswith((phi_check.KNOWN, *OF_ONE_IMAGE)):
            raise Invalid("What names a known patient, or cannot be read, is decided on one by one.", field="alike")
        same = (ExportFinding.place == finding.place) & (ExportFinding.kind == finding.kind)
    cleared = _decide(session, actor, export, same, "cleared", note)
    _record(session, actor, "export.clear", export, finding=finding.id, findings=cleared, alike=alike)
    _go_on_if_decided(session, export)
    return export


def exclude(session: Session, actor: Actor, export_id: str, finding_id: str, note: str | None) -> Export:
    """Take every image out of an export in which a value was found."""
    export, finding = _open_finding(session, actor, export_id, finding_id, "export.create")
    if finding.number is None:
        raise Invalid("This is in the description of the whole export, not in an image. Clear it, or order anew.")
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
    for start in range(0, len(numbers), 500):
        some = numbers[start : start + 500]
        session.execute(
            update(ExportImage)
            .where(ExportImage.export_id == export.id, ExportImage.number.in_(some))
            .values(excluded=True)
        )
        _decide(session, actor, export, ExportFinding.number.in_(some), "excluded", note)
    _record(session, actor, "export.exclude", export, finding=finding.id, images=len(numbers))
    _go_on_if_decided(session, export)
    return export


def _open_finding(
    session: Session, actor: Actor, export_id: str, finding_id: str, action: str
) -> tuple[Export, ExportFinding]:
    in_turn(session, f"export {export_id}")
    export = get_export(session, actor, export_id, action)
    if export.state != "blocked":
        raise ExportNotBlocked(f"Nothing of this export waits for a decision: it is {export.state}.")
    finding = session.get(ExportFinding, finding_id)
    if finding is None or finding.export_id != export.id or finding.state != "open":
        raise FindingNotFound("There is no such finding in this export, or it was decided on already.")
    return export, finding


def _decide(session: Session, actor: Actor, export: Export, which: Any, state: str, note: str | None) -> int:
    decided = session.execute(
        update(ExportFinding)
        .where(ExportFinding.export_id == export.id, ExportFinding.state == "open", which)
        .values(state=state, note=note, decided_at=clock.now(), decided_by_id=actor.user_id, decided_by=actor.name)
        .returning(ExportFinding.id),
        execution_options={"synchronize_session": False},
    )
    return len(decided.all())


def _go_on_if_decided(session: Session, export: Export) -> None:
    if counts_of(session, [export.id])[export.id].open == 0:
        export.state = "packing"
        announce(session, ExportWanted(export_id=export.id))


def fetch(session: Session, settings: Settings, actor: Actor, export_id: str) -> tuple[Export, Path]:
    """The packed file of an export that is ready."""
    export = get_export(session, actor, export_id)
    if export.state != "ready":
        raise ExportNotReady(f"There is nothing to download: {_WHY_NOT[export.state]}")
    if lacks_patients(session, export.id):  # the job that destroys it has not run yet
        raise ExportNotReady(f"There is nothing to download. {ERASED}")
    if export.expires_at is not None and export.expires_at < clock.now():
        raise ExportNotReady(f"There is nothing to download: {_WHY_NOT['expired']}")
    path = file_of(settings, export.id)
    if not path.is_file():
        raise ExportNotReady("There is nothing to download: the file is missing. Order the export anew.")
    _record(session, actor, "export.download", export, images=export.images, patients=export.patients)
    return export, path


_WHY_NOT = {
    "waiting": "the export waits for its turn.",
    "looking": "its images are being looked through.",
    "blocked": "the last look found what may identify somebody, and a person must decide on it.",
    "packing": "it is being packed.",
    "expired": "its time was over and it was destroyed. Order it anew.",
    "erased": "it contained a person who has since been erased. It was destroyed; order a new export.",
    "failed": "it could not be made. Its page says why.",
    "destroyed": "somebody destroyed it. Order it anew.",
}


def lacks_patients(session: Session, export_id: str) -> bool:
    """Whether a patient of whom an export holds images is there no more."""
    gone = (
        select(ExportImage.patient_id)
        .outerjoin(Patient, Patient.id == ExportImage.patient_id)
        .where(ExportImage.export_id == export_id, ExportImage.excluded.is_(False), Patient.id.is_(None))
    )
    return session.scalar(gone.limit(1)) is not None


def destroy(session: Session, app: AppContext, actor: Actor, export_id: str) -> Export:
    """Destroy an export before its time; that it was, and of how much, stays known."""
    in_turn(session, f"export {export_id}")
    export = get_export(session, actor, export_id, "export.create")
    if export.state not in HELD:
        raise ExportNotReady(f"This export has ended already: it is {export.state}.")
    end(session, app, export, "destroyed", None)
    _record(session, actor, "export.destroy", export)
    return export


def end(session: Session, app: AppContext, export: Export, state: str, why: str | None) -> None:
    """Let an export end: its files go once this is written, and so does what its findings said."""
    export.state, export.failure, export.finished_at = state, why, clock.now()
    session.execute(
        update(ExportFinding).where(ExportFinding.export_id == export.id).values(sealed_excerpt=None),
        execution_options={"synchronize_session": False},
    )
    after_commit(session, lambda: remove_files(app.settings, export.id))


def expiry(settings: Settings, ready: datetime) -> datetime:
    """When an export is destroyed that became ready at a moment."""
    return ready + timedelta(days=settings.export_days)


def file_of(settings: Settings, export_id: str) -> Path:
    """Where the packed file of an export lies."""
    return settings.exports_folder / f"{export_id}.zip"


def remove_files(settings: Settings, export_id: str) -> None:
    """Remove the packed file of an export, whole or half-written."""
    for path in settings.exports_folder.glob(f"{export_id}*"):
        path.unlink(missing_ok=True)
