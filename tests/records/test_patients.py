# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from sqlalchemy import event, select, text, update

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.errors import Invalid, NotAllowed, NotFound
from medhub.foundation import clock, ids
from medhub.foundation.app_context import AppContext
from medhub.records import service, studies
from medhub.records.models import Patient
from medhub.records.service import PatientNotEmpty, PatientNotFound
from tests.factories.accounts import People
from tests.records.conftest import Registering, list_codes


def test_a_new_patient_has_a_code_and_no_name_in_its_row(app: AppContext, register: Registering) -> None:
    patient = register("Siti binti Abdullah")
    assert patient.code.startswith("P-")
    with app.database.reading() as session:
        row = session.execute(select(Patient.__table__).where(Patient.id == patient.id)).one()
    assert "Siti" not in str(row)


def test_a_code_that_is_taken_is_not_given_again(
    app: AppContext, register: Registering, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = iter(["P-AAAAAA", "P-AAAAAA", "P-BBBBBB"])
    monkeypatch.setattr(ids, "new_code", lambda _prefix: next(codes))
    assert [register().code, register().code] == ["P-AAAAAA", "P-BBBBBB"]


@pytest.mark.parametrize("year", [1879, clock.now().year + 1, 0, -1])
def test_a_birth_year_that_cannot_be_is_refused(register: Registering, year: int) -> None:
    with pytest.raises(Invalid) as caught:
        register(birth_year=year)
    assert caught.value.facts["field"] == "birth_year"


def test_pages_are_cut_in_the_database(app: AppContext, technologist: Actor, register: Registering) -> None:
    codes = sorted(register().code for _ in range(12))
    statements: list[str] = []
    event.listen(app.database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    page, total = list_codes(app, technologist, sort="code", offset=5, limit=4)
    assert (page, total) == (codes[5:9], 12)
    assert any("FROM patients" in s and "LIMIT" in s and "OFFSET" in s for s in statements)
    assert list_codes(app, technologist, sort="-code", limit=3) == (codes[::-1][:3], 12)
    assert list_codes(app, technologist, offset=500) == ([], 12)
    everything = [code for start in range(0, 12, 5) for code in list_codes(app, technologist, offset=start, limit=5)[0]]
    assert sorted(everything) == codes


def test_patients_are_sorted_by_what_their_rows_hold(
    app: AppContext, technologist: Actor, register: Registering
) -> None:
    old, young, unknown = (register(birth_year=year).code for year in (1950, 2001, None))
    assert list_codes(app, technologist, sort="birth_year")[0] == [old, young, unknown]
    assert list_codes(app, technologist, sort="-birth_year")[0] == [young, old, unknown]
    assert list_codes(app, technologist)[0] == [unknown, young, old]  # the latest first
    with pytest.raises(Invalid, match="cannot be sorted"):
        list_codes(app, technologist, sort="identity")


def test_a_patient_is_found_by_a_part_of_the_code(app: AppContext, technologist: Actor, register: Registering) -> None:
    patient = register()
    register()
    assert list_codes(app, technologist, query=patient.code.lower()) == ([patient.code], 1)
    assert patient.code in list_codes(app, technologist, query=patient.code[2:5])[0]
    assert list_codes(app, technologist, query="%") == ([], 0)


NAMES = {
    "malay": "Siti Nurhaliza binti Tarudin",
    "tamil": "முருகன் சுப்பிரமணியம்",
    "chinese": "陈美玲",
    "arabic": "عمر حداد",
    "accents": "Zoë Çelik-Müller",
    "spaced": "陈 美玲",
}


@pytest.mark.parametrize(
    ("query", "of"),
    [
        ("Nurhaliza", {"malay"}),
        ("siti TARUDIN", {"malay"}),
        ("tarudin siti", {"malay"}),
        ("Siti Nurhaliza binti Tarudin", {"malay"}),
        ("முருகன்", {"tamil"}),
        ("சுப்பிரமணியம் முருகன்", {"tamil"}),
        ("陈美玲", {"chinese", "spaced"}),
        ("美玲", {"chinese", "spaced"}),
        ("حداد", {"arabic"}),
        ("zoe celik", {"accents"}),
        ("ZOË", {"accents"}),
        ("müller", {"accents"}),
        ("Muller Zoe", {"accents"}),
        ("Siti Müller", set()),
        ("Nurhal", {"malay"}),
        ("urhaliza", set()),
        ("!!", set()),
        ("l", set()),
        ("Siti l", {"malay"}),
    ],
)
def test_entitled_people_find_a_patient_by_words_of_the_name(
    app: AppContext, technologist: Actor, register: Registering, query: str, of: set[str]
) -> None:
    codes = {register(name).code: script for script, name in NAMES.items()}
    assert {codes[code] for code in list_codes(app, technologist, query=query)[0]} == of


def test_a_patient_is_found_by_every_part_of_the_identity(
    app: AppContext, technologist: Actor, register: Registering
) -> None:
    identity = {
        "name": "Siti",
        "hospital_number": "H-100.234",
        "birth_date": "1980-03-14",
        "email": "siti@mail.example",
        "phone": "+60 12-345 6789",
    }
    code = register(identity=identity).code
    register("Somebody Else")
    for query in ("H-100.234", "h100234", "1980-03-14", "SITI@mail.example", "+60 12-345 6789", "60123456789"):
        assert list_codes(app, technologist, query=query) == ([code], 1), query


@pytest.mark.parametrize("role", [Role.RESEARCHER, Role.VIEWER, Role.PHARMACIST])
def test_who_may_not_see_an_identity_does_not_find_by_it(
    app: AppContext, people: People, register: Registering, role: Role
) -> None:
    patient = register("Siti binti Abdullah")
    reader = people.actor(app, role)
    for query in ("Siti", "Siti binti Abdullah", "Abdullah"):
        assert list_codes(app, reader, query=query) == ([], 0)
    assert list_codes(app, reader, query=patient.code) == ([patient.code], 1)
    with app.database.reading() as session:
        assert service.visible_identity(session, app.keys, reader, session.get_one(Patient, patient.id)) == (None, True)


@pytest.mark.parametrize("role", [Role.TECHNOLOGIST, Role.PHYSICIAN, Role.ADMINISTRATOR])
def test_who_may_see_an_identity_sees_it_and_that_is_recorded(
    app: AppContext, people: People, register: Registering, role: Role
) -> None:
    patient = register("Siti binti Abdullah")
    reader = people.actor(app, role)
    with app.database.reading() as session:
        known = service.visible_identity(session, app.keys, reader, session.get_one(Patient, patient.id))
    assert known == ({"name": "Siti binti Abdullah"}, True)
    with app.database.reading() as session:
        (entry,) = session.scalars(select(AuditEntry).where(AuditEntry.action == "identity.read"))
    assert (entry.actor_id, entry.patient_id) == (reader.user_id, patient.id)


def test_patients_of_foreign_projects_are_not_there(app: AppContext, people: People, register: Registering) -> None:
    patient = register("Siti binti Abdullah")
    outsider = people.outsider(app)
    assert list_codes(app, outsider) == list_codes(app, outsider, query="Siti") == ([], 0)
    with pytest.raises(NotFound):
        list_codes(app, outsider, project_id=people.project_id)
    with pytest.raises(NotFound), app.database.reading() as session:
        service.get_patient(session, outsider, patient.id)
    with pytest.raises(PatientNotFound), app.database.reading() as session:
        service.get_patient(session, outsider, "no such id")


def test_the_same_words_have_other_marks_in_another_project(
    app: AppContext, people: People, register: Registering
) -> None:
    """Who reads the tables of two projects cannot tell that they know the same person."""
    register("Siti")
    outsider = people.outsider(app)
    with app.database.writing() as session:
        service.add_patient(session, app.keys, outsider, project_id=people.other_project_id, identity={"name": "Siti"})
    with app.database.reading() as session:
        terms = session.execute(text("SELECT term FROM vault_terms")).all()
    assert len(set(terms)) == len(terms) == 6  # si, sit, siti in each
    assert list_codes(app, outsider, query="siti")[1] == 1


def test_what_is_left_out_of_a_change_stays(app: AppContext, technologist: Actor, register: Registering) -> None:
    patient = register("Siti")
    with app.database.writing() as session:
        changed = service.change_patient(session, app.keys, technologist, patient.id, sex="O")
        assert (changed.sex, changed.birth_year) == ("O", 1980)
    assert list_codes(app, technologist, query="Siti")[1] == 1
    with app.database.writing() as session:
        service.change_patient(session, app.keys, technologist, patient.id, identity={"name": "Aminah"})
    assert list_codes(app, technologist, query="Siti")[1] == 0
    assert list_codes(app, technologist, query="aminah")[1] == 1
    with app.database.reading() as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.action == "patient.change")).all()
    assert [entry.detail["changed"] for entry in entries] == [["sex"], ["identity"]]


def test_only_the_roles_of_care_change_a_patient(app: AppContext, people: People, register: Registering) -> None:
    patient = register()
    for role in (Role.RESEARCHER, Role.VIEWER, Role.PHARMACIST, Role.PATIENT):
        actor = people.actor(app, role)
        with pytest.raises(NotAllowed), app.database.writing() as session:
            service.change_patient(session, app.keys, actor, patient.id, sex="M")
        with pytest.raises(NotAllowed), app.database.writing() as session:
            service.add_patient(session, app.keys, actor, project_id=people.project_id)


def test_a_patient_on_whom_something_hangs_is_not_just_deleted(
    app: AppContext, technologist: Actor, administrator: Actor, register: Registering
) -> None:
    patient, empty = register(), register("Siti")
    with app.database.writing() as session:
        studies.add_study(session, technologist, patient_id=patient.id, study_uid="2.25.1", description="", fields={})
    with pytest.raises(PatientNotEmpty, match="1 studies"), app.database.writing() as session:
        service.delete_patient(session, administrator, patient.id)
    with app.database.writing() as session:
        service.delete_patient(session, administrator, empty.id)
    assert list_codes(app, technologist)[0] == [patient.code]
    with pytest.raises(NotAllowed), app.database.writing() as session:
        service.delete_patient(session, technologist, patient.id)


def test_a_patient_is_found_by_code_on_the_command_line(app: AppContext, people: People, register: Registering) -> None:
    patient = register()
    with app.database.reading() as session:
        assert service.find_patient(session, people.project_id, patient.code).id == patient.id
        with pytest.raises(PatientNotFound, match="medhub patient add"):
            service.find_patient(session, people.other_project_id, patient.code)


def test_values_of_a_field_that_is_gone_do_not_stop_a_change(
    app: AppContext, technologist: Actor, register: Registering
) -> None:
    patient = register()
    with app.database.writing() as session:  # as an import of an older archive may leave it
        session.execute(update(Patient).where(Patient.id == patient.id).values(fields={"gone": "x"}))
    with app.database.writing() as session:
        changed = service.change_patient(session, app.keys, technologist, patient.id, fields={}, sex="M")
        assert (changed.fields, changed.sex) == ({}, "M")
