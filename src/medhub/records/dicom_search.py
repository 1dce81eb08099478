# SPDX-License-Identifier: Apache-2.0
"""Search of patients, studies, series and images by DICOM attributes, for QIDO-RS and C-FIND.

::

    keys = {"StudyDate": "20240101-", "ModalitiesInStudy": "CT"}
    result = search(session, projects, "study", keys, limit=25)
    result.matches[0]["StudyInstanceUID"]  # -> ["2.25.…"]
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.records.models import Image, Patient, Series, Study
from medhub.records.query_matching import Dialect
from medhub.records.search_filter import SearchFilter
from medhub.records.search_levels import TABLES, Level, search_keys, supported_keywords, unique_keys
from medhub.records.search_results import Match, ResultReader


@dataclass(frozen=True)
class SearchResult:
    """A page of matches.

    ``ignored`` names requested keys that this search does not support; ``more`` says that there are further pages.
    """

    matches: list[Match]
    ignored: tuple[str, ...]
    more: bool


def search(
    session: Session,
    projects: Collection[str],
    level: Level,
    keys: Mapping[str, str],
    *,
    include: Collection[str] | Literal["all"] = (),
    extra_keywords: Iterable[str] = (),
    limit: int,
    offset: int = 0,
    fuzzy: bool = False,
    combine_date_time: bool = False,
) -> SearchResult:
    """Search in some projects; each match has the requested, the included and the unique keys.

    Values are written as in C-FIND: backslashes separate alternatives, an empty value or ``*`` matches everything and
    returns the attribute, ``""`` matches objects without a value. ``combine_date_time`` reads StudyDate and StudyTime
    as one range (PS3.4, C.2.2.2.5). Raises ``UnusableKey`` where a value is invalid for its attribute. Pages have
    some thousand matches at most.
    """
    stored = search_keys(extra_keywords)
    dialect = _dialect(session)
    search_filter = SearchFilter(dialect, level, stored, fuzzy=fuzzy, combine_date_time=combine_date_time)
    supported = supported_keywords(level, extra_keywords)
    keywords = list(supported) if include == "all" else [*keys, *include]
    returned = [keyword for keyword in dict.fromkeys([*unique_keys(level), *keywords]) if keyword in supported]
    ids = _page_ids(session, search_filter, projects, level, keys, offset, limit + 1)
    reader = ResultReader(session, dialect, level, stored)
    matches = reader.build_matches(reader.read_rows(ids[:limit], returned), returned) if ids else []
    below = [keyword for keyword in keys if keyword not in supported and search_filter.can_match(keyword)]
    ignored = tuple(keyword for keyword in keys if keyword not in supported and keyword not in below)
    for match in matches:
        match.update((keyword, []) for keyword in (*below, *ignored))
    return SearchResult(matches, ignored, len(ids) > limit)


def search_images(
    session: Session,
    projects: Collection[str],
    keys: Mapping[str, str],
    *,
    extra_keywords: Iterable[str] = (),
    limit: int | None = None,
) -> list[Image]:
    """The images that meet all keys, ordered by study, series and number."""
    search_filter = SearchFilter(_dialect(session), "image", search_keys(extra_keywords))
    query = search_filter.apply(select(Image).join(Series).join(Study, Study.id == Image.study_id), projects, keys)
    order = (Study.id, Series.number, Series.id, Image.instance_number, Image.number, Image.id)
    return list(session.scalars(query.order_by(*order).limit(limit)))


def _dialect(session: Session) -> Dialect:
    return Dialect("sqlite" if session.get_bind().dialect.name == "sqlite" else "postgresql")


def _page_ids(
    session: Session,
    search_filter: SearchFilter,
    projects: Collection[str],
    level: Level,
    keys: Mapping[str, str],
    offset: int,
    limit: int,
) -> list[str]:
    """The ids of a page; without other columns, so that sorting and skipping rows stays cheap."""
    query = search_filter.apply(select(TABLES[level].id), projects, keys)
    if level == "image" and _is_within_study(keys):
        query = query.join(Series, Series.id == Image.series_id)
    return list(session.scalars(query.order_by(*_order(level, keys)).offset(offset).limit(limit)))


def _order(level: Level, keys: Mapping[str, str]) -> tuple[Any, ...]:
    """A stable order, so that pages fit together; an index gives it where there are many rows."""
    if level == "patient":
        return (Patient.id.desc(),)
    if level == "study":
        return Study.study_date.desc(), Study.id.desc()
    if level == "series":
        return (Series.study_id, Series.number, Series.id) if _is_within_study(keys) else (Series.id,)
    if _is_within_study(keys):
        return Image.study_id, Series.number, Series.id, Image.instance_number, Image.id
    return (Image.id,)


def _is_within_study(keys: Mapping[str, str]) -> bool:
    return bool(keys.get("StudyInstanceUID") or keys.get("SeriesInstanceUID"))
