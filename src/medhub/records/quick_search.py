# SPDX-License-Identifier: Apache-2.0
"""Quick search of records by an identifier or by text."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, false, func, or_, select, true
from sqlalchemy.orm import Session

from medhub.records.models import Image, Patient, Series, Study

# Ids of this installation, or DICOM UIDs.
_IDENTIFIER = re.compile(r"[0-9a-f]{32}|[0-9]+(\.[0-9]+){2,}")


@dataclass(frozen=True)
class IdentifierMatch:
    """The record that an identifier belongs to, with the ids of the levels above it."""

    patient_id: str
    study_id: str | None = None
    series_id: str | None = None
    image_id: str | None = None

    def condition(self, patient: Any, study: Any = None, series: Any = None, image: Any = None) -> ColumnElement[bool]:
        """The condition on the columns of a list: the matched record, or the records above or below it."""
        for column, value in ((image, self.image_id), (series, self.series_id), (study, self.study_id)):
            if column is not None and value is not None:
                return column == value  # type: ignore[no-any-return]
        return patient == self.patient_id  # type: ignore[no-any-return]


def find_by_identifier(session: Session, projects: Collection[str], text: str) -> IdentifierMatch | None:
    """Find the patient, study, series or image with an id or UID in some projects."""
    if len(text) > 64 or not _IDENTIFIER.fullmatch(text):
        return None
    image = session.execute(
        select(Image.patient_id, Image.study_id, Image.series_id, Image.id).where(
            Image.project_id.in_(projects), or_(Image.id == text, Image.sop_instance_uid == text)
        )
    ).first()
    if image is not None:
        return IdentifierMatch(*image)
    series = session.execute(
        select(Study.patient_id, Series.study_id, Series.id)
        .join(Study, Study.id == Series.study_id)
        .where(Study.project_id.in_(projects), or_(Series.id == text, Series.series_uid == text))
    ).first()
    if series is not None:
        return IdentifierMatch(*series)
    study = session.execute(
        select(Study.patient_id, Study.id).where(
            Study.project_id.in_(projects), or_(Study.id == text, Study.study_uid == text)
        )
    ).first()
    if study is not None:
        return IdentifierMatch(*study)
    patient = session.scalar(select(Patient.id).where(Patient.project_id.in_(projects), Patient.id == text))
    return IdentifierMatch(patient) if patient is not None else None


def patients_with_code(projects: Collection[str], text: str) -> Select[str]:
    """Select the ids of patients whose code contains a text."""
    return select(Patient.id).where(
        Patient.project_id.in_(projects), func.lower(Patient.code).contains(text.lower(), autoescape=True)
    )


def contains_text(column: Any, text: str) -> ColumnElement[bool]:
    """The condition that a column contains a text, ignoring case."""
    return func.lower(column).contains(text.lower(), autoescape=True)


def in_projects(
    session: Session,
    projects: Collection[str],
    column: Any,
    *,
    patient_id: str | None = None,
    study_id: str | None = None,
    series_id: str | None = None,
) -> ColumnElement[bool]:
    """The condition that rows belong to some projects; for a given patient, study or series it is decided beforehand.

    Otherwise a database would read all rows of a project in the requested order to find those of one patient.
    """
    if series_id is not None:
        project_ids = select(Study.project_id).join(Series, Series.study_id == Study.id).where(Series.id == series_id)
    elif study_id is not None:
        project_ids = select(Study.project_id).where(Study.id == study_id)
    elif patient_id is not None:
        project_ids = select(Patient.project_id).where(Patient.id == patient_id)
    else:
        return column.in_(projects)  # type: ignore[no-any-return]
    return true() if set(session.scalars(project_ids)) <= set(projects) else false()


# With more matching studies than this the database reads all images in order: pages then fill quickly.
_MAX_STUDY_IDS = 1_000


def in_matching_study(
    session: Session, projects: Collection[str], study: Any, project: Any, text: str
) -> ColumnElement[bool]:
    """The condition that a row belongs to a study whose description or patient code contains a text."""
    matching = select(Study.id).where(
        Study.project_id.in_(projects),
        contains_text(Study.description, text) | Study.patient_id.in_(patients_with_code(projects, text)),
    )
    study_ids = list(session.scalars(matching.limit(_MAX_STUDY_IDS + 1)))
    if len(study_ids) <= _MAX_STUDY_IDS:
        return study.in_(study_ids)  # type: ignore[no-any-return]
    return study.in_(matching) & project.in_(projects)  # type: ignore[no-any-return]
