# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from medhub.accounts import service
from medhub.accounts.actor import COMMAND_LINE, Actor
from medhub.accounts.authentication import sign_in
from medhub.accounts.models import Membership, User
from medhub.accounts.permissions import PERMISSIONS, Role
from medhub.errors import Conflict, Invalid, NotAllowed, NotAuthenticated, NotFound
from medhub.foundation import clock, ids
from medhub.foundation.app_context import AppContext
from medhub.records.service import add_patient
from tests.factories.accounts import PASSWORD, People, signed_in


@pytest.fixture
def administrator(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.ADMINISTRATOR)


def add(app: AppContext, people: People, email: str, name: str, role: Role, project_id: str | None = None) -> str:
    with app.database.writing() as session:
        user = User(id=ids.new_id(), email=email, name=name, password_hash="x", created_at=clock.now())
        session.add(user)
        session.flush()
        session.add(Membership(user_id=user.id, project_id=project_id or people.project_id, role=role))
        return user.id


def list_names(app: AppContext, actor: Actor, **wanted: Any) -> tuple[list[str], int]:
    asked = {
        **dict.fromkeys(("query", "role", "active", "project_id", "sort")),
        **{"offset": 0, "limit": 50},
        **wanted,
    }
    with app.database.reading() as session:
        users, total = service.list_users(session, actor, **asked)
        return [user.name for user in users], total


def test_people_are_found_by_name_and_address_whatever_the_case_and_accent(
    app: AppContext, people: People, administrator: Actor
) -> None:
    add(app, people, "elodie@lab.example", "Élodie Çelik", Role.PHYSICIAN)
    add(app, people, "chen@lab.example", "陈美玲", Role.TECHNOLOGIST)
    assert list_names(app, administrator, query="ÉLODIE ç")[0] == ["Élodie Çelik"]
    assert list_names(app, administrator, query="美玲")[0] == ["陈美玲"]
    assert list_names(app, administrator, query="CHEN@")[0] == ["陈美玲"]
    assert list_names(app, administrator, query="100%") == ([], 0)
    assert list_names(app, administrator, query="_") == ([], 0)


def test_people_are_filtered_sorted_and_paged_in_the_database(
    app: AppContext, people: People, administrator: Actor
) -> None:
    for number in range(25):
        add(app, people, f"p{number:02}@lab.example", f"person {number:02}", Role.VIEWER)
    names = [f"person {number:02}" for number in range(25)]
    statements: list[str] = []
    event.listen(app.database.engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    page, total = list_names(app, administrator, query="person", sort="-name", offset=10, limit=10)
    assert (page, total) == (names[::-1][10:20], 25)
    assert any("LIMIT" in statement for statement in statements)
    assert list_names(app, administrator, role=Role.VIEWER, query="person 0", sort="email")[0] == names[:10]
    assert list_names(app, administrator, role=Role.PHYSICIAN)[1] == 1
    assert list_names(app, administrator, active=False) == ([], 0)
    with pytest.raises(Invalid, match="cannot be sorted"):
        list_names(app, administrator, sort="password_hash")


def test_only_people_of_ones_own_projects_are_seen(app: AppContext, people: People, administrator: Actor) -> None:
    names, total = list_names(app, administrator)
    assert (len(names), total) == (len(Role), len(Role))
    assert "The outsider" not in names
    with pytest.raises(NotFound):
        list_names(app, administrator, project_id=people.other_project_id)
    with pytest.raises(service.UserNotFound), app.database.reading() as session:
        service.get_user(session, administrator, people.outsider_id)


def test_a_new_person_can_sign_in(app: AppContext, people: People, administrator: Actor) -> None:
    with app.database.writing() as session:
        user = service.add_user(
            session,
            email=" Nur@Lab.Example ",
            name=" Nur Aisyah ",
            password=PASSWORD,
            role=Role.PHYSICIAN,
            project_id=people.project_id,
            actor=administrator,
        )
    assert (user.email, user.name) == ("nur@lab.example", "Nur Aisyah")
    _, signed = sign_in(app, "nur@lab.example", PASSWORD, "token", "127.0.0.1")
    assert signed.id == user.id


@pytest.mark.parametrize("email", ["", "nobody", "@lab.example", "a@", "a b@c", "x" * 251 + "@a.b"])
def test_what_is_no_address_is_refused(app: AppContext, people: People, email: str) -> None:
    with pytest.raises(Invalid, match="not an e-mail address"), app.database.writing() as session:
        service.add_user(
            session, email=email, name="x", password=PASSWORD, role=Role.VIEWER, project_id=people.project_id
        )


def test_an_address_belongs_to_one_account(app: AppContext, people: People, administrator: Actor) -> None:
    with pytest.raises(service.EmailTaken), app.database.writing() as session:
        service.add_user(
            session,
            email="VIEWER@lab.example",
            name="x",
            password=PASSWORD,
            role=Role.VIEWER,
            project_id=people.project_id,
        )
    with pytest.raises(service.EmailTaken), app.database.writing() as session:
        service.change_user(session, administrator, people.user_ids[Role.VIEWER], email="patient@lab.example")


def test_nobody_is_added_to_a_project_by_who_does_not_administer_it(
    app: AppContext, people: People, administrator: Actor
) -> None:
    physician = people.actor(app, Role.PHYSICIAN)
    for actor, project_id, refusal in (
        (physician, people.project_id, NotAllowed),
        (administrator, people.other_project_id, NotFound),
    ):
        with pytest.raises(refusal), app.database.writing() as session:
            service.add_user(
                session,
                email="new@lab.example",
                name="x",
                password=PASSWORD,
                role=Role.VIEWER,
                project_id=project_id,
                actor=actor,
            )


def test_an_administrator_of_one_project_does_not_change_the_account_of_somebody_in_two(
    app: AppContext, people: People, administrator: Actor
) -> None:
    shared = people.user_ids[Role.PHYSICIAN]
    with app.database.writing() as session:
        session.add(Membership(user_id=shared, project_id=people.other_project_id, role=Role.PHYSICIAN))
    for change in ({"password": "a password for stealing"}, {"email": "mine@lab.example"}, {"active": False}):
        with pytest.raises(NotAllowed), app.database.writing() as session:
            service.change_user(session, administrator, shared, **change)
    with pytest.raises(NotAllowed), app.database.writing() as session:
        service.delete_user(session, administrator, shared)
    with app.database.writing() as session:  # the role in the own project is the administrator's matter
        service.set_role(session, administrator, shared, people.project_id, Role.VIEWER)
    assert signed_in(app, "physician@lab.example").roles == {
        people.project_id: Role.VIEWER,
        people.other_project_id: Role.PHYSICIAN,
    }


def test_a_project_keeps_an_active_administrator(app: AppContext, people: People, administrator: Actor) -> None:
    own = administrator.user_id
    acts: list[Any] = [
        lambda s: service.change_user(s, administrator, own, active=False),
        lambda s: service.set_role(s, administrator, own, people.project_id, Role.VIEWER),
        lambda s: service.remove_role(s, administrator, own, people.project_id),
    ]
    for act in acts:
        with pytest.raises(Conflict, match="the last one"), app.database.writing() as session:
            act(session)
    add(app, people, "second@lab.example", "Second", Role.ADMINISTRATOR)
    with app.database.writing() as session:
        service.set_role(session, administrator, own, people.project_id, Role.VIEWER)


def test_an_administrator_who_is_not_active_does_not_count(
    app: AppContext, people: People, administrator: Actor
) -> None:
    second = add(app, people, "second@lab.example", "Second", Role.ADMINISTRATOR)
    with app.database.writing() as session:
        service.change_user(session, administrator, second, active=False)
    with pytest.raises(Conflict), app.database.writing() as session:
        service.set_role(session, administrator, administrator.user_id, people.project_id, Role.VIEWER)


def test_who_worked_on_patients_data_is_deactivated_and_not_deleted(
    app: AppContext, people: People, administrator: Actor
) -> None:
    technologist = people.actor(app, Role.TECHNOLOGIST)
    with app.database.writing() as session:
        add_patient(session, app.keys, technologist, project_id=people.project_id)
    with pytest.raises(Conflict, match="Deactivate"), app.database.writing() as session:
        service.delete_user(session, administrator, technologist.user_id)
    with app.database.writing() as session:
        service.delete_user(session, administrator, people.user_ids[Role.VIEWER])
    with app.database.reading() as session:
        assert session.get(User, people.user_ids[Role.VIEWER]) is None


def test_nobody_deletes_the_own_account(app: AppContext, people: People, administrator: Actor) -> None:
    add(app, people, "second@lab.example", "Second", Role.ADMINISTRATOR)
    with pytest.raises(Conflict, match="your own"), app.database.writing() as session:
        service.delete_user(session, administrator, administrator.user_id)


def test_nobody_is_left_without_any_project(app: AppContext, people: People, administrator: Actor) -> None:
    viewer = people.user_ids[Role.VIEWER]
    with pytest.raises(Conflict, match="only project"), app.database.writing() as session:
        service.remove_role(session, administrator, viewer, people.project_id)
    with app.database.writing() as session:
        session.add(Membership(user_id=viewer, project_id=people.other_project_id, role=Role.VIEWER))
    with app.database.writing() as session:
        service.remove_role(session, administrator, viewer, people.project_id)
    assert signed_in(app, "viewer@lab.example").roles == {people.other_project_id: Role.VIEWER}


def test_the_own_password_is_changed_only_by_who_knows_it(app: AppContext, people: People) -> None:
    viewer = people.actor(app, Role.VIEWER)
    with pytest.raises(Invalid) as caught, app.database.writing() as session:
        service.change_own_password(session, viewer, "not this one", "another password of mine")
    assert caught.value.facts["field"] == "current"
    with pytest.raises(Invalid, match="at least"), app.database.writing() as session:
        service.change_own_password(session, viewer, PASSWORD, "short")
    sign_in(app, "viewer@lab.example", PASSWORD, "token", "127.0.0.1")


def test_a_password_set_by_an_administrator_replaces_the_old_one(
    app: AppContext, people: People, administrator: Actor
) -> None:
    with app.database.writing() as session:
        service.change_user(
            session, administrator, people.user_ids[Role.VIEWER], password="given by the office", name="New Name"
        )
    with pytest.raises(NotAuthenticated):
        sign_in(app, "viewer@lab.example", PASSWORD, "token", "127.0.0.1")
    _, user = sign_in(app, "viewer@lab.example", "given by the office", "token", "127.0.0.1")
    assert user.name == "New Name"


def test_projects_have_names_of_their_own(app: AppContext, people: People, administrator: Actor) -> None:
    with pytest.raises(service.ProjectNameTaken), app.database.writing() as session:
        service.add_project(session, " Haematology ", "", administrator)
    with pytest.raises(service.ProjectNameTaken), app.database.writing() as session:
        service.change_project(session, administrator, people.project_id, name="Radiology", description=None)
    with pytest.raises(Invalid, match="needs a name"), app.database.writing() as session:
        service.add_project(session, "  ", "", administrator)
    with app.database.writing() as session:
        project = service.add_project(session, "Trial", "", administrator)
    assert signed_in(app, "administrator@lab.example").roles[project.id] == Role.ADMINISTRATOR


def test_projects_are_searched_and_paged(app: AppContext, people: People, administrator: Actor) -> None:
    with app.database.writing() as session:
        for name in ("Écho", "Alpha", "beta"):
            service.add_project(session, name, "", administrator)
    actor = signed_in(app, "administrator@lab.example")
    with app.database.reading() as session:
        page, total = service.list_projects(session, actor, query=None, sort="name", offset=1, limit=2)
        assert ([project.name for project in page], total) == (["beta", "Haematology"], 4)
        (project,), total = service.list_projects(session, actor, query="éCHO", sort=None, offset=0, limit=9)
        assert (project.name, total) == ("Écho", 1)


def test_a_project_with_records_stays(app: AppContext, people: People, administrator: Actor) -> None:
    with app.database.writing() as session:
        add_patient(session, app.keys, administrator, project_id=people.project_id)
    with pytest.raises(Conflict, match="Erase its patients"), app.database.writing() as session:
        service.delete_project(session, administrator, people.project_id)
    outsider = people.outsider(app)
    with app.database.writing() as session:
        service.delete_project(session, outsider, people.other_project_id)
    with pytest.raises(NotFound), app.database.reading() as session:
        service.find_project(session, "Radiology")


def test_a_project_is_found_by_id_or_name_and_a_wrong_name_lists_those_there_are(
    app: AppContext, people: People
) -> None:
    with app.database.reading() as session:
        assert service.find_project(session, "Haematology").id == people.project_id
        assert service.find_project(session, people.project_id).name == "Haematology"
        with pytest.raises(NotFound, match="Haematology, Radiology"):
            service.find_project(session, "Cardiology")


def test_what_is_not_in_the_table_is_allowed_to_nobody(app: AppContext, people: People) -> None:
    for role in Role:
        actor = people.actor(app, role)
        for action, roles in PERMISSIONS.items():
            assert actor.may(action, people.project_id) == (role in roles)
            assert not actor.may(action, people.other_project_id)
        with pytest.raises(KeyError):
            actor.may("something.else", people.project_id)


def test_a_foreign_project_is_not_even_there(app: AppContext, people: People, administrator: Actor) -> None:
    with pytest.raises(NotFound):
        administrator.require("patient.read", people.other_project_id)
    with pytest.raises(NotAllowed, match="administrator"):
        people.actor(app, Role.VIEWER).require("patient.erase", people.project_id)


def test_the_project_that_is_meant_is_the_only_one_or_must_be_named(app: AppContext, people: People) -> None:
    technologist = people.actor(app, Role.TECHNOLOGIST)
    assert technologist.choose_project("patient.create", None) == people.project_id
    assert technologist.choose_project("patient.create", "Haematology") == people.project_id
    with pytest.raises(NotAllowed):
        people.actor(app, Role.VIEWER).choose_project("patient.create", None)
    with app.database.writing() as session:
        session.add(
            Membership(user_id=technologist.user_id, project_id=people.other_project_id, role=Role.TECHNOLOGIST)
        )
    with pytest.raises(Invalid, match="Choose one with project_id"):
        people.actor(app, Role.TECHNOLOGIST).choose_project("patient.create", None)


def test_an_actor_is_printed_without_address_and_sign_in(app: AppContext, people: People) -> None:
    shown = repr(people.actor(app, Role.VIEWER))
    assert "viewer@lab.example" not in shown
    assert "sign_in_id" not in shown


def test_the_command_line_acts_for_the_owner_of_the_machine(app: AppContext, people: People) -> None:
    assert COMMAND_LINE.may("patient.erase", people.project_id)
    COMMAND_LINE.require("patient.erase", people.other_project_id)
