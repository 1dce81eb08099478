# SPDX-License-Identifier: Apache-2.0
"""The values that a DICOM search returns: columns of a page of rows, counts, and values collected from below."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, String, distinct, func, select
from sqlalchemy.orm import Session

from medhub.foundation import pagination
from medhub.records.models import Study
from medhub.records.query_matching import Dialect
from medhub.records.search_levels import (
    COLLECTED_KEYS,
    COUNT_KEYS,
    PARENT_COLUMNS,
    PATIENT_KEYS,
    TABLES,
    Level,
    SearchKey,
    count_below,
    levels_to,
    owner_column,
)

Match = dict[str, list[str]]
Row = dict[str, Any]
_ValuesById = dict[str, list[str]]


class ResultReader:
    """Reads the returned keys of a page of rows of one level."""

    def __init__(self, session: Session, dialect: Dialect, level: Level, search_keys: Mapping[str, SearchKey]) -> None:
        self._session = session
        self._dialect = dialect
        self._level = level
        self._search_keys = search_keys

    def read_rows(self, ids: Sequence[str], returned: Sequence[str]) -> list[Row]:
        """The rows with these ids, in this order, with the columns that the returned keys need."""
        columns = self._columns(returned) | self._columns_from_below(self._level, returned)
        table = TABLES[self._level].__table__
        source: Any = table
        for level in reversed(levels_to(self._level)[:-1]):
            source = source.join(TABLES[level].__table__, PARENT_COLUMNS[level] == TABLES[level].__table__.c.id)
        rows = self._session.execute(
            select(*columns.values()).select_from(source).where(pagination.in_ids(self._session, table.c.id, ids))
        )
        names = list(columns)
        by_id = {row[0]: dict(zip(names, row, strict=True)) for row in rows}
        return [by_id[row_id] for row_id in ids if row_id in by_id]

    def build_matches(self, rows: Sequence[Row], returned: Sequence[str]) -> list[Match]:
        """The values of the returned keys for each row."""
        by_owner: dict[str, _ValuesById] = {
            keyword: self._read_patient_values(keyword, rows)
            for keyword in returned
            if self._level == "patient" and keyword in PATIENT_KEYS
        }
        for owner in levels_to(self._level)[:-1]:
            by_owner |= self._read_owner_values(owner, returned, rows)
        readers: list[tuple[str, Callable[[Row], list[str]]]] = []
        for keyword in returned:
            if keyword in by_owner:
                readers.append((keyword, _owner_value_reader(_owner_id_name(keyword), by_owner[keyword])))
            elif keyword not in self._search_keys:
                readers.append((keyword, _below_reader(keyword)))
            elif self._search_keys[keyword].column is not None:
                readers.append((keyword, _column_reader(keyword)))
            else:
                readers.append((keyword, _attribute_reader(f"{self._search_keys[keyword].level} attributes", keyword)))
        return [{keyword: read(row) for keyword, read in readers} for row in rows]

    def _columns(self, returned: Sequence[str]) -> dict[str, Any]:
        """The columns that the returned keys are read from; the id comes first."""
        columns: dict[str, Any] = {"id": TABLES[self._level].__table__.c.id}
        for keyword in returned:
            key = self._search_keys.get(keyword)
            if self._level == "patient" and keyword in PATIENT_KEYS:
                continue
            if key is not None and key.column is not None:
                columns[keyword] = TABLES[key.level].__table__.c[key.column.key]
            elif key is not None:
                columns[f"{key.level} attributes"] = TABLES[key.level].__table__.c.attributes
            else:
                level = "study" if keyword in COLLECTED_KEYS else COUNT_KEYS[keyword][0]
                if level != self._level:
                    columns[f"{level} id"] = TABLES[level].__table__.c.id
        return columns

    def _columns_from_below(self, owner: Level, returned: Sequence[str]) -> dict[str, Any]:
        """Counts and collected values for a row of a level, as correlated subqueries.

        With one grouped query for many rows PostgreSQL would read the entire table.
        """
        columns = {
            keyword: count_below(COUNT_KEYS[keyword][1], owner)
            for keyword in returned
            if keyword in COUNT_KEYS and COUNT_KEYS[keyword][0] == owner
        }
        if owner == "study":
            columns |= {keyword: self._collect_values(keyword) for keyword in returned if keyword in COLLECTED_KEYS}
        return columns

    def _collect_values(self, keyword: str) -> Any:
        """The different values of the rows below a study, as a list of the database."""
        level, collected = COLLECTED_KEYS[keyword]
        column = self._search_keys[collected].column
        values = (
            func.json_group_array(distinct(column))
            if self._dialect.name == "sqlite"
            else func.array_agg(distinct(column), type_=ARRAY(String))
        )
        return select(values).where(owner_column(level, "study") == Study.id).correlate(Study).scalar_subquery()

    def _read_owner_values(self, owner: Level, returned: Sequence[str], rows: Sequence[Row]) -> dict[str, _ValuesById]:
        """Counts and collected values of the rows of a level above."""
        columns = self._columns_from_below(owner, returned)
        if not columns:
            return {}
        table, ids = TABLES[owner], sorted({row[f"{owner} id"] for row in rows})
        owners = self._session.execute(
            select(table.id, *columns.values()).where(pagination.in_ids(self._session, table.id, ids))
        ).all()
        return {
            keyword: {row[0]: _as_values(row[position]) for row in owners}
            for position, keyword in enumerate(columns, start=1)
        }

    def _read_patient_values(self, keyword: str, rows: Sequence[Row]) -> _ValuesById:
        """The values that the studies of the patients have."""
        by_patient: _ValuesById = {}
        attribute = Study.attributes[keyword]
        query = select(Study.patient_id, attribute).where(
            pagination.in_ids(self._session, Study.patient_id, [row["id"] for row in rows]), attribute.is_not(None)
        )
        for patient_id, values in self._session.execute(query.order_by(Study.id)):
            by_patient.setdefault(patient_id, values or [])
        return by_patient


def _owner_id_name(keyword: str) -> str:
    """The name under which a row has the id of the row that a keyword describes."""
    if keyword in COLLECTED_KEYS:
        return "study id"
    return f"{COUNT_KEYS[keyword][0]} id" if keyword in COUNT_KEYS else "id"


def _as_values(result: Any) -> list[str]:
    """A count, or the sorted list of collected values."""
    if isinstance(result, int):
        return [str(result)]
    return sorted(json.loads(result) if isinstance(result, str) else result or [])


def _owner_value_reader(id_name: str, values: Mapping[str, list[str]]) -> Callable[[Row], list[str]]:
    return lambda row: values.get(row[id_name], [])


def _below_reader(keyword: str) -> Callable[[Row], list[str]]:
    return lambda row: _as_values(row[keyword])


def _column_reader(keyword: str) -> Callable[[Row], list[str]]:
    def read_column(row: Row) -> list[str]:
        value = row[keyword]
        return [] if value is None or value == "" else [str(value)]

    return read_column


def _attribute_reader(column_name: str, keyword: str) -> Callable[[Row], list[str]]:
    return lambda row: row[column_name].get(keyword, [])
