# SPDX-License-Identifier: Apache-2.0
"""Keeping patients, and erasing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, Invalid, NotFound
from medhub.foundation import clock, ids, jobs, pagination
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.foundation.keys import Keys
from medhub.foundation.sorting import sort_clause
from medhub.records import counts, field_definitions, quick_search, vault
from medhub.records.field_values import Value, check_values
from medhub.records.models import FieldDefinition, Identity, IdentityTerm, Image, Patient, PatientBlob, Study

OLDEST_BIRTH_YEAR = 1880


class PatientNotFound(NotFound):
    """There is no such patient, or not in a project of the asker's."""

    code = "patient-not-found"


class PatientNotEmpty(Conflict):
    """Studies hang on the patient."""

    code = "patient-not-empty"


@dataclass(frozen=True)
class PatientCounts:
    """How much hangs on a patient."""

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
) -> Patient:
    """Register a patient under a new code; the identity goes to the vault and nowhere else."""
    actor.require("patient.create", project_id, "project")
    return create_patient(
        session, keys, project_id=project_id, sex=sex, birth_year=birth_year, fields=fields, identity=identity, by=actor
    )


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
) -> Patient:
    """Write the rows of a new patient."""
    _check_birth_year(birth_year)
    checked = check_values(fields or {}, field_definitions.of_project(session, project_id, "patient"))
    moment = clock.now()
    patient = Patient(
        id=ids.new_id(),
        project_id=project_id,
        code=_free_code(session, project_id),
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
        vault.write_identity(session, keys, patient, identity)
    by.record(session, "patient.create", "patient", patient.id, project_id=project_id, patient_id=patient.id)
    return patient


def _check_birth_year(year: int | None) -> None:
    if year is not None and not OLDEST_BIRTH_YEAR <= year <= clock.now().year:
        raise Invalid(f"The birth year must lie between {OLDEST_BIRTH_YEAR} and this year.", field="birth_year")


def _free_code(session: Session, project_id: str) -> str:
    while True:
        code = ids.new_code("P")
        if session.scalar(select(Patient.id).where(Patient.project_id == project_id, Patient.code == code)) is None:
            return code


def get_patient(session: Session, actor: Actor, patient_id: str, action: str = "patient.read") -> Patient:
    """A patient in a project of the actor's."""
    patient = session.get(Patient, patient_id)
    if patient is None:
        raise PatientNotFound("There is no such patient, or not in a project of yours.")
    actor.require(action, patient.project_id, "patient")
    return patient


def find_patient(session: Session, project_id: str, code: str) -> Patient:
    """A patient by code; for the command line, which acts for the machine's owner."""
    patient = session.scalars(
        select(Patient).where(Patient.project_id == project_id, (Patient.code == code) | (Patient.id == code))
    ).one_or_none()
    if patient is None:
        raise PatientNotFound(f"There is no patient {code} in this project. `medhub patient add` registers one.")
    return patient


def identity_of(session: Session, keys: Keys, actor: Actor, patient: Patient) -> tuple[dict[str, str] | None, bool]:
    """The identity, where the actor may see it; and whether there is one."""
    row = session.get(Identity, patient.id)
    exists = row is not None and row.sealed_identity is not None
    if not exists or not actor.may("identity.read", patient.project_id):
        return None, exists
    actor.record(session, "identity.read", "patient", patient.id, project_id=patient.project_id, patient_id=patient.id)
    return vault.read_identity(keys, row), True


def known_identities(session: Session, keys: Keys, patient_ids: Sequence[str]) -> dict[str, list[str]]:
    """Names and numbers of patients as their vault has them, for a look at what must not hold them.

    They are for memory alone: whoever asks writes none of them down, and records that the vault was opened.
    """
    known: dict[str, list[str]] = {}
    for start in range(0, len(patient_ids), 500):
        chosen = select(Identity).where(Identity.patient_id.in_(patient_ids[start : start + 500]))
        for row in session.scalars(chosen):
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
    defined = field_definitions.by_key(field_definitions.of_projects(session, projects, "patient"))
    chosen = select(Patient).where(Patient.project_id.in_(projects))
    if sex is not None:
        chosen = chosen.where(Patient.sex == sex)
    for key, text in field_values.items():
        chosen = chosen.where(_field_matches(defined, key, text))
    if query:
        known = quick_search.named(session, projects, query)
        chosen = chosen.where(
            known.of(Patient.id) if known is not None else _matches(keys, actor, projects, defined, query)
        )
    columns: dict[str, Any] = {
        "code": Patient.code,
        "sex": Patient.sex,
        "birth_year": Patient.birth_year,
        "created_at": Patient.created_at,
        **{f"field.{key}": field_definitions.column(Patient.fields, d) for key, d in defined.items()},
    }
    page = chosen.order_by(sort_clause(sort, columns, "-created_at"), Patient.id).offset(offset).limit(limit)
    found = list(session.scalars(page))
    total = pagination.total_rows(session, chosen, offset=offset, limit=limit, page_rows=len(found), known=known_total)
    actor.record(session, "patient.list", "patient", None, project_id=_only(projects), found=total)
    return found, total


def _only(projects: frozenset[str]) -> str | None:
    return next(iter(projects)) if len(projects) == 1 else None


def _field_matches(defined: Mapping[str, FieldDefinition], key: str, text: str) -> ColumnElement[bool]:
    definition = defined.get(key)
    if definition is None:
        raise Invalid(f"There is no field “{key}” to filter by.", field=f"field.{key}")
    return field_definitions.matches(Patient.fields, definition, text)


def _matches(
    keys: Keys, actor: Actor, projects: frozenset[str], defined: Mapping[str, FieldDefinition], query: str
) -> ColumnElement[bool]:
    """The code or a text field contains the query; or, for entitled readers, the identity has all of its words."""
    sought = query.lower()
    texts = [field_definitions.column(Patient.fields, d) for d in defined.values() if d.kind in {"text", "choice"}]
    ways: list[ColumnElement[bool]] = [func.lower(Patient.code).contains(sought, autoescape=True)]
    ways += [func.lower(text).contains(sought, autoescape=True) for text in texts]
    for project_id in projects:
        if actor.may("identity.read", project_id):
            ways.append(Patient.id.in_(_known_as(keys, project_id, query)))
    return or_(*ways)


def _known_as(keys: Keys, project_id: str, query: str) -> Select[str]:
    """Who has every word of a query in the identity, or has it with other marks between, such as H100234."""
    words = vault.fold(query).split()
    having = [_having(vault.terms(keys, project_id, word)) for word in words if len(word) >= vault.SHORTEST_TERM]
    ways: list[ColumnElement[bool]] = [
        IdentityTerm.patient_id.in_(_having(vault.terms(keys, project_id, "".join(words))))
    ]
    if having:
        ways.append(and_(*(IdentityTerm.patient_id.in_(one) for one in having)))
    return select(IdentityTerm.patient_id).where(IdentityTerm.project_id == project_id, or_(*ways))


def _having(hashes: list[str]) -> Select[str]:
    return select(IdentityTerm.patient_id).where(IdentityTerm.term.in_(hashes))


def counts_of(session: Session, patient_ids: list[str]) -> dict[str, PatientCounts]:
    """How many studies and images each patient has, and how many of the images nobody has verified."""
    rows = session.execute(
        select(Image.patient_id, func.count(), func.count().filter(Image.verified.is_(False)))
        .where(pagination.in_ids(session, Image.patient_id, patient_ids))
        .group_by(Image.patient_id)
    )
    images = {patient_id: (total, unverified) for patient_id, total, unverified in rows}
    studies = counts.studies_of(session, patient_ids)
    shown = counts.covers(session, Patient, patient_ids)
    return {one: PatientCounts(*images.get(one, (0, 0)), studies.get(one, 0), shown[one]) for one in shown}


def last_upload_at(session: Session, patient_id: str) -> datetime | None:
    """When the last image of a patient came in."""
    return session.scalar(select(func.max(Image.created_at)).where(Image.patient_id == patient_id))


def with_identity(session: Session, patient_ids: list[str]) -> set[str]:
    """Which of some patients have an identity in the vault."""
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
) -> Patient:
    """Change a patient; what is left out stays."""
    patient = get_patient(session, actor, patient_id, "patient.change")
    changed = []
    if sex is not None and sex != patient.sex:
        patient.sex = sex
        changed.append("sex")
    if birth_year is not None and birth_year != patient.birth_year:
        _check_birth_year(birth_year)
        patient.birth_year = birth_year
        changed.append("birth_year")
    if fields is not None:
        merged = {**patient.fields, **fields}
        known = field_definitions.of_project(session, patient.project_id, "patient")
        kept = {key: value for key, value in merged.items() if key in fields or key in {d.key for d in known}}
        patient.fields = check_values(kept, known)
        changed += sorted(f"fields.{key}" for key in fields)
    if identity is not None:
        actor.require("identity.change", patient.project_id)
        vault.write_identity(session, keys, patient, identity)
        changed.append("identity")
    patient.changed_at = clock.now()
    actor.record(
        session,
        "patient.change",
        "patient",
        patient.id,
        project_id=patient.project_id,
        patient_id=patient.id,
        changed=changed,
    )
    return patient


def delete_patient(session: Session, actor: Actor, patient_id: str) -> None:
    """Delete a patient on whom nothing hangs."""
    patient = get_patient(session, actor, patient_id, "patient.delete")
    studies = session.scalar(select(func.count()).where(Study.patient_id == patient.id)) or 0
    if studies:
        images = counts_of(session, [patient.id]).get(patient.id, PatientCounts()).images
        raise PatientNotEmpty(
            f"{patient.code} has {studies} studies with {images} images. "
            "To destroy them together with the patient's identity, erase the patient.",
            studies=studies,
            images=images,
        )
    remove(session, patient)
    actor.record(session, "patient.delete", "patient", patient_id, project_id=patient.project_id, patient_id=patient_id)


def remove(session: Session, patient: Patient) -> None:
    """Delete the row of a patient, and with it all rows that go with it."""
    try:
        session.delete(patient)
        session.flush()
    except IntegrityError as error:
        raise PatientNotEmpty("Something still hangs on this patient; nothing was deleted.") from error


def destroy_blobs(session: Session, digests: list[str]) -> None:
    """Have blobs destroyed as soon as the rows that named them are gone."""
    if digests:
        jobs.enqueue(session, "destroy-blobs", {"digests": digests})


def destroy_unnamed_blobs(app: AppContext, digests: Sequence[str]) -> None:
    """Delete the files of blobs that no row names any more."""
    with app.database.writing(durable=False) as session:
        serialize_writers(session, "blobs")
        named = set(session.scalars(select(PatientBlob.digest).where(PatientBlob.digest.in_(digests))))
        for digest in digests:
            if digest not in named:
                app.blobs.delete(digest)


def destroy_forgotten_blobs(app: AppContext, *, older_than_s: float = 3600.0) -> int:
    """Delete what lies in the store without a row: a process died after it wrote the bytes and before their row."""
    with app.database.reading() as session:
        named = set(session.scalars(select(PatientBlob.digest).distinct()))
    forgotten = [digest for digest in app.blobs.digests(older_than_s=older_than_s) if digest not in named]
    for start in range(0, len(forgotten), 500):
        destroy_unnamed_blobs(app, forgotten[start : start + 500])
    return len(forgotten)


def keep_blob(session: Session, app: AppContext, data: bytes, *, patient_id: str, image_id: str | None = None) -> str:
    """Keep bytes that were made from a patient's data, so that they go when the patient goes."""
    # Not while others destroy: the same bytes may just lose the last row that named them.
    serialize_writers(session, "blobs")
    digest = app.blobs.put(data)
    if session.get(PatientBlob, (digest, patient_id)) is None:
        session.add(PatientBlob(digest=digest, patient_id=patient_id, image_id=image_id))
    return digest


def name_blob(session: Session, app: AppContext, digest: str, *, patient_id: str, image_id: str) -> bool:
    """Name bytes that were put into the store before this transaction; whether they are there still."""
    serialize_writers(session, "blobs")
    if not app.blobs.has(digest):
        return False
    if session.get(PatientBlob, (digest, patient_id)) is None:
        session.add(PatientBlob(digest=digest, patient_id=patient_id, image_id=image_id))
    return True
