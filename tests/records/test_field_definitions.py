# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from medhub.accounts.actor import Actor
from medhub.accounts.models import Membership
from medhub.accounts.permissions import Role
from medhub.errors import Conflict, Invalid, NotAllowed, NotFound
from medhub.foundation.app_context import AppContext
from medhub.records import field_definitions, service, studies
from medhub.records.field_definitions import FieldKeyTaken, FieldNotFound
from medhub.records.field_values import FieldInvalid
from tests.factories.accounts import People
from tests.records.conftest import Defining, Registering, list_codes

# Of each kind: three values in ascending order.
ASCENDING: dict[str, list[Any]] = {
    "text": ["anaemia", "leukaemia", "thalassaemia"],
    "integer": [-5, 9, 10],
    "decimal": [2.5, 10.25, 11.9],
    "date": ["1999-12-31", "2026-01-02", "2026-11-21"],
    "choice": ["high", "low", "mid"],
}


def choices_of(kind: str) -> list[str] | None:
    return ["low", "mid", "high"] if kind == "choice" else None


@pytest.mark.parametrize("kind", sorted(ASCENDING))
def test_patients_are_sorted_by_a_field_with_those_without_a_value_last(
    app: AppContext, technologist: Actor, define: Defining, register: Registering, kind: str
) -> None:
    define("x", kind, choices=choices_of(kind))
    low, mid, high = ASCENDING[kind]
    codes = {value: register(x=value).code for value in (mid, high, low)}
    without = register().code
    assert list_codes(app, technologist, sort="field.x")[0] == [codes[low], codes[mid], codes[high], without]
    assert list_codes(app, technologist, sort="-field.x")[0] == [codes[high], codes[mid], codes[low], without]


@pytest.mark.parametrize("kind", sorted(ASCENDING))
def test_patients_are_found_by_the_value_of_a_field(
    app: AppContext, technologist: Actor, define: Defining, register: Registering, kind: str
) -> None:
    define("x", kind, choices=choices_of(kind))
    codes = {value: register(x=value).code for value in ASCENDING[kind]}
    register()
    for value, code in codes.items():
        assert list_codes(app, technologist, field_values={"x": str(value)}) == ([code], 1)


def test_yes_and_no_are_sorted_and_found_too(
    app: AppContext, technologist: Actor, define: Defining, register: Registering
) -> None:
    define("fasting", "boolean")
    yes, no, unknown = register(fasting=True).code, register(fasting="no").code, register().code
    assert list_codes(app, technologist, sort="field.fasting")[0] == [no, yes, unknown]
    assert list_codes(app, technologist, sort="-field.fasting")[0] == [yes, no, unknown]
    assert list_codes(app, technologist, field_values={"fasting": "yes"}) == ([yes], 1)
    assert list_codes(app, technologist, field_values={"fasting": "false"}) == ([no], 1)


def test_of_a_text_a_part_is_enough_whatever_the_case_and_script(
    app: AppContext, technologist: Actor, define: Defining, register: Registering
) -> None:
    define("ward", "text")
    accents, tamil, chinese, percent = (
        register(ward=ward).code for ward in ("Étage Élevé", "இரத்தப் பிரிவு", "血液科", "100 % sure_ly")
    )
    for text, code in (("élevÉ", accents), ("இரத்த", tamil), ("液", chinese), ("100 %", percent), ("e_l", percent)):
        assert list_codes(app, technologist, field_values={"ward": text}) == ([code], 1)
        assert list_codes(app, technologist, query=text)[0] == [code]


def test_several_fields_and_sex_narrow_the_list_together(
    app: AppContext, technologist: Actor, define: Defining, register: Registering
) -> None:
    define("ward", "text")
    define("age", "integer")
    first = register(ward="4B", age=40).code
    register(ward="4B", age=41)
    register(ward="4B", age=40, sex="M")
    assert list_codes(app, technologist, field_values={"ward": "4b", "age": "40"}, sex="F") == ([first], 1)


@pytest.mark.parametrize(("kind", "text"), [("integer", "many"), ("decimal", "x"), ("date", "today"), ("boolean", "?")])
def test_a_filter_that_does_not_fit_the_field_is_refused_in_words(
    app: AppContext, technologist: Actor, define: Defining, kind: str, text: str
) -> None:
    define("x", kind)
    with pytest.raises(FieldInvalid, match="must be"):
        list_codes(app, technologist, field_values={"x": text})


def test_filtering_and_sorting_by_a_field_that_there_is_not_is_refused(app: AppContext, technologist: Actor) -> None:
    with pytest.raises(Invalid, match="no field “x”"):
        list_codes(app, technologist, field_values={"x": "1"})
    with pytest.raises(Invalid, match="cannot be sorted"):
        list_codes(app, technologist, sort="field.x")


def test_projects_may_give_one_key_different_kinds(
    app: AppContext, people: People, technologist: Actor, define: Defining, register: Registering
) -> None:
    with app.database.writing() as session:
        session.add(
            Membership(user_id=technologist.user_id, project_id=people.other_project_id, role=Role.TECHNOLOGIST)
        )
    both = people.actor(app, Role.TECHNOLOGIST)
    define("level", "decimal")
    define("level", "text", actor=both, project_id=people.other_project_id)
    number = register(level=11.9).code
    with app.database.writing() as session:
        word = service.add_patient(
            session, app.keys, both, project_id=people.other_project_id, fields={"level": "very high"}
        ).code
    assert sorted(list_codes(app, both, sort="field.level")[0]) == sorted([number, word])
    assert list_codes(app, both, field_values={"level": "high"})[0] == [word]
    assert list_codes(app, both, query="very")[0] == [word]
    assert list_codes(app, both, sort="field.level", project_id=people.project_id)[0] == [number]


def test_values_are_checked_when_a_patient_is_registered_and_changed(
    app: AppContext, technologist: Actor, define: Defining, register: Registering
) -> None:
    define("haemoglobin", "decimal", required=True, unit="g/dL")
    define("ward", "text")
    with pytest.raises(FieldInvalid, match="is required"):
        register()
    with pytest.raises(FieldInvalid, match="a number"):
        register(haemoglobin="high")
    patient = register(haemoglobin="11.9", ward="4B")
    assert patient.fields == {"haemoglobin": 11.9, "ward": "4B"}

    def change(**fields: Any) -> dict[str, Any]:
        with app.database.writing() as session:
            return service.change_patient(session, app.keys, technologist, patient.id, fields=fields).fields

    assert change(haemoglobin=12) == {"haemoglobin": 12.0, "ward": "4B"}
    assert change(ward="") == {"haemoglobin": 12.0}
    with pytest.raises(FieldInvalid, match="is required"):
        change(haemoglobin=None)
    with pytest.raises(FieldInvalid, match="no field"):
        change(bed="7")


def test_a_field_that_is_in_use_stays(
    app: AppContext, technologist: Actor, define: Defining, register: Registering
) -> None:
    for kind, value in (("text", "x"), ("integer", 0), ("boolean", False), ("date", "2026-11-21"), ("decimal", 0.0)):
        defined = define(f"a_{kind}", kind)
        patient = register(**{f"a_{kind}": value})
        with pytest.raises(Conflict, match="has values"), app.database.writing() as session:
            field_definitions.delete_field(session, technologist, defined.id)
        with app.database.writing() as session:
            service.change_patient(session, app.keys, technologist, patient.id, fields={f"a_{kind}": None})
        with app.database.writing() as session:
            field_definitions.delete_field(session, technologist, defined.id)
    with app.database.reading() as session:
        assert field_definitions.list_project_fields(session, defined.project_id, "patient") == []


def test_a_choice_that_is_in_use_stays(
    app: AppContext, technologist: Actor, define: Defining, register: Registering
) -> None:
    defined = define("level", "choice", choices=["low", "high"])
    register(level="high")
    with pytest.raises(Conflict, match="“high” is in use"), app.database.writing() as session:
        field_definitions.change_field(session, technologist, defined.id, choices=["low", "other"])
    with app.database.writing() as session:
        changed = field_definitions.change_field(
            session, technologist, defined.id, choices=["high", "higher"], label="Level", unit="", position=3
        )
    assert (changed.choices, changed.label, changed.unit, changed.position) == (["high", "higher"], "Level", None, 3)
    with pytest.raises(Invalid), app.database.writing() as session:
        field_definitions.change_field(session, technologist, defined.id, choices=[])


def test_another_projects_patients_do_not_keep_a_field(
    app: AppContext, people: People, technologist: Actor, define: Defining, register: Registering
) -> None:
    outsider = people.outsider(app)
    define("ward", "text")
    theirs = define("ward", "text", actor=outsider, project_id=people.other_project_id)
    register(ward="4B")
    with app.database.writing() as session:
        field_definitions.delete_field(session, outsider, theirs.id)


def test_a_key_is_taken_once_for_each_subject(app: AppContext, define: Defining) -> None:
    define("ward", "text")
    define("ward", "text", subject="study")
    with pytest.raises(FieldKeyTaken):
        define("ward", "integer")


def test_fields_come_in_their_order(app: AppContext, people: People, define: Defining) -> None:
    define("c", "text", position=2)
    define("b", "text", position=1, label="Z")
    define("a", "text", position=1, label="A")
    define("s", "text", subject="study")
    with app.database.reading() as session:
        keys = [defined.key for defined in field_definitions.list_project_fields(session, people.project_id, "patient")]
        assert keys == ["a", "b", "c"]
        assert len(field_definitions.list_fields(session, [people.project_id], None)) == 4


def test_who_may_define_fields_and_who_not(app: AppContext, people: People, define: Defining) -> None:
    define("ward", "text", actor=people.actor(app, Role.RESEARCHER))
    for role in (Role.VIEWER, Role.PATIENT, Role.PHARMACIST):
        with pytest.raises(NotAllowed):
            define("other", "text", actor=people.actor(app, role))
    with pytest.raises(NotFound):
        define("other", "text", actor=people.outsider(app))


def test_a_field_of_a_foreign_project_is_not_there(app: AppContext, people: People, define: Defining) -> None:
    defined, outsider = define("ward", "text"), people.outsider(app)
    with pytest.raises(NotFound), app.database.writing() as session:
        field_definitions.delete_field(session, outsider, defined.id)
    with pytest.raises(FieldNotFound), app.database.reading() as session:
        field_definitions.get_field(session, outsider, "no such id", "field.read")


@pytest.mark.parametrize("kind", sorted(ASCENDING))
def test_studies_are_sorted_and_found_by_their_own_fields(
    app: AppContext, technologist: Actor, define: Defining, register: Registering, kind: str
) -> None:
    define("x", kind, choices=choices_of(kind), subject="study")
    patient = register()
    created = {}
    for number, value in enumerate(ASCENDING[kind]):
        with app.database.writing() as session:
            study = studies.add_study(
                session,
                technologist,
                patient_id=patient.id,
                study_uid=f"2.25.{number}",
                description="",
                fields={"x": value},
            )
            created[value] = study.id

    def listed(**wanted: Any) -> list[str]:
        asked = {
            **dict.fromkeys(("patient_id", "project_id", "query", "sort")),
            **{"field_values": {}, "offset": 0, "limit": 9},
            **wanted,
        }
        with app.database.reading() as session:
            page, total = studies.list_studies(session, technologist, **asked)
            assert total == len(page)
            return [facts.study.id for facts in page]

    assert listed(sort="field.x") == [created[value] for value in ASCENDING[kind]]
    for value, study_id in created.items():
        assert listed(field_values={"x": str(value)}) == [study_id]


def test_pairs_of_a_command_line_are_read() -> None:
    assert field_definitions.parse_pairs(["a=1", " b =x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    with pytest.raises(Invalid, match="key=value"):
        field_definitions.parse_pairs(["ward"])
