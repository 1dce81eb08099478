# SPDX-License-Identifier: Apache-2.0
"""Use cases of patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, Invalid, NotFound
from medhub.foundation import clock, ids, pagination
from medhub.foundation.database import serialize_writers
from medhub.foundation.etags import check_etag
from medhub.foundation.keys import Keys
from medhub.foundation.sorting import sort_clause
from medhub.records import counts, field_definitions, identity_search, quick_search, vault
from medhub.records.birth_dates import check_birth
from medhub.records.field_limits import apply_limits
from medhub.records.field_values import Value, check_values
from medhub.records.identifier_index import ConfirmedDuplicate, check_duplicates
from medhub.records.models import FieldDefinition, Identity, Image, Patient, Study
from medhub.records.patient_changes import check_changed_identity, record_duplicates, resolve_birth_year


class PatientNotFound(NotFound):
    """There is no such patient in the projects of the person who asks."""

    code = "patient-not-found"


class PatientNotEmpty(Conflict):
    """The patient has studies."""

    code = "patient-not-empty"


@dataclass(frozen=True)
class PatientCounts:
    """The counts of a patient's images and studies."""

    images: int = 0
    unverified: int = 0
    studies: int = 0
    cover_id: str | None = None  # the first image that has a picture


def add_patient(
    session: Session,
    keys: Keys,
    actor: Actor,
    *,
    project_id: str,
    sex: str = "U",
    birth_year: int | None = None,
    fields: Mapping[str, Value] | None = None,
    identity: Mapping[str, str] | None = None,
    duplicate: ConfirmedDuplicate | None = None,
    confirmed_fields: Sequence[str] = (),
) -> Patient:
    """Register a patient under a new code; the identity goes to the vault and nowhere else.

    Raises ``DuplicatePatient`` if the person seems to be registered already, unless ``duplicate`` confirms it.
    """
    actor.require("patient.create", project_id, "project")
    duplicates = check_duplicates(session, keys, project_id, identity or {}, None, duplicate)
    patient = create_patient(
        session,
        keys,
        project_id=project_id,
        sex=sex,
        birth_year=birth_year,
        fields=fields,
        identity=identity,
        by=actor,
        confirmed_fields=confirmed_fields,
    )
    record_duplicates(session, keys, actor, patient, duplicates, duplicate)
    return patient


def create_patient(
    session: Session,
    keys: Keys,
    *,
    project_id: str,
    sex: str,
    birth_year: int | None,
    fields: Mapping[str, Value] | None,
    identity: Mapping[str, str] | None,
    by: Actor,
    confirmed_fields: Sequence[str] = (),
) -> Patient:
    """Create the rows of a new patient."""
    birth_year = check_birth(birth_year, (identity or {}).get("birth_date"))
    definitions = field_definitions.list_project_fields(session, project_id, "patient")
    checked = check_values(fields or {}, definitions)
    apply_limits(checked, definitions, {}, confirmed_fields)
    moment = clock.now()
    patient = Patient(
        id=ids.new_id(),
        project_id=project_id,
        code=_unused_code(session, project_id),
        sex=sex,
        birth_year=birth_year,
        fields=checked,
        created_at=moment,
        changed_at=moment,
    )
    session.add(patient)
    session.flush()
    vault.create_key(session, keys, patient.id)
    session.flush()
    if identity:
        by.require("identity.change", project_id)
        identity_search.store_identity(session, keys, patient, identity)
    by.record(session, "patient.create", "patient", patient.id, project_id=project_id, patient_id=patient.id)
    return patient


def _unused_code(session: Session, project_id: str) -> str:
    while True:
        code = ids.new_code("P")
        if session.scalar(select(Patient.id).where(Patient.project_id == project_id, Patient.code == code)) is None:
            return code


def get_patient(session: Session, actor: Actor, patient_id: str, action: str = "patient.read") -> Patient:
    """A patient in one of the actor's projects."""
    patient = session.get(Patient, patient_id)
    if patient is None:
        raise PatientNotFound("There is no such patient in your projects.")
    actor.require(action, patient.project_id, "patient")
    return patient


def find_patient(session: Session, project_id: str, code: str) -> Patient:
    """Find a patient by code or id; for the command line, which has all permissions."""
    patient = session.scalars(
        select(Patient).where(Patient.project_id == project_id, (Patient.code == code) | (Patient.id == code))
    ).one_or_none()
    if patient is None:
        raise PatientNotFound(f"There is no patient {code} in this project. `medhub patient add` registers one.")
    return patient


def visible_identity(
    session: Session, keys: Keys, actor: Actor, patient: Patient
) -> tuple[dict[str, str] | None, bool]:
    """The identity if the actor may see it, and whether there is one."""
    row = session.get(Identity, patient.id)
    exists = row is not None and row.sealed_identity is not None
    if not exists or not actor.may("identity.read", patient.project_id):
        return None, exists
    actor.record(session, "identity.read", "patient", patient.id, project_id=patient.project_id, patient_id=patient.id)
    return vault.read_identity(keys, row), True


def identity_texts(session: Session, keys: Keys, patient_ids: Sequence[str]) -> dict[str, list[str]]:
    """Names and numbers of patients from the vault, for a scan of data that must not contain them.

    The caller keeps them in memory only, and records that the vault was read.
    """
    known: dict[str, list[str]] = {}
    for start in range(0, len(patient_ids), 500):
        statement = select(Identity).where(Identity.patient_id.in_(patient_ids[start : start + 500]))
        for row in session.scalars(statement):
            identity = vault.read_identity(keys, row) or {}
            values = [value for value in identity.values() if value.strip()]
            if day := identity.get("birth_date"):
                year, month, date = day.split("-")
                values += [f"{year}{month}{date}", f"{date}.{month}.{year}", f"{date}/{month}/{year}"]
                values += [f"{month}/{date}/{year}"]
            if values:
                known[row.patient_id] = values
    return known


def list_patients(
    session: Session,
    keys: Keys,
    actor: Actor,
    *,
    project_id: str | None,
    query: str | None,
    sex: str | None,
    field_values: Mapping[str, str],
    sort: str | None,
    offset: int,
    limit: int,
    known_total: int | None = None,
) -> tuple[list[Patient], int]:
    """A page of the patients in the actor's projects."""
    projects = actor.projects("patient.read", project_id)
    definitions = field_definitions.index_by_key(field_definitions.list_fields(session, projects, "patient"))
    statement = select(Patient).where(Patient.project_id.in_(projects))
    if sex is not None:
        statement = statement.where(Patient.sex == sex)
    for key, text in field_values.items():
        statement = statement.where(_match_field(definitions, key, text))
    if query:
        known = quick_search.find_by_identifier(session, projects, query)
        statement = statement.where(
            known.condition(Patient.id)
            if known is not None
            else _text_condition(keys, actor, projects, definitions, query)
        )
    columns: dict[str, Any] = {
        "code": Patient.code,
        "sex": Patient.sex,
        "birth_year": Patient.birth_year,
        "created_at": Patient.created_at,
        **{f"field.{key}": field_definitions.value_column(Patient.fields, d) for key, d in definitions.items()},
    }
    page = statement.order_by(sort_clause(sort, columns, "-created_at"), Patient.id).offset(offset).limit(limit)
    patients = list(session.scalars(page))
    total = pagination.total_rows(
        session, statement, offset=offset, limit=limit, page_rows=len(patients), known=known_total
    )
    actor.record(session, "patient.list", "patient", None, project_id=_single_project(projects), found=total)
    return patients, total


def _single_project(projects: frozenset[str]) -> str | None:
    return next(iter(projects)) if len(projects) == 1 else None


def _match_field(definitions: Mapping[str, FieldDefinition], key: str, text: str) -> ColumnElement[bool]:
    definition = definitions.get(key)
    if definition is None:
        raise Invalid(f"There is no field “{key}” to filter by.", field=f"field.{key}")
    return field_definitions.match_value(Patient.fields, definition, text)


def _text_condition(
    keys: Keys, actor: Actor, projects: frozenset[str], definitions: Mapping[str, FieldDefinition], query: str
) -> ColumnElement[bool]:
    """The code or a text field contains the query; or the identity has all its words, if the actor may read it."""
    lowered = query.lower()
    texts = [
        field_definitions.value_column(Patient.fields, d) for d in definitions.values() if d.kind in {"text", "choice"}
    ]
    conditions: list[ColumnElement[bool]] = [func.lower(Patient.code).contains(lowered, autoescape=True)]
    conditions += [func.lower(text).contains(lowered, autoescape=True) for text in texts]
    for project_id in projects:
        if actor.may("identity.read", project_id):
            conditions.append(Patient.id.in_(identity_search.select_by_identity(keys, project_id, query)))
    return or_(*conditions)


def count_patient_contents(session: Session, patient_ids: list[str]) -> dict[str, PatientCounts]:
    """Count the studies, images and unverified images of patients."""
    rows = session.execute(
        select(Image.patient_id, func.count(), func.count().filter(Image.verified.is_(False)))
        .where(pagination.in_ids(session, Image.patient_id, patient_ids))
        .group_by(Image.patient_id)
    )
    images = {patient_id: (total, unverified) for patient_id, total, unverified in rows}
    studies = counts.count_studies(session, patient_ids)
    covers = counts.select_covers(session, Patient, patient_ids)
    return {
        patient_id: PatientCounts(*images.get(patient_id, (0, 0)), studies.get(patient_id, 0), cover_id)
        for patient_id, cover_id in covers.items()
    }


def last_upload_at(session: Session, patient_id: str) -> datetime | None:
    """When the last image of a patient was stored."""
    return session.scalar(select(func.max(Image.created_at)).where(Image.patient_id == patient_id))


def patients_with_identity(session: Session, patient_ids: list[str]) -> set[str]:
    """The patients that have an identity in the vault."""
    return set(
        session.scalars(
            select(Identity.patient_id).where(
                pagination.in_ids(session, Identity.patient_id, patient_ids), Identity.sealed_identity.is_not(None)
            )
        )
    )


def change_patient(
    session: Session,
    keys: Keys,
    actor: Actor,
    patient_id: str,
    *,
    sex: str | None = None,
    birth_year: int | None = None,
    fields: Mapping[str, Value] | None = None,
    identity: Mapping[str, str] | None = None,
    duplicate: ConfirmedDuplicate | None = None,
    confirmed_fields: Sequence[str] = (),
    if_match: str | None = None,
) -> Patient:
    """Change a patient; omitted values stay."""
    serialize_writers(session, f"patient {patient_id}")
    patient = get_patient(session, actor, patient_id, "patient.change")
    check_etag(
        if_match,
        patient.etag,
        f"Somebody changed {patient.code} after you opened it. Nothing was changed; compare, then save again.",
    )
    changed_fields = []
    if sex is not None and sex != patient.sex:
        patient.sex = sex
        changed_fields.append("sex")
    new_year = resolve_birth_year(session, keys, patient, birth_year, identity)
    if new_year != patient.birth_year:
        patient.birth_year = new_year
        changed_fields.append("birth_year")
    if fields is not None:
        merged = {**patient.fields, **fields}
        known = field_definitions.list_project_fields(session, patient.project_id, "patient")
        known_fields = {key: value for key, value in merged.items() if key in fields or key in {d.key for d in known}}
        checked = check_values(known_fields, known)
        apply_limits(checked, known, patient.fields, confirmed_fields)
        patient.fields = checked
        changed_fields += sorted(f"fields.{key}" for key in fields)
    if identity is not None:
        actor.require("identity.change", patient.project_id)
        duplicates = check_changed_identity(session, keys, patient, identity, duplicate)
        record_duplicates(session, keys, actor, patient, duplicates, duplicate)
        identity_search.store_identity(session, keys, patient, identity)
        changed_fields.append("identity")
    patient.changed_at = clock.now()
    actor.record(
        session,
        "patient.change",
        "patient",
        patient.id,
        project_id=patient.project_id,
        patient_id=patient.id,
        changed=changed_fields,
    )
    return patient


def delete_patient(session: Session, actor: Actor, patient_id: str) -> None:
    """Delete a patient without studies."""
    patient = get_patient(session, actor, patient_id, "patient.delete")
    studies = session.scalar(select(func.count()).where(Study.patient_id == patient.id)) or 0
    if studies:
        images = count_patient_contents(session, [patient.id]).get(patient.id, PatientCounts()).images
        raise PatientNotEmpty(
            f"{patient.code} has {studies} studies with {images} images. "
            "To destroy them together with the patient's identity, erase the patient.",
            studies=studies,
            images=images,
        )
    delete_patient_row(session, patient)
    actor.record(session, "patient.delete", "patient", patient_id, project_id=patient.project_id, patient_id=patient_id)


def delete_patient_row(session: Session, patient: Patient) -> None:
    """Delete the row of a patient and all dependent rows."""
    try:
        session.delete(patient)
        session.flush()
    except IntegrityError as error:
        raise PatientNotEmpty("Other records still refer to this patient; nothing was deleted.") from error
