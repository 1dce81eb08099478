# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from sqlalchemy import select

from medhub.accounts import service as accounts
from medhub.accounts.actor import Actor
from medhub.accounts.independence import SecondPersonNeeded
from medhub.accounts.permissions import Role
from medhub.errors import Invalid, NotAllowed, NotFound
from medhub.foundation.app_context import AppContext
from medhub.records import erasure, erasure_requests
from medhub.records.models import Erasure, ErasureRequest, Patient
from tests.factories.accounts import People, signed_in
from tests.factories.cases import IDENTITY, make_case, make_patient, use_classifier


@pytest.fixture
def administrator(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.ADMINISTRATOR)


@pytest.fixture
def by_two(app: AppContext, people: People, administrator: Actor) -> None:
    with app.database.writing() as session:
        accounts.change_project(session, administrator, people.project_id, erasure_by_two=True)


def request(app: AppContext, actor: Actor, patient_id: str, reason: str = "Asked for by letter.") -> object:
    with app.database.writing() as session:
        return erasure_requests.request_erasure(session, app, actor, patient_id, reason)


def stays(app: AppContext, patient_id: str) -> bool:
    with app.database.reading() as session:
        return session.get(Patient, patient_id) is not None


def test_what_an_erasure_destroys_is_listed_before(
    app: AppContext, people: People, administrator: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    patient_id = make_patient(app, people)
    make_case(app, people, patient_id, images=2)
    with app.database.reading() as session:
        preview = erasure_requests.preview_erasure(session, administrator, patient_id)
    assert (preview.contents["images"], preview.contents["cases"], preview.contents["identities"]) == (2, 1, 1)
    assert (preview.needs_second_person, preview.request) == (False, None)
    assert "reports" not in preview.contents


def test_an_erasure_needs_a_reason_that_names_nobody(app: AppContext, people: People, administrator: Actor) -> None:
    patient_id = make_patient(app, people)
    name = IDENTITY["name"].replace(",", " ").split()[0]
    for reason, words in (
        ("\u200b", "Write why"),
        (f"Letter of {name.upper()}.", "names the patient"),
        (f"Number {IDENTITY['hospital_number']} asked.", "names the patient"),
    ):
        with pytest.raises(Invalid, match=words):
            request(app, administrator, patient_id, reason)
    assert stays(app, patient_id)
    erased = request(app, administrator, patient_id, " Asked for by letter. ")
    assert isinstance(erased, Erasure)
    with app.database.reading() as session:
        certificate = session.get_one(Erasure, erased.id)
    assert (certificate.reason, certificate.requested_by) == ("Asked for by letter.", None)
    assert not stays(app, patient_id)


@pytest.mark.usefixtures("by_two")
def test_where_the_project_demands_two_people_one_alone_erases_nobody(
    app: AppContext, people: People, administrator: Actor
) -> None:
    patient_id = make_patient(app, people)
    with pytest.raises(erasure.SecondPersonDemanded), app.database.writing() as session:
        erasure.erase_patient(session, app, administrator, patient_id)
    assert isinstance(request(app, administrator, patient_id), ErasureRequest)
    with pytest.raises(erasure_requests.ErasureAlreadyRequested):
        request(app, administrator, patient_id)
    assert stays(app, patient_id)
    with app.database.writing() as session:
        erasure_requests.withdraw_request(session, administrator, patient_id)
    with pytest.raises(erasure_requests.NoErasureRequest), app.database.writing() as session:
        erasure_requests.withdraw_request(session, administrator, patient_id)


@pytest.mark.usefixtures("by_two")
def test_the_second_person_is_independent_of_the_first(app: AppContext, people: People, administrator: Actor) -> None:
    patient_id = make_patient(app, people)
    request(app, administrator, patient_id)
    with pytest.raises(SecondPersonNeeded):
        request(app, _administrator(app, people, administrator), patient_id)
    assert stays(app, patient_id)
    erased = request(app, _administrator(app, people, None), patient_id, "I agree.")
    assert isinstance(erased, Erasure)
    assert (erased.requested_by, erased.erased_by) == (administrator.name, "Another")
    assert erased.reason == "Asked for by letter."
    with app.database.reading() as session:
        assert session.scalars(select(ErasureRequest)).all() == []
    assert not stays(app, patient_id)


def _administrator(app: AppContext, people: People, by: Actor | None) -> Actor:
    """Another administrator, whom an administrator or the operator added."""
    email = f"{'added' if by else 'installed'}@lab.example"
    with app.database.writing() as session:
        accounts.add_user(
            session,
            email=email,
            name="Another",
            password="a long password for tests",
            role=Role.ADMINISTRATOR,
            project_id=people.project_id,
            actor=by,
        )
    return signed_in(app, email)


def test_only_an_administrator_of_the_project_sees_or_requests_an_erasure(app: AppContext, people: People) -> None:
    patient_id = make_patient(app, people)
    for actor, error in ((people.actor(app, Role.PHYSICIAN), NotAllowed), (people.outsider(app), NotFound)):
        with pytest.raises(error):
            request(app, actor, patient_id)
        with pytest.raises(error), app.database.reading() as session:
            erasure_requests.preview_erasure(session, actor, patient_id)
