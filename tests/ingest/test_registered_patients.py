# SPDX-License-Identifier: Apache-2.0
"""A file joins the registered patient with its number and name, or waits; registration warns of duplicates."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.errors import Invalid
from medhub.foundation import clock, ids
from medhub.foundation.app_context import AppContext
from medhub.ingest import erasure
from medhub.ingest.context import IngestSource
from medhub.ingest.models import Arrival
from medhub.ingest.pipeline import ingest_file
from medhub.ingest.quarantine import discard, seal_arrival
from medhub.records import service
from medhub.records.erasure import erase_patient
from medhub.records.identifier_index import ConfirmedDuplicate, DuplicatePatient, normalize_number
from medhub.records.models import Erasure, Identity, Patient
from medhub.records.vault import read_duplicate_reason
from tests.factories.accounts import People
from tests.factories.cases import run_jobs
from tests.factories.cts import ct
from tests.records.conftest import list_codes

IDENTITY = {"name": "Siti binti Abdullah", "hospital_number": "H-004711", "birth_date": "1980-03-14"}
FILE = {"PatientID": "H-004711", "PatientName": "ABDULLAH^SITI", "PatientBirthDate": "19800314", "PatientSex": "F"}


def register(app: AppContext, people: People, identity: dict[str, str], **more: Any) -> Patient:
    actor = people.actor(app, Role.TECHNOLOGIST)
    with app.database.writing() as session:
        return service.add_patient(
            session,
            app.keys,
            actor,
            project_id=people.project_id,
            sex=more.pop("sex", "F"),
            identity=identity,
            **more,
        )


def receive(app: AppContext, people: People, serial: int = 1, /, **values: object) -> Arrival:
    uids = {"SOPInstanceUID": f"1.2.3.{serial}", "StudyInstanceUID": f"1.2.{serial}"}
    result = ingest_file(
        app,
        people.actor(app, Role.TECHNOLOGIST),
        IngestSource(people.project_id, "folder"),
        ct(**uids, **{**FILE, **values}),
    )
    with app.database.reading() as session:
        assert result.outcome in {"accepted", "quarantined"}, result
        return session.scalars(select(Arrival).order_by(Arrival.id.desc())).all()[0]


@pytest.fixture
def technologist(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.TECHNOLOGIST)


@pytest.mark.parametrize(
    ("number", "same"),
    [("h-4711", True), ("H 004711", True), ("Ｈ－４７１１", True), ("H4711", True), ("H-4712", False), ("4711", False)],
)
def test_the_same_number_is_registered_once(app: AppContext, people: People, number: str, same: bool) -> None:
    first = register(app, people, IDENTITY)
    if not same:
        register(app, people, {"name": "Ann Lee", "hospital_number": number})
        return
    with pytest.raises(DuplicatePatient, match=f"{first.code} has this hospital number") as caught:
        register(app, people, {"name": "Ann Lee", "hospital_number": number})
    assert caught.value.facts["duplicates"] == [{"id": first.id, "code": first.code, "reasons": ["hospital_number"]}]


def test_the_same_name_and_birth_date_are_a_duplicate_too(app: AppContext, people: People) -> None:
    first = register(app, people, IDENTITY)
    with pytest.raises(DuplicatePatient, match=f"{first.code} has the same name and birth date"):
        register(app, people, {"name": "abdullah, SITI", "birth_date": "1980-03-14"})
    register(app, people, {"name": "Siti Abdullah", "birth_date": "1980-03-15"})
    register(app, people, {"name": "Ann Lee", "birth_date": "1980-03-14"})


def test_a_person_confirms_a_duplicate_with_a_reason_that_is_sealed(
    app: AppContext, people: People, technologist: Actor
) -> None:
    first = register(app, people, IDENTITY)
    with pytest.raises(Invalid, match="Say why"):
        register(app, people, IDENTITY, duplicate=ConfirmedDuplicate(" "))
    second = register(app, people, IDENTITY, duplicate=ConfirmedDuplicate("Twin sister of Nur"))
    with app.database.reading() as session:
        row = session.get_one(Identity, second.id)
        assert read_duplicate_reason(app.keys, row) == "Twin sister of Nur"
        assert row.sealed_duplicate_reason is not None
        assert b"Nur" not in row.sealed_duplicate_reason
    assert set(list_codes(app, technologist, query="4711")[0]) == set()
    assert set(list_codes(app, technologist, query="h4711")[0]) == {first.code, second.code}


def test_a_change_to_the_number_of_another_patient_is_refused(
    app: AppContext, people: People, technologist: Actor
) -> None:
    first = register(app, people, IDENTITY)
    other = register(app, people, {"name": "Ann Lee", "hospital_number": "9"})
    with pytest.raises(DuplicatePatient), app.database.writing() as session:
        service.change_patient(
            session, app.keys, technologist, other.id, identity={"name": "Ann Lee", "hospital_number": "h4711"}
        )
    with app.database.writing() as session:  # the own number is no duplicate
        service.change_patient(session, app.keys, technologist, first.id, identity={**IDENTITY, "phone": "1"})


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"PatientID": "h 004711"},
        {"PatientBirthDate": "1980.03.14"},
        {"PatientBirthDate": ""},
        {"IssuerOfPatientID": "HOSPITAL"},
        {"PatientName": "Siti^Abdullah^binti"},
    ],
)
def test_a_file_joins_the_registered_patient(
    app: AppContext, people: People, technologist: Actor, values: dict[str, str]
) -> None:
    patient = register(app, people, IDENTITY)
    arrival = receive(app, people, **values)
    assert (arrival.outcome, arrival.patient_id) == ("accepted", patient.id)
    later = receive(app, people, 2, **values)  # now by its exact number
    assert (later.outcome, later.patient_id) == ("accepted", patient.id)
    assert list_codes(app, technologist, query="H-4711")[0] == [patient.code]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"PatientName": "DOE^JANE"}, "another name"),
        ({"PatientBirthDate": "19800315"}, "another birth date"),
        ({"PatientSex": "M"}, "another sex"),
        ({"PatientName": ""}, "no name to compare"),
    ],
)
def test_a_file_that_does_not_agree_waits_for_a_person(
    app: AppContext, people: People, technologist: Actor, values: dict[str, str], reason: str
) -> None:
    patient = register(app, people, IDENTITY)
    arrival = receive(app, people, **values)
    assert (arrival.outcome, arrival.patient_id) == ("quarantined", None)
    assert arrival.candidates == [patient.id]
    assert reason in (arrival.reason or "")
    assert list_codes(app, technologist)[1] == 1  # no further record


def test_a_file_waits_if_two_patients_have_its_number(app: AppContext, people: People) -> None:
    first = register(app, people, IDENTITY)
    second = register(app, people, IDENTITY, duplicate=ConfirmedDuplicate("a second record"))
    arrival = receive(app, people)
    assert arrival.outcome == "quarantined"
    assert set(arrival.candidates or ()) == {first.id, second.id}


def test_a_file_waits_if_a_patient_without_a_number_has_its_name_and_birth_date(
    app: AppContext, people: People
) -> None:
    patient = register(app, people, {key: IDENTITY[key] for key in ("name", "birth_date")})
    arrival = receive(app, people)
    assert (arrival.outcome, arrival.candidates) == ("quarantined", [patient.id])


def test_issuers_keep_equal_numbers_of_files_apart(app: AppContext, people: People, technologist: Actor) -> None:
    first = receive(app, people, 1, IssuerOfPatientID="A", PatientName="DOE^JANE")
    second = receive(app, people, 2, IssuerOfPatientID="B", PatientName="ROE^ANN", PatientBirthDate="19500101")
    assert first.patient_id != second.patient_id
    assert len(list_codes(app, technologist, query="H-4711")[0]) == 2


def test_a_patient_of_files_is_found_at_registration_and_by_number(
    app: AppContext, people: People, technologist: Actor
) -> None:
    arrival = receive(app, people)
    assert arrival.patient_id is not None
    with app.database.reading() as session:
        code = session.get_one(Patient, arrival.patient_id).code
    for identity in ({"hospital_number": "h4711"}, {"name": "Siti Abdullah", "birth_date": "1980-03-14"}):
        with pytest.raises(DuplicatePatient, match=code):
            register(app, people, identity)
    assert list_codes(app, technologist, query="H-004711") == ([code], 1)
    assert list_codes(app, people.actor(app, Role.RESEARCHER), query="H-004711") == ([], 0)


@pytest.mark.parametrize(
    ("number", "normalized"),
    [("H-0012", "h12"), (" 00 12 ", "12"), ("000", "0"), ("٠٠١٢", "12"), ("---", "---"), ("a0b00", "a0b0"), ("", "")],
)
def test_numbers_are_compared_without_case_spaces_and_zeros(number: str, normalized: str) -> None:
    assert normalize_number(number) == normalized


def add_waiting(app: AppContext, people: People, note: str | None = None, **values: Any) -> str:
    """A file that waits without a patient or candidates."""
    row = {"by": "T", "size_bytes": 1, "created_at": clock.now(), "note": note, "project_id": people.project_id}
    with app.database.writing() as session:
        arrival = Arrival(id=ids.new_id(), route="folder", outcome="quarantined", **row)
        session.add(arrival)
        session.flush()
        seal_arrival(session, app, arrival, ct(**{**FILE, **values}))
        return arrival.id


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ({}, "discarded"),
        ({"PatientID": "h 004711"}, "discarded"),
        ({"PatientID": "", "StudyInstanceUID": ""}, "discarded"),  # by name and birth date
        ({"PatientID": "9", "PatientName": "ROE^RICHARD", "StudyInstanceUID": "1.2.9"}, "quarantined"),
        ({"PatientID": "", "StudyInstanceUID": "", "PatientBirthDate": ""}, "quarantined"),  # by the name alone
    ],
)
@pytest.mark.parametrize("identity", [True, False])
def test_a_waiting_file_that_names_an_erased_patient_is_destroyed_or_counted(
    app: AppContext, people: People, values: dict[str, Any], outcome: str, identity: bool
) -> None:
    patient_id = register(app, people, IDENTITY).id if identity else str(receive(app, people).patient_id)
    arrival_id = add_waiting(app, people, **values)
    administrator = people.actor(app, Role.ADMINISTRATOR)
    with app.database.writing() as session:
        erased = erase_patient(session, app, administrator, patient_id)
    run_jobs(app)
    with app.database.reading() as session:
        arrival, certificate = session.get_one(Arrival, arrival_id), session.get_one(Erasure, erased.id)
    assert (arrival.outcome, arrival.sealed_bytes is None) == (outcome, outcome == "discarded")
    counts = [certificate.contents[f"waiting_files_{name}"] for name in ("that_named_them", "to_look_at")]
    assert counts == [int(outcome == "discarded"), int("PatientBirthDate" in values)]
    assert certificate.completed_at is not None


@pytest.mark.parametrize(
    ("note", "stays"),
    [("This is Siti, Abdullah's daughter.", False), ("See H-004711 please.", False), ("Blurred: take it again.", True)],
)
def test_the_note_on_a_discarded_file_that_names_an_erased_patient_is_emptied(
    app: AppContext, people: People, note: str, stays: bool
) -> None:
    patient_id = register(app, people, IDENTITY).id
    arrival_id = add_waiting(app, people, PatientID="9", PatientName="X")
    administrator = people.actor(app, Role.ADMINISTRATOR)
    with app.database.writing() as session:
        discard(session, administrator, arrival_id, note)
        erase_patient(session, app, administrator, patient_id)
    run_jobs(app)
    with app.database.reading() as session:
        assert session.get_one(Arrival, arrival_id).note == (note if stays else None)


def test_a_certificate_waits_for_the_search_of_waiting_files(
    app: AppContext, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError

    patient_id = register(app, people, IDENTITY).id
    add_waiting(app, people)
    monkeypatch.setattr(erasure, "open_sealed", fail)
    administrator = people.actor(app, Role.ADMINISTRATOR)
    with app.database.writing() as session:
        erased = erase_patient(session, app, administrator, patient_id)
    run_jobs(app)
    with app.database.reading() as session:
        assert session.get_one(Erasure, erased.id).completed_at is None
