# SPDX-License-Identifier: Apache-2.0
"""Use cases of series."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import NotFound
from medhub.foundation import clock, ids, pagination
from medhub.foundation.sorting import sort_clause
from medhub.records import counts, quick_search
from medhub.records.counts import EMPTY, ContentCounts
from medhub.records.deletion import delete_series_metadata, release_blobs
from medhub.records.models import Image, Series, Study
from medhub.records.patient_blobs import enqueue_blob_deletion
from medhub.records.studies import ImageLocked, get_study, patient_codes, record_study


class SeriesNotFound(NotFound):
    """There is no such series in the projects of the person who asks."""

    code = "series-not-found"


@dataclass(frozen=True)
class SeriesFacts:
    """A series with its study and the facts that its list shows."""

    series: Series
    study: Study
    patient_code: str
    contents: ContentCounts = EMPTY


def new_series(session: Session, study: Study, *, series_uid: str, modality: str, description: str = "") -> Series:
    """Create the row of a new series."""
    series = Series(
        id=ids.new_id(),
        study_id=study.id,
        series_uid=series_uid,
        modality=modality,
        description=description,
        created_at=clock.now(),
    )
    session.add(series)
    session.flush()
    return series


def get_series(session: Session, actor: Actor, series_id: str, action: str = "study.read") -> SeriesFacts:
    """A series in one of the actor's projects, with its study and contents."""
    series = session.get(Series, series_id)
    if series is None:
        raise SeriesNotFound("There is no such series in your projects.")
    study = get_study(session, actor, series.study_id, action)
    code = patient_codes(session, [study.patient_id])[study.patient_id]
    return SeriesFacts(series, study, code, counts.count_series_contents(session, [series_id]).get(series_id, EMPTY))


def list_series(
    session: Session,
    actor: Actor,
    *,
    study_id: str | None,
    patient_id: str | None = None,
    project_id: str | None = None,
    query: str | None = None,
    sort: str | None = None,
    offset: int,
    limit: int,
    known_total: int | None = None,
) -> tuple[list[SeriesFacts], int]:
    """A page of series, oldest first unless sorted otherwise."""
    projects = actor.projects("study.read", project_id)
    statement = select(Series).where(_scope_condition(session, projects, study_id, patient_id))
    if query:
        known = quick_search.find_by_identifier(session, projects, query)
        statement = statement.join(Study, Study.id == Series.study_id).where(
            known.condition(Study.patient_id, Series.study_id, Series.id)
            if known is not None
            else quick_search.contains_text(Series.description, query)
            | quick_search.contains_text(Study.description, query)
            | (Series.modality == query.upper())
            | Study.patient_id.in_(quick_search.patients_with_code(projects, query))
        )
    columns = {
        "created_at": Series.created_at,
        "description": Series.description,
        "modality": Series.modality,
    }
    tie_breaker = Series.id.desc() if sort == "-created_at" else Series.id.asc()
    order = (sort_clause(sort, columns, "created_at"), tie_breaker)
    # Only ids first: the database then skips the rows before the page in an index.
    series_ids, total = pagination.read_page(
        session, statement.with_only_columns(Series.id), order, offset=offset, limit=limit, known=known_total
    )
    by_id = {
        series.id: series
        for series in session.scalars(select(Series).where(pagination.in_ids(session, Series.id, series_ids)))
    }
    series_list = [by_id[series_id] for series_id in series_ids]
    actor.record(session, "series.list", "study", study_id, found=total)
    return _series_facts(session, series_list), total


def _scope_condition(
    session: Session, projects: Collection[str], study_id: str | None, patient_id: str | None
) -> ColumnElement[bool]:
    """The condition that a series belongs to a study, to a patient, or to some projects."""
    if study_id is not None:
        allowed = quick_search.in_projects(session, projects, None, study_id=study_id)
        return allowed & (Series.study_id == study_id)
    study_ids = select(Study.id).where(
        quick_search.in_projects(session, projects, Study.project_id, patient_id=patient_id)
    )
    return Series.study_id.in_(study_ids if patient_id is None else study_ids.where(Study.patient_id == patient_id))


def _series_facts(session: Session, series_list: Sequence[Series]) -> list[SeriesFacts]:
    statement = select(Study).where(pagination.in_ids(session, Study.id, {series.study_id for series in series_list}))
    by_id = {study.id: study for study in session.scalars(statement)}
    codes = patient_codes(session, [study.patient_id for study in by_id.values()])
    contents = counts.count_series_contents(session, [series.id for series in series_list])
    return [
        SeriesFacts(series, study, codes[study.patient_id], contents.get(series.id, EMPTY))
        for series in series_list
        for study in [by_id[series.study_id]]
    ]


def add_series(session: Session, actor: Actor, *, study_id: str, modality: str, description: str) -> SeriesFacts:
    """Add an empty series to a study."""
    study = get_study(session, actor, study_id, "study.create")
    series = new_series(session, study, series_uid=ids.new_uid(), modality=modality, description=description)
    record_study(session, actor, "series.create", study)
    return SeriesFacts(series, study, patient_codes(session, [study.patient_id])[study.patient_id])


def read_series(session: Session, actor: Actor, series_id: str) -> SeriesFacts:
    """Read a series, as a recorded act."""
    facts = get_series(session, actor, series_id)
    record_study(session, actor, "series.read", facts.study)
    return facts


def change_series(session: Session, actor: Actor, series_id: str, description: str) -> SeriesFacts:
    """Change the description of a series."""
    facts = get_series(session, actor, series_id, "study.change")
    facts.series.description = description
    record_study(session, actor, "series.change", facts.study, series_id=series_id)
    return facts


def delete_series(session: Session, actor: Actor, series_id: str) -> None:
    """Delete a series with its images, unless one of them is part of a signed case."""
    facts = get_series(session, actor, series_id, "study.delete")
    if facts.contents.locked:
        raise ImageLocked("This series belongs to a signed case and stays. Nothing was deleted.")
    digests = release_blobs(session, Image.series_id == series_id)
    delete_series_metadata(session, [facts.series])
    record_study(session, actor, "series.delete", facts.study, series_id=series_id)
    session.delete(facts.series)
    enqueue_blob_deletion(session, digests)
