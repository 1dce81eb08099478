# SPDX-License-Identifier: Apache-2.0
"""Read the search attributes of stored objects again after a project has changed them."""

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

# Images in a transaction: progress is visible, and a restart repeats no more than these.
BATCH_IMAGES = 50


def index_project(app: AppContext, project_id: str, turn: int, after: str) -> None:
    """Index the next images of a project, in the order of their ids; the next job continues."""
    with app.database.reading() as session:
        row = session.get(IngestSettings, project_id)
        if row is None or row.index_turn != turn or row.index_state != "running":
            return
        keywords = list(row.attributes)
        query = select(Image).where(Image.project_id == project_id, Image.id > after)
        images = list(session.scalars(query.order_by(Image.id).limit(BATCH_IMAGES)))
    attributes = {image.id: _read_attributes(app, image, keywords) for image in images}
    with app.database.writing() as session:
        row = session.get(IngestSettings, project_id)
        if row is None or row.index_turn != turn:
            return
        for image in images:
            image_attributes = attributes[image.id]
            if image_attributes is not None:
                _write_attributes(session, image.id, image_attributes)
        row.index_done += len(images)
        if len(images) < BATCH_IMAGES:
            row.index_state, row.index_done = "done", row.index_total
        else:
            last = {"project_id": project_id, "turn": turn, "after": images[-1].id}
            jobs.enqueue(session, "index-project", last)


def _read_attributes(app: AppContext, image: Image, keywords: list[str]) -> dict[str, Attributes] | None:
    try:
        return isolated_calls.read_attributes(app, image.blob, keywords)
    except (Unacceptable, DecoderFailed, NotFound):
        return None  # an unreadable image keeps its attributes


def _write_attributes(session: Session, image_id: str, attributes: dict[str, Attributes]) -> None:
    image = session.get(Image, image_id)
    if image is None:
        return
    image.attributes = dict(attributes["image"])
    image.instance_number = first_integer(attributes["image"].get("InstanceNumber"))
    series = session.get_one(Series, image.series_id)
    study = session.get_one(Study, image.study_id)
    describe(study, series, attributes)


def describe(study: Study, series: Series, attributes: Mapping[str, Attributes]) -> None:
    """Write the search attributes of a study and a series; the first object with a value decides."""
    for row, values in ((study, attributes["study"]), (series, attributes["series"])):
        more = {keyword: value for keyword, value in values.items() if keyword not in row.attributes}
        if more:
            row.attributes = {**row.attributes, **more}
        described = values.get(f"{type(row).__name__}Description")
        if not row.description and described:
            row.description = described[0]
    study.study_date = study.study_date or (attributes["study"].get("StudyDate") or [""])[0][:8]
    study.study_time = study.study_time or (attributes["study"].get("StudyTime") or [""])[0][:16]
    if series.number is None:
        series.number = first_integer(attributes["series"].get("SeriesNumber"))
    if series.metadata_blob is not None and (session := object_session(series)) is not None:
        delete_series_metadata(session, [series])
