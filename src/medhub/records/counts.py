# SPDX-License-Identifier: Apache-2.0
"""Contents of patients, studies and series for their lists: counts, sizes and a cover image."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.foundation import pagination
from medhub.records.models import Image, Patient, Series, Study


@dataclass(frozen=True)
class ContentCounts:
    """The contents of a study or a series."""

    images: int = 0
    size_bytes: int = 0
    modality: str | None = None
    locked: bool = False  # a signed case refers to one of its images
    series: int = 0
    cover_id: str | None = None  # the first image that has a picture


EMPTY = ContentCounts()


def count_study_contents(session: Session, study_ids: Sequence[str]) -> dict[str, ContentCounts]:
    """Count the contents of studies."""
    counts = _count(session, Image.study_id, study_ids)
    series = dict(
        session.execute(
            select(Series.study_id, func.count())
            .where(pagination.in_ids(session, Series.study_id, study_ids))
            .group_by(Series.study_id)
        ).all()
    )
    covers = select_covers(session, Study, study_ids)
    return {
        study_id: replace(counts.get(study_id, EMPTY), series=series.get(study_id, 0), cover_id=cover_id)
        for study_id, cover_id in covers.items()
    }


def count_series_contents(session: Session, series_ids: Sequence[str]) -> dict[str, ContentCounts]:
    """Count the contents of series."""
    counts = _count(session, Image.series_id, series_ids)
    covers = select_covers(session, Series, series_ids)
    return {
        series_id: replace(counts.get(series_id, EMPTY), cover_id=cover_id) for series_id, cover_id in covers.items()
    }


def count_studies(session: Session, patient_ids: Sequence[str]) -> dict[str, int]:
    """Count the studies of patients."""
    rows = session.execute(
        select(Study.patient_id, func.count())
        .where(pagination.in_ids(session, Study.patient_id, patient_ids))
        .group_by(Study.patient_id)
    )
    return dict(rows.all())


def select_covers(
    session: Session, table: type[Patient] | type[Study] | type[Series], parent_ids: Sequence[str]
) -> dict[str, str | None]:
    """Select the first image with pixels of each patient, study or series, with one index lookup for each."""
    column, order = {
        Patient: (Image.patient_id, Image.created_at),
        Study: (Image.study_id, Image.number),
        Series: (Image.series_id, Image.number),
    }[table]
    first = (
        select(Image.id)
        .where(column == table.id, Image.frames > 0, Image.state != "unreadable")
        .order_by(order)
        .limit(1)
        .correlate(table)
        .scalar_subquery()
    )
    return dict(session.execute(select(table.id, first).where(pagination.in_ids(session, table.id, parent_ids))).all())


def _count(session: Session, column: Any, parent_ids: Sequence[str]) -> dict[str, ContentCounts]:
    rows = session.execute(
        select(
            column,
            func.count(),
            func.sum(Image.size_bytes),
            func.min(Image.modality),
            func.count().filter(Image.locked),
        )
        .where(pagination.in_ids(session, column, parent_ids))
        .group_by(column)
    )
    return {
        parent_id: ContentCounts(images, int(size), modality, locked > 0)
        for parent_id, images, size, modality, locked in rows
    }


# A query that matches more patients than these is not a code.
_MOST_PATIENTS_OF_QUERY = 500


def find_patients_by_code(session: Session, project_ids: Collection[str], query: str) -> frozenset[str]:
    """The ids of the patients of some projects whose code contains a text."""
    statement = select(Patient.id).where(
        Patient.project_id.in_(project_ids), func.lower(Patient.code).contains(query.strip().lower(), autoescape=True)
    )
    return frozenset(session.scalars(statement.limit(_MOST_PATIENTS_OF_QUERY)))


def patient_codes(session: Session, patient_ids: Collection[str]) -> dict[str, str]:
    """The codes of patients by id."""
    if not patient_ids:
        return {}
    return dict(session.execute(select(Patient.id, Patient.code).where(Patient.id.in_(patient_ids))).all())
