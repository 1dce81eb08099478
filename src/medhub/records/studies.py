# SPDX-License-Identifier: Apache-2.0
"""Use cases of studies and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, NotFound
from medhub.foundation import clock, ids, pagination
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.foundation.etags import check_etag
from medhub.foundation.sorting import sort_clause
from medhub.records import counts, field_definitions, quick_search
from medhub.records.birth_dates import warn_about_study_date
from medhub.records.counts import EMPTY, ContentCounts
from medhub.records.deletion import delete_series_metadata, release_blobs
from medhub.records.field_limits import apply_limits
from medhub.records.field_values import Value, check_values
from medhub.records.models import Image, Patient, Series, Study
from medhub.records.patient_blobs import enqueue_blob_deletion, store_blob
from medhub.records.service import get_patient


class StudyNotFound(NotFound):
    """There is no such study in the projects of the person who asks."""

    code = "study-not-found"


class ImageNotFound(NotFound):
    """There is no such image in the projects of the person who asks."""

    code = "image-not-found"


class ImageLocked(Conflict):
    """The image is part of a signed case."""

    code = "image-locked"


@dataclass(frozen=True)
class StudyFacts:
    """A study with the facts that its list shows."""

    study: Study
    patient_code: str
    contents: ContentCounts = EMPTY
    birth_year: int | None = None

    @property
    def warnings(self) -> list[str]:
        """What a person should check."""
        warning = warn_about_study_date(self.study.study_date, self.birth_year)
        return [warning] if warning is not None else []


def new_study(
    session: Session, patient: Patient, *, study_uid: str, description: str = "", pathway: str | None = None
) -> Study:
    """Create the row of a new study."""
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


def add_study(
    session: Session,
    actor: Actor,
    *,
    patient_id: str,
    study_uid: str,
    description: str,
    fields: Mapping[str, Value],
    confirmed_fields: Sequence[str] = (),
) -> Study:
    """Add an empty study to a patient."""
    patient = get_patient(session, actor, patient_id, "study.create")
    definitions = field_definitions.list_project_fields(session, patient.project_id, "study")
    checked = check_values(fields, definitions)
    apply_limits(checked, definitions, {}, confirmed_fields)
    study = new_study(session, patient, study_uid=study_uid, description=description)
    study.fields = checked
    record_study(session, actor, "study.create", study)
    return study


def get_study(session: Session, actor: Actor, study_id: str, action: str = "study.read") -> Study:
    """A study in one of the actor's projects."""
    study = session.get(Study, study_id)
    if study is None:
        raise StudyNotFound("There is no such study in your projects.")
    actor.require(action, study.project_id, "study")
    return study


def record_study(session: Session, actor: Actor, action: str, study: Study, **detail: Any) -> None:
    """Record an act on a study."""
    actor.record(session, action, "study", study.id, project_id=study.project_id, patient_id=study.patient_id, **detail)


def read_study(session: Session, actor: Actor, study_id: str) -> StudyFacts:
    """Read a study, as a recorded act."""
    study = get_study(session, actor, study_id)
    record_study(session, actor, "study.read", study)
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
    definitions = field_definitions.index_by_key(field_definitions.list_fields(session, projects, "study"))
    statement = select(Study).where(
        quick_search.in_projects(session, projects, Study.project_id, patient_id=patient_id)
    )
    if patient_id is not None:
        statement = statement.where(Study.patient_id == patient_id)
    for key, text in field_values.items():
        if key in definitions:
            statement = statement.where(field_definitions.match_value(Study.fields, definitions[key], text))
    if query:
        known = quick_search.find_by_identifier(session, projects, query)
        statement = statement.where(
            known.condition(Study.patient_id, Study.id)
            if known is not None
            else _text_condition(projects, definitions, query)
        )
    columns: dict[str, Any] = {
        "created_at": Study.created_at,
        "description": Study.description,
        **{f"field.{key}": field_definitions.value_column(Study.fields, d) for key, d in definitions.items()},
    }
    page = statement.order_by(sort_clause(sort, columns, "-created_at"), Study.id).offset(offset).limit(limit)
    studies = list(session.scalars(page))
    total = pagination.total_rows(
        session, statement, offset=offset, limit=limit, page_rows=len(studies), known=known_total
    )
    actor.record(session, "study.list", "patient", patient_id, patient_id=patient_id, found=total)
    return facts_of(session, studies), total


def _text_condition(projects: frozenset[str], definitions: Mapping[str, Any], query: str) -> ColumnElement[bool]:
    """The description, a text field, or the patient's code contains the query."""
    conditions = [
        quick_search.contains_text(Study.description, query),
        Study.patient_id.in_(quick_search.patients_with_code(projects, query)),
    ]
    for definition in definitions.values():
        if definition.kind in {"text", "choice"}:
            conditions.append(
                quick_search.contains_text(field_definitions.value_column(Study.fields, definition), query)
            )
    return or_(*conditions)


def facts_of(session: Session, studies: Sequence[Study]) -> list[StudyFacts]:
    """Studies with the facts that their lists show."""
    patient_ids = {study.patient_id for study in studies}
    rows = session.execute(
        select(Patient.id, Patient.code, Patient.birth_year).where(pagination.in_ids(session, Patient.id, patient_ids))
    )
    patients = {patient_id: (code, birth_year) for patient_id, code, birth_year in rows}
    contents = counts.count_study_contents(session, [study.id for study in studies])
    return [
        StudyFacts(study, patients[study.patient_id][0], contents.get(study.id, EMPTY), patients[study.patient_id][1])
        for study in studies
    ]


def patient_codes(session: Session, patient_ids: Sequence[str]) -> dict[str, str]:
    """The codes of patients by id."""
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
    confirmed_fields: Sequence[str] = (),
    if_match: str | None = None,
) -> StudyFacts:
    """Change the description and fields of a study; omitted values stay."""
    serialize_writers(session, f"study {study_id}")
    study = get_study(session, actor, study_id, "study.change")
    check_etag(
        if_match,
        study.etag,
        "Somebody changed this study after you opened it. Nothing was changed; compare, then save again.",
    )
    if description is not None:
        study.description = description
    if fields is not None:
        known = field_definitions.list_project_fields(session, study.project_id, "study")
        checked = check_values({**study.fields, **fields}, known)
        apply_limits(checked, known, study.fields, confirmed_fields)
        study.fields = checked
    record_study(session, actor, "study.change", study)
    return facts_of(session, [study])[0]


def delete_study(session: Session, actor: Actor, study_id: str) -> None:
    """Delete a study with its images, unless one of them is part of a signed case."""
    study = get_study(session, actor, study_id, "study.delete")
    locked = session.scalar(select(Image.id).where(Image.study_id == study.id, Image.locked).limit(1))
    if locked is not None:
        raise ImageLocked("This study belongs to a signed case and stays. Nothing was deleted.")
    digests = release_blobs(session, Image.study_id == study.id)
    delete_series_metadata(session, session.scalars(select(Series).where(Series.study_id == study.id)))
    record_study(session, actor, "study.delete", study)
    session.delete(study)
    enqueue_blob_deletion(session, digests)


def get_image(session: Session, actor: Actor, image_id: str, action: str = "image.read") -> Image:
    """An image in one of the actor's projects."""
    image = session.get(Image, image_id)
    if image is None:
        raise ImageNotFound("There is no such image in your projects.")
    actor.require(action, image.project_id, "image")
    return image


def record_image(session: Session, actor: Actor, action: str, image: Image, **detail: Any) -> None:
    """Record an act on an image."""
    actor.record(session, action, "image", image.id, project_id=image.project_id, patient_id=image.patient_id, **detail)


def change_image(session: Session, actor: Actor, image_id: str, number: int) -> Image:
    """Change the number of an image in its study."""
    image = get_image(session, actor, image_id, "study.change")
    if image.locked:
        raise ImageLocked("This image belongs to a signed case and stays as it is.")
    image.number = number
    record_image(session, actor, "image.change", image)
    return image


def delete_image(session: Session, actor: Actor, image_id: str) -> None:
    """Delete an image and everything derived from it, unless it is part of a signed case."""
    image = get_image(session, actor, image_id, "image.delete")
    if image.locked:
        raise ImageLocked("This image belongs to a signed case and stays. Nothing was deleted.")
    remove_images(session, actor, [image], "image.delete")


def delete_images(session: Session, actor: Actor, image_ids: Sequence[str]) -> int:
    """Delete images of any studies: all of them, or none if one is part of a signed case."""
    images = [get_image(session, actor, image_id, "image.delete") for image_id in dict.fromkeys(image_ids)]
    if locked := sum(image.locked for image in images):
        those = "One of these images belongs" if locked == 1 else f"{locked} of these images belong"
        raise ImageLocked(f"{those} to a signed case and cannot be deleted. Nothing was deleted.", locked=locked)
    remove_images(session, actor, images, "image.delete")
    return len(images)


def remove_images(session: Session, actor: Actor, images: Sequence[Image], act: str) -> None:
    """Delete images and everything derived from them, as a recorded act."""
    digests = release_blobs(session, Image.id.in_([image.id for image in images]))
    for image in images:
        record_image(session, actor, act, image)
        delete_series_metadata(session, [session.get_one(Series, image.series_id)])
        session.delete(image)
    enqueue_blob_deletion(session, digests)


def next_number(session: Session, study_id: str) -> int:
    """The number for the next image of a study."""
    return (session.scalar(select(func.max(Image.number)).where(Image.study_id == study_id)) or 0) + 1


def store_thumbnail(session: Session, app: AppContext, image_id: str, picture: bytes) -> None:
    """Store the thumbnail of an image, unless the image was deleted meanwhile."""
    image = session.get(Image, image_id)
    if image is not None:
        image.thumbnail = store_blob(session, app, picture, patient_id=image.patient_id, image_id=image.id)


def mark_read(session: Session, image_id: str, state: str) -> None:
    """Set the state of an image after classification."""
    image = session.get(Image, image_id)
    if image is not None:
        image.state = state


def mark_verified(session: Session, image_id: str, verified: bool) -> None:
    """Set whether a person has given a verdict."""
    session.get_one(Image, image_id).verified = verified


def lock_images(session: Session, study_id: str) -> None:
    """Lock the images of a study, because a signed case refers to them."""
    for image in session.scalars(select(Image).where(Image.study_id == study_id)):
        image.locked = True
