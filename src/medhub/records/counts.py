# SPDX-License-Identifier: Apache-2.0
"""What lies in patients, studies and series, as their lists show it: numbers, and one picture for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.foundation import pagination
from medhub.records.models import Image, Patient, Series, Study


@dataclass(frozen=True)
class Contents:
    """How much lies in a study or a series."""

    images: int = 0
    size_bytes: int = 0
    modality: str | None = None
    locked: bool = False  # a signed case names an image of it
    series: int = 0
    cover_id: str | None = None  # the first image that has a picture


EMPTY = Contents()


def of_studies(session: Session, study_ids: Sequence[str]) -> dict[str, Contents]:
    """What lies in each of some studies."""
    counted = _count(session, Image.study_id, study_ids)
    series = dict(
        session.execute(
            select(Series.study_id, func.count())
            .where(pagination.in_ids(session, Series.study_id, study_ids))
            .group_by(Series.study_id)
        ).all()
    )
    shown = covers(session, Study, study_ids)
    return {one: replace(counted.get(one, EMPTY), series=series.get(one, 0), cover_id=shown[one]) for one in shown}


def of_series(session: Session, series_ids: Sequence[str]) -> dict[str, Contents]:
    """What lies in each of some series."""
    counted = _count(session, Image.series_id, series_ids)
    shown = covers(session, Series, series_ids)
    return {one: replace(counted.get(one, EMPTY), cover_id=shown[one]) for one in shown}


def studies_of(session: Session, patient_ids: Sequence[str]) -> dict[str, int]:
    """How many studies each of some patients has."""
    rows = session.execute(
        select(Study.patient_id, func.count())
        .where(pagination.in_ids(session, Study.patient_id, patient_ids))
        .group_by(Study.patient_id)
    )
    return dict(rows.all())


def covers(
    session: Session, table: type[Patient] | type[Study] | type[Series], parents: Sequence[str]
) -> dict[str, str | None]:
    """The first image of each of some patients, studies or series that has a picture; looked up, not searched for."""
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
    return dict(session.execute(select(table.id, first).where(pagination.in_ids(session, table.id, parents))).all())


def _count(session: Session, column: Any, parents: Sequence[str]) -> dict[str, Contents]:
    rows = session.execute(
        select(
            column,
            func.count(),
            func.sum(Image.size_bytes),
            func.min(Image.modality),
            func.count().filter(Image.locked),
        )
        .where(pagination.in_ids(session, column, parents))
        .group_by(column)
    )
    return {one: Contents(images, int(size), modality, locked > 0) for one, images, size, modality, locked in rows}
