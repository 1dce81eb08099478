# SPDX-License-Identifier: Apache-2.0
"""Routes of patients, studies, series and fields."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.foundation import ids
from medhub.foundation.etags import include_current_state
from medhub.foundation.http import Id, IfMatch, Page, Paging
from medhub.records import erasure, field_definitions, series_service, service, studies
from medhub.records.erasure_schemas import PatientErasedOut
from medhub.records.field_schemas import FieldChange, FieldCreate, FieldOut
from medhub.records.field_values import Subject
from medhub.records.models import Patient
from medhub.records.schemas import (
    PatientChange,
    PatientCreate,
    PatientOut,
    PatientRow,
    SeriesChange,
    SeriesCreate,
    SeriesOut,
    Sex,
    StudyChange,
    StudyCreate,
    StudyOut,
)
from medhub.records.service import PatientCounts

patients = APIRouter(prefix="/api/patients", tags=["patients"])
fields = APIRouter(prefix="/api/fields", tags=["fields"])
study_routes = APIRouter(prefix="/api/studies", tags=["studies"])
series_routes = APIRouter(prefix="/api/series", tags=["studies"])


def _field_values(request: Request) -> dict[str, str]:
    """The query parameters of the form ``field.<key>=value``."""
    return {
        name.removeprefix("field."): value
        for name, value in request.query_params.items()
        if name.startswith("field.") and "\x00" not in value
    }


@patients.get("", summary="Patients")
def list_patients(
    request: Request,
    call: Annotated[Call, allow("patient.read")],
    paging: Paging,
    project_id: Annotated[Id | None, Query()] = None,
    sex: Sex | None = None,
) -> Page[PatientRow]:
    """The patients of your projects; ``field.<key>=value`` filters by a field, ``sort=field.<key>`` sorts."""
    with call.reading() as session:
        patients, total = service.list_patients(
            session,
            call.app.keys,
            call.actor,
            project_id=project_id,
            query=paging.query,
            sex=sex,
            field_values=_field_values(request),
            sort=paging.sort,
            offset=paging.offset,
            limit=paging.page_size,
            known_total=paging.known_total,
        )
        patient_ids = [patient.id for patient in patients]
        counts = service.count_patient_contents(session, patient_ids)
        known = service.patients_with_identity(session, patient_ids)
        return paging.of(
            [
                PatientRow.of(
                    patient,
                    counts.get(patient.id, PatientCounts()),
                    patient.id in known and call.actor.may("identity.read", patient.project_id),
                )
                for patient in patients
            ],
            total,
        )


@patients.post("", status_code=201, summary="Register a patient")
def create_patient(call: Annotated[Call, allow("patient.create")], given: PatientCreate) -> PatientOut:
    """Register a patient under a new code; 409 if the person seems to be registered already."""
    project_id = call.actor.choose_project("patient.create", given.project_id)
    with call.writing() as session:
        identity = given.identity.given() if given.identity else {}
        patient = service.add_patient(
            session,
            call.app.keys,
            call.actor,
            project_id=project_id,
            sex=given.sex,
            birth_year=given.birth_year,
            fields=given.fields,
            identity=identity,
            duplicate=given.confirmed_duplicate(),
            confirmed_fields=given.confirmed_fields,
        )
        return PatientOut.build(patient, PatientCounts(), identity or None, bool(identity))


@patients.get("/{id}", summary="One patient")
def read_patient(call: Annotated[Call, allow("patient.read")], id: ItemId) -> PatientOut:
    """A patient; the identity is included only for people who may see it."""
    with call.reading() as session:
        patient = service.get_patient(session, call.actor, id)
        call.actor.record(
            session, "patient.read", "patient", patient.id, project_id=patient.project_id, patient_id=patient.id
        )
        return _patient_out(session, call, patient)


@patients.patch("/{id}", summary="Change a patient")
def change_patient(
    call: Annotated[Call, allow("patient.change")], id: ItemId, given: PatientChange, if_match: IfMatch = None
) -> PatientOut:
    """Change a patient; a given identity replaces the previous identity, an empty one clears it."""
    with call.writing() as session, include_current_state(lambda: _current_patient(session, call, id)):
        patient = service.change_patient(
            session,
            call.app.keys,
            call.actor,
            id,
            sex=given.sex,
            birth_year=given.birth_year,
            fields=given.fields,
            identity=given.identity.given() if given.identity is not None else None,
            duplicate=given.confirmed_duplicate(),
            confirmed_fields=given.confirmed_fields,
            if_match=if_match,
        )
        return _patient_out(session, call, patient)


def _current_patient(session: Session, call: Call, patient_id: str) -> PatientOut:
    return _patient_out(session, call, service.get_patient(session, call.actor, patient_id))


def _patient_out(session: Session, call: Call, patient: Patient) -> PatientOut:
    identity, exists = service.visible_identity(session, call.app.keys, call.actor, patient)
    counts = service.count_patient_contents(session, [patient.id]).get(patient.id, PatientCounts())
    return PatientOut.build(patient, counts, identity, exists)


@patients.delete(
    "/{id}",
    summary="Delete or erase a patient",
    response_model=PatientErasedOut,
    responses={204: {"description": "The patient, who had no studies, is deleted."}},
)
def delete_patient(
    call: Annotated[Call, allow("patient.delete")],
    id: ItemId,
    erase: Annotated[
        bool, Query(description="Also delete the key of the identity, the images and all data derived from them.")
    ] = False,
) -> PatientErasedOut | Response:
    """Delete a patient without studies; with ``erase=true`` delete all data of the person permanently."""
    with call.writing() as session:
        if not erase:
            service.delete_patient(session, call.actor, id)
            return Response(status_code=204)
        erased = erasure.erase_patient(session, call.app, call.actor, id)
        return PatientErasedOut(code=erased.patient_code, images=erased.contents["images"], certificate_id=erased.id)


@fields.get("", summary="Fields")
def list_fields(
    call: Annotated[Call, allow("field.read")],
    project_id: Annotated[Id | None, Query()] = None,
    subject: Subject | None = None,
) -> list[FieldOut]:
    """The fields that your projects define."""
    projects = call.actor.projects("field.read", project_id)
    with call.reading() as session:
        return [FieldOut.model_validate(d) for d in field_definitions.list_fields(session, projects, subject)]


@fields.post("", status_code=201, summary="Define a field")
def create_field(call: Annotated[Call, allow("field.define")], given: FieldCreate) -> FieldOut:
    """Define a field for the patients or studies of a project."""
    project_id = call.actor.choose_project("field.define", given.project_id)
    with call.writing() as session:
        values = given.model_dump(exclude={"project_id"})
        return FieldOut.model_validate(
            field_definitions.define_field(session, call.actor, project_id=project_id, **values)
        )


@fields.patch("/{id}", summary="Change a field")
def change_field(
    call: Annotated[Call, allow("field.define")], id: ItemId, given: FieldChange, if_match: IfMatch = None
) -> FieldOut:
    """Change label, unit, choices, order, or whether it is required; key and kind stay."""

    def current() -> FieldOut:
        return FieldOut.model_validate(field_definitions.get_field(session, call.actor, id, "field.define"))

    with call.writing() as session, include_current_state(current):
        values = given.model_dump(exclude_none=True)
        changed = field_definitions.change_field(session, call.actor, id, **values, if_match=if_match)
        return FieldOut.model_validate(changed)


@fields.delete("/{id}", status_code=204, summary="Delete a field")
def delete_field(call: Annotated[Call, allow("field.define")], id: ItemId) -> None:
    """Delete a field that has no values."""
    with call.writing() as session:
        field_definitions.delete_field(session, call.actor, id)


@study_routes.get("", summary="Studies")
def list_studies(
    request: Request,
    call: Annotated[Call, allow("study.read")],
    paging: Paging,
    patient_id: Annotated[Id | None, Query()] = None,
    project_id: Annotated[Id | None, Query()] = None,
) -> Page[StudyOut]:
    """Studies, newest first unless sorted otherwise."""
    with call.reading() as session:
        page, total = studies.list_studies(
            session,
            call.actor,
            patient_id=patient_id,
            project_id=project_id,
            query=paging.query,
            field_values=_field_values(request),
            sort=paging.sort,
            offset=paging.offset,
            limit=paging.page_size,
            known_total=paging.known_total,
        )
        return paging.of([StudyOut.of(facts) for facts in page], total)


@study_routes.post("", status_code=201, summary="Add a study")
def create_study(call: Annotated[Call, allow("study.create")], given: StudyCreate) -> StudyOut:
    """Add an empty study to a patient."""
    with call.writing() as session:
        study = studies.add_study(
            session,
            call.actor,
            patient_id=given.patient_id,
            study_uid=ids.new_uid(),
            description=given.description,
            fields=given.fields,
            confirmed_fields=given.confirmed_fields,
        )
        return StudyOut.of(studies.facts_of(session, [study])[0])


@study_routes.get("/{id}", summary="One study")
def read_study(call: Annotated[Call, allow("study.read")], id: ItemId) -> StudyOut:
    """A study."""
    with call.reading() as session:
        return StudyOut.of(studies.read_study(session, call.actor, id))


@study_routes.patch("/{id}", summary="Change a study")
def change_study(
    call: Annotated[Call, allow("study.change")], id: ItemId, given: StudyChange, if_match: IfMatch = None
) -> StudyOut:
    """Change description and fields; what is left out stays."""

    def current() -> StudyOut:
        study = studies.get_study(session, call.actor, id, "study.change")
        return StudyOut.of(studies.facts_of(session, [study])[0])

    with call.writing() as session, include_current_state(current):
        return StudyOut.of(
            studies.change_study(
                session,
                call.actor,
                id,
                description=given.description,
                fields=given.fields,
                confirmed_fields=given.confirmed_fields,
                if_match=if_match,
            )
        )


@study_routes.delete("/{id}", status_code=204, summary="Delete a study")
def delete_study(call: Annotated[Call, allow("study.delete")], id: ItemId) -> None:
    """Delete a study with its images, unless it belongs to a signed case."""
    with call.writing() as session:
        studies.delete_study(session, call.actor, id)


@series_routes.get("", summary="Series")
def list_series(
    call: Annotated[Call, allow("study.read")],
    paging: Paging,
    study_id: Annotated[Id | None, Query()] = None,
    patient_id: Annotated[Id | None, Query()] = None,
    project_id: Annotated[Id | None, Query()] = None,
) -> Page[SeriesOut]:
    """Series, oldest first unless sorted otherwise."""
    with call.reading() as session:
        page, total = series_service.list_series(
            session,
            call.actor,
            study_id=study_id,
            patient_id=patient_id,
            project_id=project_id,
            query=paging.query,
            sort=paging.sort,
            offset=paging.offset,
            limit=paging.page_size,
            known_total=paging.known_total,
        )
        return paging.of([SeriesOut.of(facts) for facts in page], total)


@series_routes.post("", status_code=201, summary="Add a series")
def create_series(call: Annotated[Call, allow("study.create")], given: SeriesCreate) -> SeriesOut:
    """Add an empty series to a study."""
    with call.writing() as session:
        facts = series_service.add_series(
            session, call.actor, study_id=given.study_id, modality=given.modality, description=given.description
        )
        return SeriesOut.of(facts)


@series_routes.get("/{id}", summary="One series")
def read_series(call: Annotated[Call, allow("study.read")], id: ItemId) -> SeriesOut:
    """A series."""
    with call.reading() as session:
        return SeriesOut.of(series_service.read_series(session, call.actor, id))


@series_routes.patch("/{id}", summary="Change a series")
def change_series(call: Annotated[Call, allow("study.change")], id: ItemId, given: SeriesChange) -> SeriesOut:
    """Describe a series anew."""
    with call.writing() as session:
        return SeriesOut.of(series_service.change_series(session, call.actor, id, given.description))


@series_routes.delete("/{id}", status_code=204, summary="Delete a series")
def delete_series(call: Annotated[Call, allow("study.delete")], id: ItemId) -> None:
    """Delete a series with its images, unless it belongs to a signed case."""
    with call.writing() as session:
        series_service.delete_series(session, call.actor, id)
