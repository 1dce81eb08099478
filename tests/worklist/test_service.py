# SPDX-License-Identifier: Apache-2.0
"""Scheduling studies of patients, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from medhub.accounts.permissions import Role
from medhub.entrypoints.web import create_app
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import Isolation
from medhub.records import service as records
from medhub.records.erasure import erase_patient
from medhub.records.identifier_index import ConfirmedDuplicate
from medhub.science.imaging.dicom.worklist_identifiers import PerformedStepAttributes
from medhub.worklist import performed_steps
from medhub.worklist.entries import find_entries
from medhub.worklist.models import PerformedStep, ScheduledStudy
from tests.factories.accounts import People, client_of, make_people
from tests.factories.app_contexts import open_app_on


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, isolation: Isolation
) -> Iterator[AppContext]:
    with open_app_on(request, request.param, tmp_path_factory.mktemp("worklist"), isolation, "worklist") as app:
        yield app


@pytest.fixture(scope="module")
def people(app: AppContext) -> People:
    return make_people(app)


@pytest.fixture(scope="module")
def technologist(app: AppContext, people: People) -> TestClient:
    return client_of(create_app(app, run_jobs=False), app, "technologist@lab.example")


def add_patient(
    app: AppContext, people: People, number: str, name: str = "", duplicate: ConfirmedDuplicate | None = None
) -> str:
    actor = people.actor(app, Role.TECHNOLOGIST)
    with app.database.writing() as session:
        return records.add_patient(
            session,
            app.keys,
            actor,
            project_id=people.project_id,
            sex="F",
            birth_year=1970,
            identity={"name": name or f"Roe {number}", "hospital_number": number, "birth_date": "1970-01-02"},
            duplicate=duplicate,
        ).id


def body_of(patient_id: str, **values: str) -> dict[str, str]:
    return {"patient_id": patient_id, "modality": "CT", "starts_at": "2026-03-01T09:30:00", **values}


def entries_of(app: AppContext, people: People, **matching: str) -> list[dict[str, str]]:
    with app.database.reading() as session:
        entries = find_entries(
            session, app.keys, people.project_id, calling="CT_1", matching=matching, step_matching={}
        )
        return [{**entry.values, **entry.step} for entry in entries]


def test_a_study_is_scheduled_changed_and_canceled(app: AppContext, people: People, technologist: TestClient) -> None:
    patient_id = add_patient(app, people, "W-1")
    texts = {"description": "CT thorax", "accession_number": "ACC-9", "requesting_physician": "Weber^Anna"}
    created = technologist.post("/api/scheduled-studies", json=body_of(patient_id, **texts))
    assert created.status_code == 201, created.text
    study = created.json()
    assert {name: study[name] for name in texts} == texts
    assert (study["state"], study["starts_at"], study["modality"]) == ("scheduled", "2026-03-01T09:30:00", "CT")
    path = f"/api/scheduled-studies/{study['id']}"
    changed = technologist.patch(path, json={"starts_at": "2026-03-02T10:00:00", "description": "CT head"})
    assert changed.json() == {
        **study,
        "starts_at": "2026-03-02T10:00:00",
        "description": "CT head",
        "changed_at": changed.json()["changed_at"],
    }
    listed = technologist.get(f"/api/scheduled-studies?patient_id={patient_id}&state=scheduled").json()
    assert (listed["total"], listed["items"]) == (1, [changed.json()])
    assert len(entries_of(app, people, PatientID="W-1")) == 1
    assert technologist.delete(path).status_code == 204
    assert technologist.get(path).json()["state"] == "canceled"
    assert entries_of(app, people, PatientID="W-1") == []
    for answer in (technologist.patch(path, json={"modality": "MR"}), technologist.delete(path)):
        assert (answer.status_code, answer.json()["code"]) == (409, "not-scheduled-any-more")


def test_texts_of_a_scheduled_study_are_encrypted_and_erased_with_the_patient(
    app: AppContext, people: People, technologist: TestClient
) -> None:
    patient_id = add_patient(app, people, "W-2")
    study = technologist.post(
        "/api/scheduled-studies", json=body_of(patient_id, description="Follow-up of Roe", accession_number="ROE-77")
    ).json()
    with app.database.reading() as session:
        row = session.get_one(ScheduledStudy, study["id"])
        values = [str(getattr(row, column.key)) for column in ScheduledStudy.__table__.columns]
        assert not any("Roe" in value or "ROE" in value for value in values)
    modality, administrator = people.actor(app, Role.TECHNOLOGIST), people.actor(app, Role.ADMINISTRATOR)
    with app.database.writing() as session:
        performed_steps.create_step(
            session, app.keys, modality, people.project_id, "1.2.3",
            PerformedStepAttributes("IN PROGRESS", ((study["study_uid"], ""),)),
        )  # fmt: skip
    with app.database.writing() as session:
        erase_patient(session, app, administrator, patient_id)
    with app.database.reading() as session:
        assert session.get(ScheduledStudy, study["id"]) is None
        assert session.scalars(select(PerformedStep).where(PerformedStep.scheduled_study_id == study["id"])).all() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("modality", "computed tomography"),
        ("modality", ""),
        ("starts_at", "2026-03-01T09:30:00+01:00"),
        ("starts_at", "tomorrow"),
        ("station_ae", "CT 1"),
        ("accession_number", "1" * 17),
        ("accession_number", "A\\B"),
        ("description", "two\nlines"),
        ("description", "x" * 65),
    ],
)
def test_what_a_modality_cannot_take_is_refused(
    app: AppContext, people: People, technologist: TestClient, field: str, value: str
) -> None:
    patient_id = add_patient(app, people, f"W-3-{field}-{len(value)}")
    answer = technologist.post("/api/scheduled-studies", json=body_of(patient_id, **{field: value}))
    assert answer.status_code == 422, answer.text
    assert field in answer.text


def test_a_study_is_not_scheduled_for_a_patient_whose_number_is_that_of_another(
    app: AppContext, people: People, technologist: TestClient
) -> None:
    first = add_patient(app, people, "W-4", "Jane Roe")
    second = add_patient(app, people, "W-4", "Joan Doe", ConfirmedDuplicate("another person"))
    assert technologist.post("/api/scheduled-studies", json=body_of(first)).status_code == 201
    answer = technologist.post("/api/scheduled-studies", json=body_of(second))
    assert answer.status_code == 409
    assert "hospital number" in answer.json()["detail"]
    assert len(entries_of(app, people, PatientID="W-4")) == 1


def test_steps_have_one_uid_in_a_project_and_may_be_the_same_in_another(app: AppContext, people: People) -> None:
    actor, in_progress = people.actor(app, Role.TECHNOLOGIST), PerformedStepAttributes("IN PROGRESS")
    for project_id in (people.project_id, people.other_project_id):
        with app.database.writing() as session:
            performed_steps.create_step(session, app.keys, actor, project_id, "1.2.9", in_progress)
    with pytest.raises(performed_steps.StepExists), app.database.writing() as session:
        performed_steps.create_step(session, app.keys, actor, people.project_id, "1.2.9", in_progress)


def test_a_step_of_another_project_brings_nothing_forward(
    app: AppContext, people: People, technologist: TestClient
) -> None:
    study = technologist.post("/api/scheduled-studies", json=body_of(add_patient(app, people, "W-5"))).json()
    outsider = people.outsider(app)
    with app.database.writing() as session:
        step = performed_steps.create_step(
            session, app.keys, outsider, people.other_project_id, "1.2.10",
            PerformedStepAttributes("IN PROGRESS", ((study["study_uid"], study["step_id"]),)),
        )  # fmt: skip
        assert step.scheduled_study_id is None
    assert technologist.get(f"/api/scheduled-studies/{study['id']}").json()["state"] == "scheduled"
