# SPDX-License-Identifier: Apache-2.0
"""Taking out of stored objects by what they are searched, once more, after a project has chosen other attributes."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session, object_session

from medhub.errors import NotFound
from medhub.foundation import jobs
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import DecoderFailed
from medhub.ingest.models import IngestSettings
from medhub.records import isolated_calls
from medhub.records.deletion import delete_series_metadata
from medhub.records.models import Image, Series, Study
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.search_attributes import Attributes, first_integer

# Images a transaction: whoever watches sees it go on, and a restart repeats no more than these.
AT_ONCE = 50


def index_project(app: AppContext, project_id: str, turn: int, after: str) -> None:
    """Index the next images of a project, in the order of their ids, and leave the rest to the next job."""
    with app.database.reading() as session:
        row = session.get(IngestSettings, project_id)
        if row is None or row.index_turn != turn or row.index_state != "running":
            return
        more = list(row.attributes)
        chosen = select(Image).where(Image.project_id == project_id, Image.id > after)
        images = list(session.scalars(chosen.order_by(Image.id).limit(AT_ONCE)))
    found = {image.id: _attributes(app, image, more) for image in images}
    with app.database.writing() as session:
        row = session.get(IngestSettings, project_id)
        if row is None or row.index_turn != turn:
            return
        for image in images:
            taken = found[image.id]
            if taken is not None:
                _write(session, image.id, taken)
        row.index_done += len(images)
        if len(images) < AT_ONCE:
            row.index_state, row.index_done = "done", row.index_total
        else:
            last = {"project_id": project_id, "turn": turn, "after": images[-1].id}
            jobs.enqueue(session, "index-project", last)


def _attributes(app: AppContext, image: Image, more: list[str]) -> dict[str, Attributes] | None:
    try:
        return isolated_calls.read_attributes(app, image.blob, more)
    except (Unacceptable, DecoderFailed, NotFound):
        return None  # what cannot be read keeps what is known of it


def _write(session: Session, image_id: str, taken: dict[str, Attributes]) -> None:
    image = session.get(Image, image_id)
    if image is None:
        return
    image.attributes = dict(taken["image"])
    image.instance_number = first_integer(taken["image"].get("InstanceNumber"))
    series = session.get_one(Series, image.series_id)
    study = session.get_one(Study, image.study_id)
    describe(study, series, taken)


def describe(study: Study, series: Series, attributes: Mapping[str, Attributes]) -> None:
    """Write by what a study and a series are searched; the first object that says something is believed."""
    for row, said in ((study, attributes["study"]), (series, attributes["series"])):
        more = {keyword: values for keyword, values in said.items() if keyword not in row.attributes}
        if more:
            row.attributes = {**row.attributes, **more}
        described = said.get(f"{type(row).__name__}Description")
        if not row.description and described:
            row.description = described[0]
    study.study_date = study.study_date or (attributes["study"].get("StudyDate") or [""])[0][:8]
    study.study_time = study.study_time or (attributes["study"].get("StudyTime") or [""])[0][:16]
    if series.number is None:
        series.number = first_integer(attributes["series"].get("SeriesNumber"))
    if series.metadata_blob is not None and (session := object_session(series)) is not None:
        delete_series_metadata(session, [series])
