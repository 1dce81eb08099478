# SPDX-License-Identifier: Apache-2.0
"""Attributes that a search is to include and that are not indexed: read from the stored objects of the matches."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from pydicom.datadict import tag_for_keyword
from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.foundation.app_context import AppContext
from medhub.records.dicom_metadata import series_metadata
from medhub.records.models import Series, Study
from medhub.science.imaging.rendering import dicomweb_payloads

_STUDY_UID, _SERIES_UID, _INSTANCE_UID = "0020000D", "0020000E", "00080018"
_NOT_INCLUDED_GROUPS = ("0002", "7FE0")
_UIDS_PER_QUERY = 500


def add_stored_attributes(
    app: AppContext, projects: Collection[str], body: Sequence[dict[str, Any]], keywords: Sequence[str], root: str
) -> None:
    """Add the values of attributes to matches in DICOM JSON; of a study or series, those of its first object."""
    tags = {f"{tag_for_keyword(keyword):08X}" for keyword in keywords}
    tags = {tag for tag in tags if not tag.startswith(_NOT_INCLUDED_GROUPS)}
    with app.database.reading() as session:
        series_of = _find_series(session, projects, body)
    described: dict[str, dict[str, bytes]] = {}
    for item in body:
        series_id, series_uid = series_of.get(_series_key(item), ("", ""))
        if not series_id:
            continue
        if series_id not in described:
            metadata = series_metadata(app, series_id)
            described[series_id] = dict(zip(metadata.uids, metadata.lines, strict=True))
        lines = described[series_id]
        line = lines.get(_value(item, _INSTANCE_UID)) if _INSTANCE_UID in item else next(iter(lines.values()), None)
        if line is None:
            continue
        address = f'"BulkDataURI":"{root}/studies/{_value(item, _STUDY_UID)}/series/{series_uid}/'.encode()
        stored = json.loads(line.replace(f'"BulkDataURI":"{dicomweb_payloads.BULK}/'.encode(), address))
        item.update({tag: stored[tag] for tag in tags if tag in stored and tag not in item})


def _value(item: dict[str, Any], tag: str) -> str:
    return str(item.get(tag, {}).get("Value", [""])[0])


def _series_key(item: dict[str, Any]) -> tuple[str, str]:
    return _value(item, _STUDY_UID), _value(item, _SERIES_UID) if _SERIES_UID in item else ""


def _find_series(
    session: Session, projects: Collection[str], body: Sequence[dict[str, Any]]
) -> dict[tuple[str, str], tuple[str, str]]:
    """Ids and UIDs of the series of matches; under an empty UID the first series of a study."""
    uids = sorted({_value(item, _STUDY_UID) for item in body})
    series_of: dict[tuple[str, str], tuple[str, str]] = {}
    for start in range(0, len(uids), _UIDS_PER_QUERY):
        query = (
            select(Study.study_uid, Series.series_uid, Series.id)
            .join(Series, Series.study_id == Study.id)
            .where(Study.project_id.in_(sorted(projects)), Study.study_uid.in_(uids[start : start + _UIDS_PER_QUERY]))
            .order_by(Series.number, Series.id)
        )
        for study_uid, series_uid, series_id in session.execute(query):
            series_of.setdefault((study_uid, ""), (series_id, series_uid))
            series_of[study_uid, series_uid] = series_id, series_uid
    return series_of
