# SPDX-License-Identifier: Apache-2.0
"""Keeping studies, series and images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, NotFound
from medhub.foundation import clock, ids, listing
from medhub.foundation.sorting import ordering
from medhub.records import definitions
from medhub.records.fields import Value, check_values
from medhub.records.models import Image, Patient, PatientBlob, Series, Study
from medhub.records.service import destroy_blobs, get_patient


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
    images: int
    modality: str | None


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
    checked = check_values(fields, definitions.of_project(session, patient.project_id, "study"))
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
    return _facts(session, [study])[0]


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
) -> tuple[list[StudyFacts], int]:
    """A page of studies, newest first unless sorted otherwise."""
    projects = actor.projects("study.read", project_id)
    defined = definitions.by_key(definitions.of_projects(session, projects, "study"))
    chosen = select(Study).where(Study.project_id.in_(projects))
    if patient_id is not None:
        chosen = chosen.where(Study.patient_id == patient_id)
    for key, text in field_values.items():
        if key in defined:
            chosen = chosen.where(definitions.matches(Study.fields, defined[key], text))
    if query:
        sought = query.lower()
        matching = func.lower(Study.description).contains(sought, autoescape=True) | (Study.study_uid == query)
        for definition in defined.values():
            if definition.kind in {"text", "choice"}:
                column = func.lower(definitions.column(Study.fields, definition))
                matching |= column.contains(sought, autoescape=True)
        chosen = chosen.where(matching)
    columns: dict[str, Any] = {
        "created_at": Study.created_at,
        "description": Study.description,
        **{f"field.{key}": definitions.column(Study.fields, d) for key, d in defined.items()},
    }
    page = chosen.order_by(ordering(sort, columns, "-created_at"), Study.id).offset(offset).limit(limit)
    found = list(session.scalars(page))
    total = listing.total(session, chosen, offset=offset, limit=limit, found=len(found))
    actor.record(session, "study.list", "patient", patient_id, patient_id=patient_id, found=total)
    return _facts(session, found), total


def _facts(session: Session, studies: list[Study]) -> list[StudyFacts]:
    rows = session.execute(
        select(Image.study_id, func.count(), func.min(Image.modality))
        .where(Image.study_id.in_([study.id for study in studies]))
        .group_by(Image.study_id)
    )
    counted = {study_id: (images, modality) for study_id, images, modality in rows}
    return [StudyFacts(study, *counted.get(study.id, (0, None))) for study in studies]


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
        known = definitions.of_project(session, study.project_id, "study")
        study.fields = check_values({**study.fields, **fields}, known)
    _record(session, actor, "study.change", study)
    return _facts(session, [study])[0]


def delete_study(session: Session, actor: Actor, study_id: str) -> None:
    """Delete a study with its images, unless one of them is part of a signed case."""
    study = get_study(session, actor, study_id, "study.delete")
    locked = session.scalar(select(Image.id).where(Image.study_id == study.id, Image.locked).limit(1))
    if locked is not None:
        raise ImageLocked("This study belongs to a signed case and stays. Nothing was deleted.")
    digests = list(
        session.scalars(
            select(PatientBlob.digest).join(Image, Image.id == PatientBlob.image_id).where(Image.study_id == study.id)
        )
    )
    _record(session, actor, "study.delete", study)
    session.delete(study)
    destroy_blobs(session, digests)


def get_series(session: Session, actor: Actor, series_id: str, action: str = "study.read") -> tuple[Series, Study, int]:
    """A series in a project of the actor's, its study, and how many images it has."""
    series = session.get(Series, series_id)
    if series is None:
        raise SeriesNotFound("There is no such series, or not in a project of yours.")
    study = get_study(session, actor, series.study_id, action)
    images = session.scalar(select(func.count()).select_from(Image).where(Image.series_id == series_id)) or 0
    return series, study, images


def list_series(
    session: Session, actor: Actor, *, study_id: str | None, offset: int, limit: int
) -> tuple[list[tuple[Series, int]], int]:
    """A page of series, oldest first."""
    chosen = select(Series).join(Study).where(Study.project_id.in_(actor.projects("study.read")))
    if study_id is not None:
        chosen = chosen.where(Series.study_id == study_id)
    found = list(session.scalars(chosen.order_by(Series.created_at, Series.id).offset(offset).limit(limit)))
    total = listing.total(session, chosen, offset=offset, limit=limit, found=len(found))
    rows = session.execute(
        select(Image.series_id, func.count())
        .where(Image.series_id.in_([series.id for series in found]))
        .group_by(Image.series_id)
    )
    counted = dict(rows.all())
    actor.record(session, "series.list", "study", study_id, found=total)
    return [(series, counted.get(series.id, 0)) for series in found], total


def change_series(session: Session, actor: Actor, series_id: str, description: str) -> tuple[Series, int]:
    """Describe a series anew."""
    series, study, images = get_series(session, actor, series_id, "study.change")
    series.description = description
    _record(session, actor, "series.change", study, series_id=series.id)
    return series, images


def delete_series(session: Session, actor: Actor, series_id: str) -> None:
    """Delete a series with its images, unless one of them is part of a signed case."""
    series, study, _images = get_series(session, actor, series_id, "study.delete")
    locked = session.scalar(select(Image.id).where(Image.series_id == series.id, Image.locked).limit(1))
    if locked is not None:
        raise ImageLocked("This series belongs to a signed case and stays. Nothing was deleted.")
    digests = list(
        session.scalars(
            select(PatientBlob.digest).join(Image, Image.id == PatientBlob.image_id).where(Image.series_id == series.id)
        )
    )
    _record(session, actor, "series.delete", study, series_id=series.id)
    session.delete(series)
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
    digests = list(session.scalars(select(PatientBlob.digest).where(PatientBlob.image_id == image.id)))
    record_image(session, actor, "image.delete", image)
    session.delete(image)
    destroy_blobs(session, digests)


def next_number(session: Session, study_id: str) -> int:
    """The number for the next image of a study."""
    return (session.scalar(select(func.max(Image.number)).where(Image.study_id == study_id)) or 0) + 1


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
