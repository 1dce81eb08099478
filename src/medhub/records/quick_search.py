# SPDX-License-Identifier: Apache-2.0
"""Finding records by what people have at hand: an identifier of any of them, or words."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, false, func, or_, select, true
from sqlalchemy.orm import Session

from medhub.records.models import Image, Patient, Series, Study

# Our own identifiers, or DICOM's.
_IDENTIFIER = re.compile(r"[0-9a-f]{32}|[0-9]+(\.[0-9]+){2,}")


@dataclass(frozen=True)
class Named:
    """The patient that an identifier leads to, and as much of the way down as it says."""

    patient_id: str
    study_id: str | None = None
    series_id: str | None = None
    image_id: str | None = None

    def of(self, patient: Any, study: Any = None, series: Any = None, image: Any = None) -> ColumnElement[bool]:
        """The condition on a list's columns: what was named, or what lies on the way to it or below it."""
        for column, value in ((image, self.image_id), (series, self.series_id), (study, self.study_id)):
            if column is not None and value is not None:
                return column == value  # type: ignore[no-any-return]
        return patient == self.patient_id  # type: ignore[no-any-return]


def named(session: Session, projects: Collection[str], text: str) -> Named | None:
    """What an identifier names in some projects: an id, or a UID of a study, a series or an image."""
    if len(text) > 64 or not _IDENTIFIER.fullmatch(text):
        return None
    image = session.execute(
        select(Image.patient_id, Image.study_id, Image.series_id, Image.id).where(
            Image.project_id.in_(projects), or_(Image.id == text, Image.sop_instance_uid == text)
        )
    ).first()
    if image is not None:
        return Named(*image)
    series = session.execute(
        select(Study.patient_id, Series.study_id, Series.id)
        .join(Study, Study.id == Series.study_id)
        .where(Study.project_id.in_(projects), or_(Series.id == text, Series.series_uid == text))
    ).first()
    if series is not None:
        return Named(*series)
    study = session.execute(
        select(Study.patient_id, Study.id).where(
            Study.project_id.in_(projects), or_(Study.id == text, Study.study_uid == text)
        )
    ).first()
    if study is not None:
        return Named(*study)
    patient = session.scalar(select(Patient.id).where(Patient.project_id.in_(projects), Patient.id == text))
    return Named(patient) if patient is not None else None


def patients_called(projects: Collection[str], text: str) -> Select[str]:
    """The patients whose code contains a text."""
    return select(Patient.id).where(
        Patient.project_id.in_(projects), func.lower(Patient.code).contains(text.lower(), autoescape=True)
    )


def contains(column: Any, text: str) -> ColumnElement[bool]:
    """Whether a column's words contain a text, whatever its case."""
    return func.lower(column).contains(text.lower(), autoescape=True)


def within(
    session: Session,
    projects: Collection[str],
    column: Any,
    *,
    patient_id: str | None = None,
    study_id: str | None = None,
    series_id: str | None = None,
) -> ColumnElement[bool]:
    """The condition that rows lie in some projects; in a named place it is looked up once, and not at each row.

    Without it a database would walk through a whole project in the order that is asked for, to find one patient's.
    """
    if series_id is not None:
        chosen = select(Study.project_id).join(Series, Series.study_id == Study.id).where(Series.id == series_id)
    elif study_id is not None:
        chosen = select(Study.project_id).where(Study.id == study_id)
    elif patient_id is not None:
        chosen = select(Patient.project_id).where(Patient.id == patient_id)
    else:
        return column.in_(projects)  # type: ignore[no-any-return]
    return true() if set(session.scalars(chosen)) <= set(projects) else false()


# More than so many studies are found by walking through all images: then each page is full soon.
_FEW = 1_000


def lies_in_what_says(
    session: Session, projects: Collection[str], study: Any, project: Any, text: str
) -> ColumnElement[bool]:
    """The condition that something lies in a study whose description, or whose patient's code, contains a text."""
    called = select(Study.id).where(
        Study.project_id.in_(projects),
        contains(Study.description, text) | Study.patient_id.in_(patients_called(projects, text)),
    )
    few = list(session.scalars(called.limit(_FEW + 1)))
    if len(few) <= _FEW:
        return study.in_(few)  # type: ignore[no-any-return]
    return study.in_(called) & project.in_(projects)  # type: ignore[no-any-return]
