# SPDX-License-Identifier: Apache-2.0
"""Findings of the PHI scan: how equal values are recognized, counted, grouped and read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.export.models import Export, ExportFinding, ExportImage
from medhub.foundation.app_context import AppContext
from medhub.foundation.keys import Keys
from medhub.records import vault
from medhub.records.models import Patient

# Findings of these kinds carry a description instead of a value: a decision on one counts for its image only.
SINGLE_IMAGE_KINDS = ("cannot be read", "bit plane", "curve")
_LOCATIONS_PER_GROUP = 5


@dataclass(frozen=True)
class FindingCounts:
    """Values that wait for a decision, values that were cleared, and images that were excluded."""

    open: int = 0
    cleared: int = 0
    excluded: int = 0


def count_findings(session: Session, export_ids: Sequence[str]) -> dict[str, FindingCounts]:
    """The counts of several exports, by id."""
    rows = session.execute(
        select(ExportFinding.export_id, ExportFinding.state, func.count(func.distinct(ExportFinding.mark)))
        .where(ExportFinding.export_id.in_(export_ids))
        .group_by(ExportFinding.export_id, ExportFinding.state)
    )
    values: dict[tuple[str, str], int] = {(export_id, state): count for export_id, state, count in rows}
    excluded_rows = session.execute(
        select(ExportImage.export_id, func.count())
        .where(ExportImage.export_id.in_(export_ids), ExportImage.excluded)
        .group_by(ExportImage.export_id)
    )
    excluded = dict(excluded_rows.all())
    return {
        export_id: FindingCounts(
            values.get((export_id, "open"), 0), values.get((export_id, "cleared"), 0), excluded.get(export_id, 0)
        )
        for export_id in export_ids
    }


@dataclass(frozen=True)
class FindingGroup:
    """All findings of one value in an export, with the decision on it."""

    finding: ExportFinding  # the first of them
    kinds: list[str]
    locations: list[str]  # the first few
    image_id: str | None
    patient_code: str | None
    images: int
    findings: int
    excerpt: str | None


def list_findings(
    session: Session, keys: Keys, actor: Actor, export: Export, *, state: str | None, offset: int, limit: int
) -> tuple[list[FindingGroup], int]:
    """A page of the findings, grouped by value; roles that may read identities get the value itself."""
    query = (
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
        query = query.where(ExportFinding.state == state)
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    rows = session.execute(query.order_by(func.min(ExportFinding.id)).offset(offset).limit(limit)).all()
    marks = [row[1] for row in rows]
    kinds = _distinct_values(session, export, marks, ExportFinding.kind)
    locations = _distinct_values(session, export, marks, ExportFinding.location)
    first_findings = {
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
    values_visible = actor.may("identity.read", export.project_id)
    groups = []
    for finding_id, mark, images, count in rows:
        finding, image_id, code = first_findings[finding_id]
        groups.append(
            FindingGroup(
                finding=finding,
                kinds=kinds[mark],
                locations=locations[mark][:_LOCATIONS_PER_GROUP],
                image_id=image_id,
                patient_code=code,
                images=images,
                findings=count,
                excerpt=_unseal_excerpt(session, keys, finding) if values_visible else None,
            )
        )
    actor.record(
        session,
        "export.read-findings",
        "export",
        export.id,
        project_id=export.project_id,
        found=total,
        values_shown=values_visible,
    )
    return groups, total


def _distinct_values(session: Session, export: Export, marks: list[str], column: Any) -> dict[str, list[str]]:
    """The distinct values of a column, by mark, in the order of the findings."""
    query = (
        select(ExportFinding.mark, column, func.min(ExportFinding.id))
        .where(ExportFinding.export_id == export.id, ExportFinding.mark.in_(marks))
        .group_by(ExportFinding.mark, column)
    )
    values: dict[str, list[str]] = {mark: [] for mark in marks}
    for mark, value, _first in session.execute(query.order_by(func.min(ExportFinding.id))):
        values[mark].append(value)
    return values


def excerpt_context(finding_id: str) -> str:
    """The context that the sealed excerpt of a finding is bound to."""
    return f"finding {finding_id}"


def _unseal_excerpt(session: Session, keys: Keys, finding: ExportFinding) -> str | None:
    if finding.sealed_excerpt is None or finding.patient_id is None:
        return None
    context = excerpt_context(finding.id)
    return vault.unseal_for(session, keys, finding.patient_id, finding.sealed_excerpt, context).decode()


def fingerprint_value(app: AppContext, export_id: str, excerpt: str, number: int = 0) -> str:
    """A keyed hash that is equal for equal values of an export (and of one image, if its number is given)."""
    return app.keys.fingerprint("export-findings", f"{export_id} {number} {excerpt.casefold()}".encode())
