# SPDX-License-Identifier: Apache-2.0
"""Keeping studies, series and images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, NotFound
from medhub.foundation import clock, ids, pagination
from medhub.foundation.app_context import AppContext
from medhub.foundation.sorting import sort_clause
from medhub.records import counts, field_definitions, quick_search
from medhub.records.counts import EMPTY, Contents
from medhub.records.deletion import forget_metadata, release_blobs
from medhub.records.field_values import Value, check_values
from medhub.records.models import Image, Patient, Series, Study
from medhub.records.service import destroy_blobs, get_patient, keep_blob


class StudyNotFound(NotFound):
    """There is no such study, or not in a project of the asker's."""

    code = "study-not-found"


class SeriesNotFound(NotFound):
    """There is no such series, or not in a project of the asker's."""

    code = "series-not-found"


class ImageNotFound(NotFound):
    """There is no such image, or not in a project of the asker's."""

    code = "image-not-found"


class ImageLocked(Conflict):
    """The image is part of a signed case."""

    code = "image-locked"


@dataclass(frozen=True)
class StudyFacts:
    """A study with what its list shows of it."""

    study: Study
    patient_code: str
    contents: Contents = EMPTY


@dataclass(frozen=True)
class SeriesFacts:
    """A series with what its list shows of it, and where it lies."""

    series: Series
    study: Study
    patient_code: str
    contents: Contents = EMPTY


def new_study(
    session: Session, patient: Patient, *, study_uid: str, description: str = "", pathway: str | None = None
) -> Study:
    """Write the row of a new study."""
    study = Study(
        id=ids.new_id(),
        project_id=patient.project_id,
        patient_id=patient.id,
        study_uid=study_uid,
        description=description,
        pathway=pathway,
        fields={},
        created_at=clock.now(),
    )
    session.add(study)
    session.flush()
    return study


def new_series(session: Session, study: Study, *, series_uid: str, modality: str, description: str = "") -> Series:
    """Write the row of a new series."""
    series = Series(
        id=ids.new_id(),
        study_id=study.id,
        series_uid=series_uid,
        modality=modality,
        description=description,
        created_at=clock.now(),
    )
    session.add(series)
    session.flush()
    return series


def add_study(
    session: Session,
    actor: Actor,
    *,
    patient_id: str,
    study_uid: str,
    description: str,
    fields: Mapping[str, Value],
) -> Study:
    """Add an empty study to a patient."""
    patient = get_patient(session, actor, patient_id, "study.create")
    checked = check_values(fields, field_definitions.of_project(session, patient.project_id, "study"))
    study = new_study(session, patient, study_uid=study_uid, description=description)
    study.fields = checked
    _record(session, actor, "study.create", study)
    return study


def get_study(session: Session, actor: Actor, study_id: str, action: str = "study.read") -> Study:
    """A study in a project of the actor's."""
    study = session.get(Study, study_id)
    if study is None:
        raise StudyNotFound("There is no such study, or not in a project of yours.")
    actor.require(action, study.project_id, "study")
    return study


def _record(session: Session, actor: Actor, action: str, study: Study, **detail: Any) -> None:
    actor.record(session, action, "study", study.id, project_id=study.project_id, patient_id=study.patient_id, **detail)


def read_study(session: Session, actor: Actor, study_id: str) -> StudyFacts:
    """A study, looked at."""
    study = get_study(session, actor, study_id)
    _record(session, actor, "study.read", study)
    return facts_of(session, [study])[0]


def list_studies(
    session: Session,
    actor: Actor,
    *,
    patient_id: str | None,
    project_id: str | None,
    query: str | None,
    field_values: Mapping[str, str],
    sort: str | None,
    offset: int,
    limit: int,
    known_total: int | None = None,
) -> tuple[list[StudyFacts], int]:
    """A page of studies, newest first unless sorted otherwise."""
    projects = actor.projects("study.read", project_id)
    defined = field_definitions.by_key(field_definitions.of_projects(session, projects, "study"))
    chosen = select(Study).where(quick_search.within(session, projects, Study.project_id, patient_id=patient_id))
    if patient_id is not None:
        chosen = chosen.where(Study.patient_id == patient_id)
    for key, text in field_values.items():
        if key in defined:
            chosen = chosen.where(field_definitions.matches(Study.fields, defined[key], text))
    if query:
        known = quick_search.named(session, projects, query)
        chosen = chosen.where(
            known.of(Study.patient_id, Study.id) if known is not None else _study_says(projects, defined, query)
        )
    columns: dict[str, Any] = {
        "created_at": Study.created_at,
        "description": Study.description,
        **{f"field.{key}": field_definitions.column(Study.fields, d) for key, d in defined.items()},
    }
    page = chosen.order_by(sort_clause(sort, columns, "-created_at"), Study.id).offset(offset).limit(limit)
    found = list(session.scalars(page))
    total = pagination.total_rows(session, chosen, offset=offset, limit=limit, page_rows=len(found), known=known_total)
    actor.record(session, "study.list", "patient", patient_id, patient_id=patient_id, found=total)
    return facts_of(session, found), total


def _study_says(projects: frozenset[str], defined: Mapping[str, Any], query: str) -> ColumnElement[bool]:
    """A study's description, one of its texts, or the code of its patient contains the query."""
    ways = [
        quick_search.contains(Study.description, query),
        Study.patient_id.in_(quick_search.patients_called(projects, query)),
    ]
    for definition in defined.values():
        if definition.kind in {"text", "choice"}:
            ways.append(quick_search.contains(field_definitions.column(Study.fields, definition), query))
    return or_(*ways)


def facts_of(session: Session, studies: Sequence[Study]) -> list[StudyFacts]:
    """Studies with what their lists show of them."""
    codes = _codes(session, [study.patient_id for study in studies])
    inside = counts.of_studies(session, [study.id for study in studies])
    return [StudyFacts(study, codes[study.patient_id], inside.get(study.id, EMPTY)) for study in studies]


def _codes(session: Session, patient_ids: Sequence[str]) -> dict[str, str]:
    rows = session.execute(
        select(Patient.id, Patient.code).where(pagination.in_ids(session, Patient.id, set(patient_ids)))
    )
    return dict(rows.all())


def change_study(
    session: Session,
    actor: Actor,
    study_id: str,
    *,
    description: str | None,
    fields: Mapping[str, Value] | None,
) -> StudyFacts:
    """Describe a study anew; what is left out stays."""
    study = get_study(session, actor, study_id, "study.change")
    if description is not None:
        study.description = description
    if fields is not None:
        known = field_definitions.of_project(session, study.project_id, "study")
        study.fields = check_values({**study.fields, **fields}, known)
    _record(session, actor, "study.change", study)
    return facts_of(session, [study])[0]


def delete_study(session: Session, actor: Actor, study_id: str) -> None:
    """Delete a study with its images, unless one of them is part of a signed case."""
    study = get_study(session, actor, study_id, "study.delete")
    locked = session.scalar(select(Image.id).where(Image.study_id == study.id, Image.locked).limit(1))
    if locked is not None:
        raise ImageLocked("This study belongs to a signed case and stays. Nothing was deleted.")
    digests = release_blobs(session, Image.study_id == study.id)
    forget_metadata(session, session.scalars(select(Series).where(Series.study_id == study.id)))
    _record(session, actor, "study.delete", study)
    session.delete(study)
    destroy_blobs(session, digests)


def get_series(session: Session, actor: Actor, series_id: str, action: str = "study.read") -> SeriesFacts:
    """A series in a project of the actor's, its study, and what lies in it."""
    series = session.get(Series, series_id)
    if series is None:
        raise SeriesNotFound("There is no such series, or not in a project of yours.")
    study = get_study(session, actor, series.study_id, action)
    code = _codes(session, [study.patient_id])[study.patient_id]
    return SeriesFacts(series, study, code, counts.of_series(session, [series_id]).get(series_id, EMPTY))


def list_series(
    session: Session,
    actor: Actor,
    *,
    study_id: str | None,
    patient_id: str | None = None,
    project_id: str | None = None,
    query: str | None = None,
    sort: str | None = None,
    offset: int,
    limit: int,
    known_total: int | None = None,
) -> tuple[list[SeriesFacts], int]:
    """A page of series, oldest first unless sorted otherwise."""
    projects = actor.projects("study.read", project_id)
    chosen = select(Series).where(_lies_in(session, projects, study_id, patient_id))
    if query:
        known = quick_search.named(session, projects, query)
        chosen = chosen.join(Study, Study.id == Series.study_id).where(
            known.of(Study.patient_id, Series.study_id, Series.id)
            if known is not None
            else quick_search.contains(Series.description, query)
            | quick_search.contains(Study.description, query)
            | (Series.modality == query.upper())
            | Study.patient_id.in_(quick_search.patients_called(projects, query))
        )
    columns = {
        "created_at": Series.created_at,
        "description": Series.description,
        "modality": Series.modality,
    }
    tie = Series.id.desc() if sort == "-created_at" else Series.id.asc()
    order = (sort_clause(sort, columns, "created_at"), tie)
    # The ids alone first: what lies before the page is stepped over in an index, without its rows.
    found_ids, total = pagination.read_page(
        session, chosen.with_only_columns(Series.id), order, offset=offset, limit=limit, known=known_total
    )
    by_id = {
        series.id: series
        for series in session.scalars(select(Series).where(pagination.in_ids(session, Series.id, found_ids)))
    }
    found = [by_id[one] for one in found_ids]
    actor.record(session, "series.list", "study", study_id, found=total)
    return _series_facts(session, found), total


def _lies_in(
    session: Session, projects: Collection[str], study_id: str | None, patient_id: str | None
) -> ColumnElement[bool]:
    """The condition that a series lies in a study or in studies of a patient; else in studies of some projects."""
    if study_id is not None:
        inside = quick_search.within(session, projects, None, study_id=study_id)
        return inside & (Series.study_id == study_id)
    of = select(Study.id).where(quick_search.within(session, projects, Study.project_id, patient_id=patient_id))
    return Series.study_id.in_(of if patient_id is None else of.where(Study.patient_id == patient_id))


def _series_facts(session: Session, found: Sequence[Series]) -> list[SeriesFacts]:
    chosen = select(Study).where(pagination.in_ids(session, Study.id, {series.study_id for series in found}))
    by_id = {study.id: study for study in session.scalars(chosen)}
    codes = _codes(session, [study.patient_id for study in by_id.values()])
    inside = counts.of_series(session, [series.id for series in found])
    return [
        SeriesFacts(series, study, codes[study.patient_id], inside.get(series.id, EMPTY))
        for series in found
        for study in [by_id[series.study_id]]
    ]


def add_series(session: Session, actor: Actor, *, study_id: str, modality: str, description: str) -> SeriesFacts:
    """Add an empty series to a study."""
    study = get_study(session, actor, study_id, "study.create")
    series = new_series(session, study, series_uid=ids.new_uid(), modality=modality, description=description)
    _record(session, actor, "series.create", study)
    return SeriesFacts(series, study, _codes(session, [study.patient_id])[study.patient_id])


def read_series(session: Session, actor: Actor, series_id: str) -> SeriesFacts:
    """A series, looked at."""
    facts = get_series(session, actor, series_id)
    _record(session, actor, "series.read", facts.study)
    return facts


def change_series(session: Session, actor: Actor, series_id: str, description: str) -> SeriesFacts:
    """Describe a series anew."""
    facts = get_series(session, actor, series_id, "study.change")
    facts.series.description = description
    _record(session, actor, "series.change", facts.study, series_id=series_id)
    return facts


def delete_series(session: Session, actor: Actor, series_id: str) -> None:
    """Delete a series with its images, unless one of them is part of a signed case."""
    facts = get_series(session, actor, series_id, "study.delete")
    if facts.contents.locked:
        raise ImageLocked("This series belongs to a signed case and stays. Nothing was deleted.")
    digests = release_blobs(session, Image.series_id == series_id)
    forget_metadata(session, [facts.series])
    _record(session, actor, "series.delete", facts.study, series_id=series_id)
    session.delete(facts.series)
    destroy_blobs(session, digests)


def get_image(session: Session, actor: Actor, image_id: str, action: str = "image.read") -> Image:
    """An image in a project of the actor's."""
    image = session.get(Image, image_id)
    if image is None:
        raise ImageNotFound("There is no such image, or not in a project of yours.")
    actor.require(action, image.project_id, "image")
    return image


def record_image(session: Session, actor: Actor, action: str, image: Image, **detail: Any) -> None:
    """Have an act on an image recorded."""
    actor.record(session, action, "image", image.id, project_id=image.project_id, patient_id=image.patient_id, **detail)


def change_image(session: Session, actor: Actor, image_id: str, number: int) -> Image:
    """Give an image another place in its study."""
    image = get_image(session, actor, image_id, "study.change")
    if image.locked:
        raise ImageLocked("This image belongs to a signed case and stays as it is.")
    image.number = number
    record_image(session, actor, "image.change", image)
    return image


def delete_image(session: Session, actor: Actor, image_id: str) -> None:
    """Delete an image and all that was made from it, unless it is part of a signed case."""
    image = get_image(session, actor, image_id, "image.delete")
    if image.locked:
        raise ImageLocked("This image belongs to a signed case and stays. Nothing was deleted.")
    remove_images(session, actor, [image], "image.delete")


def delete_images(session: Session, actor: Actor, image_ids: Sequence[str]) -> int:
    """Delete images of any studies: all of them or, where one is part of a signed case, none."""
    images = [get_image(session, actor, image_id, "image.delete") for image_id in dict.fromkeys(image_ids)]
    if locked := sum(image.locked for image in images):
        those = "One of these images belongs" if locked == 1 else f"{locked} of these images belong"
        raise ImageLocked(f"{those} to a signed case and cannot go. Nothing was deleted.", locked=locked)
    remove_images(session, actor, images, "image.delete")
    return len(images)


def remove_images(session: Session, actor: Actor, images: Sequence[Image], act: str) -> None:
    """Remove images with all that was made from them, as a recorded act."""
    digests = release_blobs(session, Image.id.in_([image.id for image in images]))
    for image in images:
        record_image(session, actor, act, image)
        forget_metadata(session, [session.get_one(Series, image.series_id)])
        session.delete(image)
    destroy_blobs(session, digests)


def next_number(session: Session, study_id: str) -> int:
    """The number for the next image of a study."""
    return (session.scalar(select(func.max(Image.number)).where(Image.study_id == study_id)) or 0) + 1


def keep_thumbnail(session: Session, app: AppContext, image_id: str, picture: bytes) -> None:
    """Keep the thumbnail of an image, unless the image has gone meanwhile."""
    image = session.get(Image, image_id)
    if image is not None:
        image.thumbnail = keep_blob(session, app, picture, patient_id=image.patient_id, image_id=image.id)


def mark_read(session: Session, image_id: str, state: str) -> None:
    """Note what became of the classifier's reading."""
    image = session.get(Image, image_id)
    if image is not None:
        image.state = state


def mark_verified(session: Session, image_id: str, verified: bool) -> None:
    """Note whether a person has given a verdict."""
    session.get_one(Image, image_id).verified = verified


def lock_images(session: Session, study_id: str) -> None:
    """Make the images of a study stay: a signed case names them."""
    for image in session.scalars(select(Image).where(Image.study_id == study_id)):
        image.locked = True
