# SPDX-License-Identifier: Apache-2.0
"""Searching patients, studies, series and images by DICOM attributes: one engine for QIDO-RS and C-FIND.

::

    found = find(session, projects, "study", {"StudyDate": "20240101-", "ModalitiesInStudy": "CT"}, limit=25)
    found.matches[0]["StudyInstanceUID"]  # -> ["2.25.…"]

Keys of a level above hold for what lies below; keys of a level below are met where one object below meets all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydicom.datadict import dictionary_VM, dictionary_VR
from sqlalchemy import ARRAY, ColumnElement, Select, String, and_, distinct, func, literal, literal_column, select
from sqlalchemy.orm import Session

from medhub.foundation import pagination
from medhub.records.models import Image, Patient, Series, Study
from medhub.records.query_matching import EMPTY, Condition, Dialect, alternatives, combined, matches, range_of
from medhub.science.imaging.dicom.search_attributes import IMAGE, SERIES, STUDY, is_searchable

Level = Literal["patient", "study", "series", "image"]
LEVELS: tuple[Level, ...] = ("patient", "study", "series", "image")
Match = dict[str, list[str]]
_Row = dict[str, Any]
_Gathered = dict[str, list[str]]

UNIQUE: dict[Level, str] = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "image": "SOPInstanceUID",
}
"""What names one of a level."""


@dataclass(frozen=True)
class Found:
    """A page of what was found.

    ``ignored`` names wanted keys by which nothing is searched here; ``more`` says that the page is not the end.
    """

    matches: list[Match]
    ignored: tuple[str, ...]
    more: bool


@dataclass(frozen=True)
class _Key:
    """Where an attribute lies: a column, or a place among the searchable attributes of a level."""

    level: Level
    column: Any = None
    number: bool = False


_ROWS: dict[Level, Any] = {"patient": Patient, "study": Study, "series": Series, "image": Image}
# By which column those below name one of a level.
_PARENT: dict[Level, Any] = {
    "patient": Study.__table__.c.patient_id,
    "study": Series.__table__.c.study_id,
    "series": Image.__table__.c.series_id,
}
_COLUMNS: dict[str, _Key] = {
    "PatientID": _Key("patient", Patient.code),
    "PatientName": _Key("patient", Patient.code),
    "StudyInstanceUID": _Key("study", Study.study_uid),
    "StudyDate": _Key("study", Study.study_date),
    "StudyTime": _Key("study", Study.study_time),
    "StudyDescription": _Key("study", Study.description),
    "SeriesInstanceUID": _Key("series", Series.series_uid),
    "Modality": _Key("series", Series.modality),
    "SeriesNumber": _Key("series", Series.number, number=True),
    "SeriesDescription": _Key("series", Series.description),
    "SOPInstanceUID": _Key("image", Image.sop_instance_uid),
    "SOPClassUID": _Key("image", Image.sop_class_uid),
    "InstanceNumber": _Key("image", Image.instance_number, number=True),
    "AvailableTransferSyntaxUID": _Key("image", Image.transfer_syntax_uid),
}
# What is counted or gathered from below, by the level that it describes.
_COUNTS: dict[str, tuple[Level, Level]] = {
    "NumberOfPatientRelatedStudies": ("patient", "study"),
    "NumberOfPatientRelatedSeries": ("patient", "series"),
    "NumberOfPatientRelatedInstances": ("patient", "image"),
    "NumberOfStudyRelatedSeries": ("study", "series"),
    "NumberOfStudyRelatedInstances": ("study", "image"),
    "NumberOfSeriesRelatedInstances": ("series", "image"),
}
_GATHERED: dict[str, tuple[Level, str]] = {
    "ModalitiesInStudy": ("series", "Modality"),
    "SOPClassesInStudy": ("image", "SOPClassUID"),
}
# What studies say of their patient; at the patient's level the first that says something is believed.
_OF_PATIENT = ("PatientSex", "PatientBirthDate")


def supported(level: Level, chosen: Iterable[str] = ()) -> tuple[str, ...]:
    """The keywords that can be wanted and returned at a level; ``chosen`` are those that a project chose."""
    reach = LEVELS[: LEVELS.index(level) + 1]
    places = _places(chosen)
    own = [keyword for keyword, key in places.items() if key.level in reach]
    own += [keyword for keyword, (of, _) in _COUNTS.items() if of in reach]
    return tuple(own + list(_GATHERED if "study" in reach else _OF_PATIENT))


def _places(chosen: Iterable[str]) -> dict[str, _Key]:
    levels: tuple[tuple[Level, Iterable[str]], ...] = (
        ("study", STUDY),
        ("series", SERIES),
        ("image", (*IMAGE, *(keyword for keyword in chosen if is_searchable(keyword)))),
    )
    places = dict(_COLUMNS)
    for level, keywords in levels:
        for keyword in keywords:
            places.setdefault(keyword, _Key(level))
    return places


def find(
    session: Session,
    projects: Collection[str],
    level: Level,
    wanted: Mapping[str, str],
    *,
    include: Collection[str] | Literal["all"] = (),
    chosen: Iterable[str] = (),
    limit: int,
    offset: int = 0,
    fuzzy: bool = False,
    combine_moments: bool = False,
) -> Found:
    """Search what lies in some projects; each match has the wanted, the included and the unique keys.

    A wanted value is written as in C-FIND: several are divided by backslashes, an empty one or ``*`` matches all and
    has the attribute returned, ``""`` matches what has none. ``combine_moments`` reads StudyDate and StudyTime as one
    range (PS3.4, C.2.2.2.5). Raises ``UnusableKey`` where a value is none of its attribute. Pages are of some thousand
    matches at most.
    """
    search = _Search(session, level, _places(chosen), fuzzy=fuzzy, combine_moments=combine_moments)
    can = supported(level, chosen)
    keywords = list(can) if include == "all" else [*wanted, *include]
    returned = [keyword for keyword in dict.fromkeys([*_unique_of(level), *keywords]) if keyword in can]
    rows = search.page(projects, wanted, returned, offset, limit + 1)
    below = [keyword for keyword in wanted if keyword not in can and search.reaches(keyword)]
    ignored = tuple(keyword for keyword in wanted if keyword not in can and keyword not in below)
    found = search.matches(rows[:limit], returned)
    for match in found:
        match.update((keyword, []) for keyword in (*below, *ignored))
    return Found(found, ignored, len(rows) > limit)


def find_images(
    session: Session,
    projects: Collection[str],
    wanted: Mapping[str, str],
    *,
    chosen: Iterable[str] = (),
    limit: int | None = None,
) -> list[Image]:
    """The images that meet all keys, study by study and in the order of their numbers."""
    search = _Search(session, "image", _places(chosen))
    query = search.restricted(select(Image).join(Series).join(Study, Study.id == Image.study_id), projects, wanted)
    order = (Study.id, Series.number, Series.id, Image.instance_number, Image.number, Image.id)
    return list(session.scalars(query.order_by(*order).limit(limit)))


def _unique_of(level: Level) -> tuple[str, ...]:
    if level == "patient":
        return (UNIQUE["patient"],)
    return tuple(UNIQUE[one] for one in LEVELS[1 : LEVELS.index(level) + 1])


class _Search:
    """One search at one level."""

    def __init__(
        self,
        session: Session,
        level: Level,
        places: Mapping[str, _Key],
        *,
        fuzzy: bool = False,
        combine_moments: bool = False,
    ) -> None:
        self._session = session
        self._level = level
        self._places = places
        self._fuzzy = fuzzy
        self._combine = combine_moments
        name = session.get_bind().dialect.name
        self._dialect = Dialect("sqlite" if name == "sqlite" else "postgresql")

    def reaches(self, keyword: str) -> bool:
        """Whether anything is searched by a keyword, at whatever level."""
        return keyword in self._places or keyword in _COUNTS or keyword in _GATHERED

    def page(
        self, projects: Collection[str], wanted: Mapping[str, str], returned: Sequence[str], offset: int, limit: int
    ) -> list[_Row]:
        """The rows of a page, each with what the returned keys are read from."""
        # First their ids alone: what is sorted and passed over drags nothing along.
        own = _ROWS[self._level]
        query = self.restricted(select(own.id), projects, wanted)
        if self._level == "image" and _scoped(wanted):
            query = query.join(Series, Series.id == Image.series_id)
        chosen = list(self._session.scalars(query.order_by(*self._order(wanted)).offset(offset).limit(limit)))
        if not chosen:
            return []
        columns = self._columns(returned) | self._below(self._level, returned)
        table = own.__table__
        source: Any = table
        for level in reversed(LEVELS[: LEVELS.index(self._level)]):
            source = source.join(_ROWS[level].__table__, _PARENT[level] == _ROWS[level].__table__.c.id)
        rows = self._session.execute(
            select(*columns.values()).select_from(source).where(pagination.in_ids(self._session, table.c.id, chosen))
        )
        names = list(columns)
        by_id = {row[0]: dict(zip(names, row, strict=True)) for row in rows}
        return [by_id[one] for one in chosen if one in by_id]

    def _columns(self, returned: Sequence[str]) -> dict[str, Any]:
        """The columns that the returned keys are read from; the id comes first."""
        columns: dict[str, Any] = {"id": _ROWS[self._level].__table__.c.id}
        for keyword in returned:
            key = self._places.get(keyword)
            if self._level == "patient" and keyword in _OF_PATIENT:
                continue
            if key is not None and key.column is not None:
                columns[keyword] = _ROWS[key.level].__table__.c[key.column.key]
            elif key is not None:
                columns[f"{key.level} attributes"] = _ROWS[key.level].__table__.c.attributes
            else:
                level = "study" if keyword in _GATHERED else _COUNTS[keyword][0]
                if level != self._level:
                    columns[f"{level} id"] = _ROWS[level].__table__.c.id
        return columns

    def restricted(self, query: Select[Any], projects: Collection[str], wanted: Mapping[str, str]) -> Select[Any]:
        """Keep what meets all keys; keys above choose first, and what hangs on the chosen is looked up."""
        conditions = self._conditions(wanted)
        own = [condition for level, condition in conditions if level == self._level]
        above = [(level, condition) for level, condition in conditions if level != self._level]
        allowed = sorted(projects)
        if self._level == "patient":
            return query.where(Patient.project_id.in_(allowed), *own)
        if self._level == "study":
            if above:  # patients are of one project, and so are their studies
                return query.where(Study.patient_id.in_(_parents("patient", allowed, above)), *own)
            return query.where(Study.project_id.in_(allowed), *own)
        if self._level == "series":
            if above:
                return query.where(Series.study_id.in_(_parents("study", allowed, above)), *own)
            # In the order of their ids until the page is full, rather than all of them sorted.
            project = select(Study.project_id).where(Study.id == Series.study_id).correlate(Series).scalar_subquery()
            return query.where(project.in_(allowed), *own)
        if above:
            return query.where(Image.series_id.in_(_parents("series", allowed, above)), *own)
        project_id: ColumnElement[str] = Image.project_id  # type: ignore[assignment]
        if self._dialect.name == "sqlite" and "SOPInstanceUID" not in wanted:
            project_id = literal_column("+images.project_id")  # likewise; an index of projects would have all sorted
        return query.where(project_id.in_(allowed), *own)

    def _order(self, wanted: Mapping[str, str]) -> tuple[Any, ...]:
        """An order that stays, so that pages fit together, and that an index gives where there is much."""
        if self._level == "patient":
            return (Patient.id.desc(),)
        if self._level == "study":
            return Study.study_date.desc(), Study.id.desc()
        if self._level == "series":
            return (Series.study_id, Series.number, Series.id) if _scoped(wanted) else (Series.id,)
        if _scoped(wanted):
            return Image.study_id, Series.number, Series.id, Image.instance_number, Image.id
        return (Image.id,)

    def _conditions(self, wanted: Mapping[str, str]) -> list[tuple[Level, Condition]]:
        """What must hold, and on which level's rows."""
        conditions: list[tuple[Level, Condition]] = []
        below: list[tuple[Level, Condition]] = []
        reach = LEVELS[: LEVELS.index(self._level) + 1]
        moment = self._moment(wanted) if self._combine else None
        if moment is not None:
            wanted = {keyword: value for keyword, value in wanted.items() if keyword not in {"StudyDate", "StudyTime"}}
            conditions.append(("study", moment))
        for keyword, value in wanted.items():
            if keyword in _COUNTS:
                condition = self._counted(keyword, value)
                level = _COUNTS[keyword][0]
            elif keyword in _GATHERED:
                level, condition = "study", self._gathered(keyword, value)
            elif keyword in self._places:
                level, condition = self._places[keyword].level, self._one(keyword, value)
            else:
                continue
            if condition is None:
                continue
            if level in reach:
                conditions.append((level, condition))
            else:
                below.append((level, condition))
        if below:
            conditions.append((self._level, self._exists_below(below)))
        return conditions

    def _one(self, keyword: str, value: str) -> Condition | None:
        key, vr = self._places[keyword], dictionary_VR(keyword)
        if value.strip() == EMPTY:
            return self._without(keyword, key)
        wanted = alternatives(keyword, vr, value)
        if not wanted:
            return None
        if key.number:
            return key.column.in_(_numbers(wanted))  # type: ignore[no-any-return]

        def holds(text: ColumnElement[str]) -> Condition:
            return matches(text, keyword, vr, wanted, self._dialect, fuzzy=self._fuzzy)

        if key.column is not None:
            return holds(key.column)
        attributes = _ROWS[key.level].attributes
        if dictionary_VM(keyword) == "1":
            return holds(attributes[(keyword, 0)].as_string())
        return self._dialect.any_of(attributes, keyword, holds)

    def _without(self, keyword: str, key: _Key) -> Condition:
        if key.number:
            return key.column.is_(None)  # type: ignore[no-any-return]
        if key.column is not None:
            return key.column == ""  # type: ignore[no-any-return]
        return _ROWS[key.level].attributes[(keyword, 0)].as_string().is_(None)  # type: ignore[no-any-return]

    def _moment(self, wanted: Mapping[str, str]) -> Condition | None:
        date, time = wanted.get("StudyDate", ""), wanted.get("StudyTime", "")
        if "-" not in date or "-" not in time:
            return None
        days, hours = range_of("StudyDate", "DA", date), range_of("StudyTime", "TM", time)
        return combined(Study.study_date, Study.study_time, days, hours)  # type: ignore[arg-type]

    def _counted(self, keyword: str, value: str) -> Condition | None:
        wanted = alternatives(keyword, "IS", value)
        if not wanted:
            return None
        of, what = _COUNTS[keyword]
        return _count(what, of).in_(_numbers(wanted))  # type: ignore[no-any-return]

    def _gathered(self, keyword: str, value: str) -> Condition | None:
        level, inner = _GATHERED[keyword]
        if value.strip() == EMPTY:
            return ~select(literal(1)).where(_owner(level, "study") == Study.id).correlate(Study).exists()
        condition = self._one(inner, value)
        if condition is None:
            return None
        return select(literal(1)).where(_owner(level, "study") == Study.id, condition).correlate(Study).exists()

    def _exists_below(self, below: Sequence[tuple[Level, Condition]]) -> Condition:
        """Whether one object below meets all keys of the levels below."""
        own = _ROWS[self._level]
        lowest = max((level for level, _ in below), key=LEVELS.index)
        met = and_(*(condition for _, condition in below))
        names = {level for level, _ in below}
        query = _of_owner(select(literal(1)), lowest, self._level)
        if lowest == "image" and "series" in names:
            query = query.join(Series, Series.id == Image.series_id)
        if lowest == "image" and "study" in names:
            query = query.join(Study, Study.id == Image.study_id)
        return query.where(_owner(lowest, self._level) == own.id, met).correlate(own).exists()

    def matches(self, rows: Sequence[_Row], returned: Sequence[str]) -> list[Match]:
        """What the rows of a page say under the returned keys."""
        from_below = {
            keyword: self._said_of_patients(keyword, rows)
            for keyword in returned
            if self._level == "patient" and keyword in _OF_PATIENT
        }
        for owner in LEVELS[: LEVELS.index(self._level)]:
            from_below |= self._gathered_of(owner, returned, rows)
        readers: list[tuple[str, Callable[[_Row], list[str]]]] = []
        for keyword in returned:
            if keyword in from_below:
                readers.append((keyword, _gathered_reader(_owner_id(keyword), from_below[keyword])))
            elif keyword not in self._places:
                readers.append((keyword, _below_reader(keyword)))
            elif self._places[keyword].column is not None:
                readers.append((keyword, _column_reader(keyword)))
            else:
                readers.append((keyword, _attribute_reader(f"{self._places[keyword].level} attributes", keyword)))
        return [{keyword: read(row) for keyword, read in readers} for row in rows]

    def _below(self, owner: Level, returned: Sequence[str]) -> dict[str, Any]:
        """What is counted or gathered from below for a row of a level, one by one by its index.

        For many at once PostgreSQL would read the whole table.
        """
        counted = {
            keyword: _count(_COUNTS[keyword][1], owner)
            for keyword in returned
            if keyword in _COUNTS and _COUNTS[keyword][0] == owner
        }
        if owner != "study":
            return counted
        gathered = {keyword: self._values_below(keyword) for keyword in returned if keyword in _GATHERED}
        return counted | gathered

    def _values_below(self, keyword: str) -> Any:
        """The different values that those below a study have, as a list of the database."""
        level, inner = _GATHERED[keyword]
        column = self._places[inner].column
        each = (
            func.json_group_array(distinct(column))
            if self._dialect.name == "sqlite"
            else func.array_agg(distinct(column), type_=ARRAY(String))
        )
        return select(each).where(_owner(level, "study") == Study.id).correlate(Study).scalar_subquery()

    def _gathered_of(self, owner: Level, returned: Sequence[str], rows: Sequence[_Row]) -> dict[str, _Gathered]:
        """What is counted or gathered for those of a level above to which the rows of a page belong."""
        columns = self._below(owner, returned)
        if not columns:
            return {}
        own, ids = _ROWS[owner], sorted({row[f"{owner} id"] for row in rows})
        found = self._session.execute(
            select(own.id, *columns.values()).where(pagination.in_ids(self._session, own.id, ids))
        ).all()
        return {
            keyword: {row[0]: _values(row[place]) for row in found} for place, keyword in enumerate(columns, start=1)
        }

    def _said_of_patients(self, keyword: str, rows: Sequence[_Row]) -> _Gathered:
        """What studies say of their patients."""
        gathered: _Gathered = {}
        said = Study.attributes[keyword]
        ids = [row["id"] for row in rows]
        of_studies = select(Study.patient_id, said).where(
            pagination.in_ids(self._session, Study.patient_id, ids), said.is_not(None)
        )
        for one, values in self._session.execute(of_studies.order_by(Study.id)):
            gathered.setdefault(one, values or [])
        return gathered


def _owner_id(keyword: str) -> str:
    """Under which name a row has the id of what a keyword counts or gathers for."""
    if keyword in _GATHERED:
        return "study id"
    return f"{_COUNTS[keyword][0]} id" if keyword in _COUNTS else "id"


def _values(found: Any) -> list[str]:
    """A count, or the different values that were gathered, in their order."""
    if isinstance(found, int):
        return [str(found)]
    return sorted(json.loads(found) if isinstance(found, str) else found or [])


def _count(level: Level, of: Level) -> Any:
    """How many of a level belong to the row of another level that a query is at."""
    counted = _of_owner(select(func.count()), level, of).where(_owner(level, of) == _ROWS[of].id)
    return counted.correlate(_ROWS[of]).scalar_subquery()


def _scoped(wanted: Mapping[str, str]) -> bool:
    return bool(wanted.get("StudyInstanceUID") or wanted.get("SeriesInstanceUID"))


def _parents(level: Level, projects: Sequence[str], conditions: Sequence[tuple[Level, Condition]]) -> Select[Any]:
    """The ids of those of a level that conditions on it and on what is above it choose."""
    met = [condition for _, condition in conditions]
    names = {of for of, _ in conditions}
    if level == "patient":
        return select(Patient.id).where(Patient.project_id.in_(projects), *met)
    query = select(_ROWS[level].id)
    if level == "series":
        query = query.join(Study, Study.id == Series.study_id)
    if "patient" in names:
        query = query.join(Patient, Patient.id == Study.patient_id)
        return query.where(Patient.project_id.in_(projects), *met)
    return query.where(Study.project_id.in_(projects), *met)


def _numbers(wanted: Sequence[str]) -> list[int]:
    """The wanted values that a column of 32 bits can hold."""
    numbers = [int(one) for one in wanted if re.fullmatch(r"[+-]?[0-9]{1,10}", one)]
    return [number for number in numbers if -(2**31) <= number < 2**31]


def _owner(level: Level, of: Level) -> Any:
    """The column by which one of a level says to what it belongs."""
    if of == "patient":
        return Image.patient_id if level == "image" else Study.patient_id
    row = Image if level == "image" else Series
    return row.study_id if of == "study" else Image.series_id


def _of_owner(query: Select[Any], level: Level, of: Level) -> Select[Any]:
    """A query of a level that reaches what it belongs to."""
    query = query.select_from(_ROWS[level])
    return query.join(Study, Study.id == Series.study_id) if (level, of) == ("series", "patient") else query


def _gathered_reader(owner: str, values: Mapping[str, list[str]]) -> Callable[[_Row], list[str]]:
    return lambda row: values.get(row[owner], [])


def _below_reader(keyword: str) -> Callable[[_Row], list[str]]:
    return lambda row: _values(row[keyword])


def _column_reader(keyword: str) -> Callable[[_Row], list[str]]:
    def read(row: _Row) -> list[str]:
        value = row[keyword]
        return [] if value is None or value == "" else [str(value)]

    return read


def _attribute_reader(source: str, keyword: str) -> Callable[[_Row], list[str]]:
    return lambda row: row[source].get(keyword, [])
