# SPDX-License-Identifier: Apache-2.0
"""The four levels of a DICOM search, the attributes that each level has, and how their tables are joined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Select, func, select

from medhub.records.models import Image, Patient, Series, Study
from medhub.records.query_matching import Condition
from medhub.science.imaging.dicom.search_attributes import IMAGE, SERIES, STUDY, is_searchable

Level = Literal["patient", "study", "series", "image"]
LEVELS: tuple[Level, ...] = ("patient", "study", "series", "image")

UNIQUE_KEYS: dict[Level, str] = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "image": "SOPInstanceUID",
}
"""The attribute that identifies a row of a level."""

TABLES: dict[Level, Any] = {"patient": Patient, "study": Study, "series": Series, "image": Image}
PARENT_COLUMNS: dict[Level, Any] = {
    "patient": Study.__table__.c.patient_id,
    "study": Series.__table__.c.study_id,
    "series": Image.__table__.c.series_id,
}
"""The column by which the level below refers to a level."""


@dataclass(frozen=True)
class SearchKey:
    """Where an attribute is stored: in a column, or among the searchable attributes of a level."""

    level: Level
    column: Any = None
    is_number: bool = False


_COLUMN_KEYS: dict[str, SearchKey] = {
    "PatientID": SearchKey("patient", Patient.code),
    "PatientName": SearchKey("patient", Patient.code),
    "StudyInstanceUID": SearchKey("study", Study.study_uid),
    "StudyDate": SearchKey("study", Study.study_date),
    "StudyTime": SearchKey("study", Study.study_time),
    "StudyDescription": SearchKey("study", Study.description),
    "SeriesInstanceUID": SearchKey("series", Series.series_uid),
    "Modality": SearchKey("series", Series.modality),
    "SeriesNumber": SearchKey("series", Series.number, is_number=True),
    "SeriesDescription": SearchKey("series", Series.description),
    "SOPInstanceUID": SearchKey("image", Image.sop_instance_uid),
    "SOPClassUID": SearchKey("image", Image.sop_class_uid),
    "InstanceNumber": SearchKey("image", Image.instance_number, is_number=True),
    "AvailableTransferSyntaxUID": SearchKey("image", Image.transfer_syntax_uid),
}
COUNT_KEYS: dict[str, tuple[Level, Level]] = {
    "NumberOfPatientRelatedStudies": ("patient", "study"),
    "NumberOfPatientRelatedSeries": ("patient", "series"),
    "NumberOfPatientRelatedInstances": ("patient", "image"),
    "NumberOfStudyRelatedSeries": ("study", "series"),
    "NumberOfStudyRelatedInstances": ("study", "image"),
    "NumberOfSeriesRelatedInstances": ("series", "image"),
}
"""Attributes that are counts: the level that they describe, and the level whose rows are counted."""

COLLECTED_KEYS: dict[str, tuple[Level, str]] = {
    "ModalitiesInStudy": ("series", "Modality"),
    "SOPClassesInStudy": ("image", "SOPClassUID"),
}
"""Attributes of a study that collect the different values of an attribute of a level below."""

PATIENT_KEYS = ("PatientSex", "PatientBirthDate")
"""Attributes of a patient that are stored with its studies; the first study that has a value is used."""


def levels_to(level: Level) -> tuple[Level, ...]:
    """A level and the levels above it, from the top."""
    return LEVELS[: LEVELS.index(level) + 1]


def search_keys(extra_keywords: Iterable[str]) -> dict[str, SearchKey]:
    """All stored attributes by keyword, including the image attributes that a project has configured."""
    attributes: tuple[tuple[Level, Iterable[str]], ...] = (
        ("study", STUDY),
        ("series", SERIES),
        ("image", (*IMAGE, *(keyword for keyword in extra_keywords if is_searchable(keyword)))),
    )
    keys = dict(_COLUMN_KEYS)
    for level, keywords in attributes:
        for keyword in keywords:
            keys.setdefault(keyword, SearchKey(level))
    return keys


def supported_keywords(level: Level, extra_keywords: Iterable[str] = ()) -> tuple[str, ...]:
    """The keywords that a search at a level can match and return; ``extra_keywords`` are those of a project."""
    levels = levels_to(level)
    stored = [keyword for keyword, key in search_keys(extra_keywords).items() if key.level in levels]
    counted = [keyword for keyword, (described, _) in COUNT_KEYS.items() if described in levels]
    return (*stored, *counted, *(COLLECTED_KEYS if "study" in levels else PATIENT_KEYS))


def unique_keys(level: Level) -> tuple[str, ...]:
    """The identifying attributes that each match of a level has."""
    if level == "patient":
        return (UNIQUE_KEYS["patient"],)
    return tuple(UNIQUE_KEYS[upper] for upper in levels_to(level)[1:])


def owner_column(level: Level, owner: Level) -> Any:
    """The column by which the rows of a level refer to the rows of a level above."""
    if owner == "patient":
        return Image.patient_id if level == "image" else Study.patient_id
    table = Image if level == "image" else Series
    return table.study_id if owner == "study" else Image.series_id


def select_from_level(query: Select[Any], level: Level, owner: Level) -> Select[Any]:
    """Add the tables that ``owner_column`` needs to a query."""
    query = query.select_from(TABLES[level])
    return query.join(Study, Study.id == Series.study_id) if (level, owner) == ("series", "patient") else query


def count_below(level: Level, owner: Level) -> Any:
    """A subquery that counts the rows of a level that belong to the current row of a level above."""
    query = select_from_level(select(func.count()), level, owner).where(owner_column(level, owner) == TABLES[owner].id)
    return query.correlate(TABLES[owner]).scalar_subquery()


def select_parents(level: Level, projects: Sequence[str], conditions: Sequence[tuple[Level, Condition]]) -> Select[Any]:
    """Select the ids of a level whose rows meet conditions on it and on the levels above."""
    where = [condition for _, condition in conditions]
    levels = {of for of, _ in conditions}
    if level == "patient":
        return select(Patient.id).where(Patient.project_id.in_(projects), *where)
    query = select(TABLES[level].id)
    if level == "series":
        query = query.join(Study, Study.id == Series.study_id)
    if "patient" in levels:
        query = query.join(Patient, Patient.id == Study.patient_id)
        return query.where(Patient.project_id.in_(projects), *where)
    return query.where(Study.project_id.in_(projects), *where)
