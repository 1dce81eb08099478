# SPDX-License-Identifier: Apache-2.0
"""The WHERE clauses of a DICOM search.

Keys of a level above hold for all rows below; keys of a level below match where one row below meets all of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydicom.datadict import dictionary_VM, dictionary_VR
from sqlalchemy import ColumnElement, Select, and_, literal, literal_column, select

from medhub.records.models import Image, Patient, Series, Study
from medhub.records.query_matching import (
    EMPTY,
    Condition,
    Dialect,
    date_time_condition,
    match_values,
    parse_range,
    parse_values,
)
from medhub.records.search_levels import (
    COLLECTED_KEYS,
    COUNT_KEYS,
    LEVELS,
    TABLES,
    Level,
    SearchKey,
    count_below,
    levels_to,
    owner_column,
    select_from_level,
    select_parents,
)


class SearchFilter:
    """Turns the keys of a search at one level into conditions."""

    def __init__(
        self,
        dialect: Dialect,
        level: Level,
        search_keys: Mapping[str, SearchKey],
        *,
        fuzzy: bool = False,
        combine_date_time: bool = False,
    ) -> None:
        self._dialect = dialect
        self._level = level
        self._search_keys = search_keys
        self._fuzzy = fuzzy
        self._combine_date_time = combine_date_time

    def can_match(self, keyword: str) -> bool:
        """Whether a search at any level can use a keyword."""
        return keyword in self._search_keys or keyword in COUNT_KEYS or keyword in COLLECTED_KEYS

    def apply(self, query: Select[Any], projects: Collection[str], keys: Mapping[str, str]) -> Select[Any]:
        """Keep the rows that meet all keys; keys of levels above become subqueries of ids."""
        conditions = self._conditions(keys)
        own = [condition for level, condition in conditions if level == self._level]
        above = [(level, condition) for level, condition in conditions if level != self._level]
        allowed = sorted(projects)
        if self._level == "patient":
            return query.where(Patient.project_id.in_(allowed), *own)
        if self._level == "study":
            if above:  # a patient belongs to one project, and so do its studies
                return query.where(Study.patient_id.in_(select_parents("patient", allowed, above)), *own)
            return query.where(Study.project_id.in_(allowed), *own)
        if self._level == "series":
            if above:
                return query.where(Series.study_id.in_(select_parents("study", allowed, above)), *own)
            # A correlated subquery: the database then reads rows by id until the page is full and sorts nothing.
            project = select(Study.project_id).where(Study.id == Series.study_id).correlate(Series).scalar_subquery()
            return query.where(project.in_(allowed), *own)
        if above:
            return query.where(Image.series_id.in_(select_parents("series", allowed, above)), *own)
        project_id: ColumnElement[str] = Image.project_id  # type: ignore[assignment]
        if self._dialect.name == "sqlite" and "SOPInstanceUID" not in keys:
            # The plus keeps SQLite from using an index of projects, which would make it sort all rows.
            project_id = literal_column("+images.project_id")
        return query.where(project_id.in_(allowed), *own)

    def _conditions(self, keys: Mapping[str, str]) -> list[tuple[Level, Condition]]:
        """The conditions, each with the level of its rows."""
        conditions: list[tuple[Level, Condition]] = []
        below: list[tuple[Level, Condition]] = []
        levels = levels_to(self._level)
        date_time = _date_time(keys) if self._combine_date_time else None
        if date_time is not None:
            keys = {keyword: value for keyword, value in keys.items() if keyword not in {"StudyDate", "StudyTime"}}
            conditions.append(("study", date_time))
        for keyword, value in keys.items():
            if keyword in COUNT_KEYS:
                level, condition = COUNT_KEYS[keyword][0], _match_count(keyword, value)
            elif keyword in COLLECTED_KEYS:
                level, condition = "study", self._match_collected(keyword, value)
            elif keyword in self._search_keys:
                level, condition = self._search_keys[keyword].level, self._match_attribute(keyword, value)
            else:
                continue
            if condition is not None:
                (conditions if level in levels else below).append((level, condition))
        if below:
            conditions.append((self._level, self._exists_below(below)))
        return conditions

    def _match_attribute(self, keyword: str, value: str) -> Condition | None:
        key, vr = self._search_keys[keyword], dictionary_VR(keyword)
        if value.strip() == EMPTY:
            return _has_no_value(keyword, key)
        values = parse_values(keyword, vr, value)
        if not values:
            return None
        if key.is_number:
            return key.column.in_(_integers(values))  # type: ignore[no-any-return]

        def match(text: ColumnElement[str]) -> Condition:
            return match_values(text, keyword, vr, values, self._dialect, fuzzy=self._fuzzy)

        if key.column is not None:
            return match(key.column)
        attributes = TABLES[key.level].attributes
        if dictionary_VM(keyword) == "1":
            return match(attributes[(keyword, 0)].as_string())
        return self._dialect.any_value(attributes, keyword, match)

    def _match_collected(self, keyword: str, value: str) -> Condition | None:
        level, collected = COLLECTED_KEYS[keyword]
        if value.strip() == EMPTY:
            return ~select(literal(1)).where(owner_column(level, "study") == Study.id).correlate(Study).exists()
        condition = self._match_attribute(collected, value)
        if condition is None:
            return None
        return select(literal(1)).where(owner_column(level, "study") == Study.id, condition).correlate(Study).exists()

    def _exists_below(self, conditions: Sequence[tuple[Level, Condition]]) -> Condition:
        """Whether one row of a level below meets all conditions on the levels below."""
        own = TABLES[self._level]
        lowest = max((level for level, _ in conditions), key=LEVELS.index)
        levels = {level for level, _ in conditions}
        query = select_from_level(select(literal(1)), lowest, self._level)
        if lowest == "image" and "series" in levels:
            query = query.join(Series, Series.id == Image.series_id)
        if lowest == "image" and "study" in levels:
            query = query.join(Study, Study.id == Image.study_id)
        where = and_(*(condition for _, condition in conditions))
        return query.where(owner_column(lowest, self._level) == own.id, where).correlate(own).exists()


def _has_no_value(keyword: str, key: SearchKey) -> Condition:
    if key.is_number:
        return key.column.is_(None)  # type: ignore[no-any-return]
    if key.column is not None:
        return key.column == ""  # type: ignore[no-any-return]
    return TABLES[key.level].attributes[(keyword, 0)].as_string().is_(None)  # type: ignore[no-any-return]


def _date_time(keys: Mapping[str, str]) -> Condition | None:
    """The condition of a StudyDate and a StudyTime that are both ranges."""
    date, time = keys.get("StudyDate", ""), keys.get("StudyTime", "")
    if "-" not in date or "-" not in time:
        return None
    dates, times = parse_range("StudyDate", "DA", date), parse_range("StudyTime", "TM", time)
    return date_time_condition(Study.study_date, Study.study_time, dates, times)  # type: ignore[arg-type]


def _match_count(keyword: str, value: str) -> Condition | None:
    values = parse_values(keyword, "IS", value)
    if not values:
        return None
    described, counted = COUNT_KEYS[keyword]
    return count_below(counted, described).in_(_integers(values))  # type: ignore[no-any-return]


def _integers(values: Sequence[str]) -> list[int]:
    """The values that fit a column of 32 bits."""
    numbers = [int(value) for value in values if re.fullmatch(r"[+-]?[0-9]{1,10}", value)]
    return [number for number in numbers if -(2**31) <= number < 2**31]
