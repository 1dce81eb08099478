# SPDX-License-Identifier: Apache-2.0
"""Ingest settings of a project: rules for files that name their patient, and search attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.accounts.models import Project
from medhub.errors import Invalid
from medhub.foundation import clock, jobs
from medhub.foundation.app_context import AppContext
from medhub.ingest.models import IngestSettings
from medhub.records.models import Image
from medhub.records.pathway import get_pathway
from medhub.science.imaging.dicom.search_attributes import IMAGE, SERIES, STUDY, is_searchable

MOST_ATTRIBUTES = 64
LONGEST_SETTLE_S = 24 * 3600
_USUAL = frozenset((*STUDY, *SERIES, *IMAGE))


def settings_of(session: Session, project_id: str) -> IngestSettings:
    """The ingest settings of a project, or the default ones."""
    row = session.get(IngestSettings, project_id)
    return row or IngestSettings(
        project_id=project_id,
        duplicates="keep",
        settle_s=60,
        pathways={},
        attributes=[],
        index_total=0,
        index_done=0,
        index_state="done",
        index_turn=0,
        changed_at=clock.now(),
        changed_by="",
    )


def read_settings(session: Session, actor: Actor, project_id: str) -> IngestSettings:
    """The ingest settings of a project of the actor."""
    actor.require("project.read", project_id, "project")
    return settings_of(session, project_id)


def change_settings(
    session: Session,
    app: AppContext,
    actor: Actor,
    project_id: str,
    *,
    duplicates: str,
    settle_s: int,
    pathways: Mapping[str, str],
    attributes: Sequence[str],
) -> IngestSettings:
    """Change the ingest settings; new search attributes are read from the stored images in the background."""
    actor.require("project.change", project_id, "project")
    session.get_one(Project, project_id)
    for name in pathways.values():
        get_pathway(app.settings, name)
    keywords = [keyword for keyword in dict.fromkeys(attributes) if keyword not in _USUAL]
    for keyword in keywords:
        if not is_searchable(keyword):
            raise Invalid(
                f"“{keyword}” cannot be searched: it is no attribute of DICOM's dictionary with a short value. "
                "Write keywords as the standard does, such as KVP.",
                field="attributes",
            )
    row = session.merge(settings_of(session, project_id))
    keywords_changed = keywords != list(row.attributes)
    row.duplicates, row.settle_s, row.pathways, row.attributes = duplicates, settle_s, dict(pathways), keywords
    row.changed_at, row.changed_by = clock.now(), actor.name[:120]
    actor.record(
        session,
        "archive.change",
        "project",
        project_id,
        project_id=project_id,
        duplicates=duplicates,
        settle_s=settle_s,
        attributes=keywords,
    )
    if keywords_changed:
        start_indexing(session, row)
    session.flush()
    return row


def start_indexing(session: Session, row: IngestSettings) -> None:
    """Start reading the search attributes of all images again, in the background."""
    count = select(func.count()).select_from(Image).where(Image.project_id == row.project_id)
    row.index_total, row.index_done, row.index_state = session.scalar(count) or 0, 0, "running"
    row.index_turn += 1
    jobs.enqueue(session, "index-project", {"project_id": row.project_id, "turn": row.index_turn, "after": ""})


def index_again(session: Session, actor: Actor, project_id: str) -> IngestSettings:
    """Index the images of a project again, for example after restoring a backup."""
    actor.require("project.change", project_id, "project")
    row = session.merge(settings_of(session, project_id))
    start_indexing(session, row)
    actor.record(session, "archive.index", "project", project_id, project_id=project_id)
    session.flush()
    return row
