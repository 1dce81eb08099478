# SPDX-License-Identifier: Apache-2.0
"""Classifiers are put into use in one project; other projects neither change nor see it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from medhub.accounts import service as accounts
from medhub.accounts.actor import Actor
from medhub.accounts.independence import SecondPersonNeeded
from medhub.accounts.models import Membership
from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.classification import appointments
from medhub.classification import service as classification
from medhub.classification.registry import get_classifier
from medhub.entrypoints.web import create_app
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.records.pathway import Pathway, get_pathway
from medhub.training import promotions
from medhub.training.models import DataSet, TrainingRun
from medhub.training.promotion_criteria import PromotionCriteria
from tests.factories.accounts import PASSWORD, People, client_of, make_user, signed_in
from tests.factories.cases import make_patient, run_jobs
from tests.factories.colors import COLORS, bring_in, make_classifier, picture, sign_case
from tests.factories.time import MovableClock

Decide = Callable[[Actor, Actor], None]
GENEROUS = PromotionCriteria(margin=0.5, ece=1.0, abstention=1.0, images=1)


@pytest.fixture
def pathway(app: AppContext) -> Pathway:
    return get_pathway(app.settings, COLORS)


@pytest.fixture
def web_app(app: AppContext, people: People) -> FastAPI:
    return create_app(app, run_jobs=False)


@pytest.fixture
def second(app: AppContext) -> str:
    return make_classifier(app.settings.data / "classifiers", "second")


def in_both_projects(app: AppContext, people: People, role: Role) -> Actor:
    """A person with the same role in both projects."""
    with app.database.writing() as session:
        user = make_user(f"both-{role}@lab.example", f"The {role} of both")
        session.add(user)
        session.flush()
        session.add_all(
            Membership(user_id=user.id, project_id=project_id, role=role)
            for project_id in (people.project_id, people.other_project_id)
        )
    return signed_in(app, f"both-{role}@lab.example")


def test_a_project_changes_nothing_in_another(
    app: AppContext, people: People, administrator: Actor, pathway: Pathway, second: str
) -> None:
    outsider = people.outsider(app)
    own = get_classifier(app.settings, pathway.classifier).digest
    with app.database.writing() as session:
        for part in (appointments.SHADOW, appointments.IN_USE):
            appointments.appoint(session, outsider, app.settings, people.other_project_id, pathway, second, part)
        promotions.fix_limits(session, outsider, people.other_project_id, pathway, GENEROUS)
    (image_id,) = bring_in(app, people, make_patient(app, people), picture("red", 1))
    with app.database.reading() as session:
        assert {row.digest for row in classification.predictions_of(session, image_id)} == {own}
        assert promotions.limits_of(session, people.project_id, COLORS) is None
        assert not appointments.can_roll_back(session, app.settings, people.project_id, pathway)
        reading = appointments.by_digest(session, app.settings, [people.project_id])
        assert reading[own, appointments.IN_USE] == [COLORS]
        assert (second, appointments.IN_USE) not in reading
        acts = session.scalars(select(AuditEntry).where(AuditEntry.object_type == "pathway")).all()
        assert {entry.project_id for entry in acts} == {people.other_project_id}


def test_measures_of_a_project_count_its_own_images_only(
    app: AppContext, people: People, pathway: Pathway, second: str
) -> None:
    sign_case(app, people, ["red", "green"], 1)
    researcher, outsider = people.actor(app, Role.RESEARCHER), people.outsider(app)
    for actor, project_id, images in (
        (researcher, people.project_id, 2),
        (outsider, people.other_project_id, 0),
    ):
        with app.database.writing() as session:
            promotions.start_shadow(session, app, actor, project_id, pathway, second)
        with app.database.reading() as session:
            entry = session.scalars(
                select(AuditEntry).where(
                    AuditEntry.action == "classifier.begin-shadow", AuditEntry.project_id == project_id
                )
            ).one()
        assert entry.detail["images"] == images


def test_the_api_asks_which_project_if_there_are_several(
    app: AppContext, web_app: FastAPI, people: People, second: str
) -> None:
    in_both_projects(app, people, Role.ADMINISTRATOR)
    client = client_of(web_app, app, "both-administrator@lab.example")
    path = f"/api/pathways/{COLORS}/shadow"
    refused = client.put(path, json={"digest": second})
    assert refused.status_code == 422
    assert "several projects" in refused.json()["detail"]
    accepted = client.put(path, params={"project_id": people.other_project_id}, json={"digest": second})
    assert accepted.status_code == 200
    assert accepted.json()["project_id"] == people.other_project_id
    other = client.get(f"/api/pathways/{COLORS}/classifiers", params={"project_id": people.project_id})
    assert other.json()["shadow"] is None


def test_a_trained_classifier_is_known_in_its_project_until_somebody_of_both_brings_it_along(
    app: AppContext, web_app: FastAPI, people: People, researcher: Actor, pathway: Pathway, second: str
) -> None:
    write_training(app, researcher, people, second)
    outsider = client_of(web_app, app, "outsider@lab.example")
    assert second not in {row["digest"] for row in outsider.get("/api/classifiers").json()}
    assert outsider.get(f"/api/classifiers/{second}").status_code == 404
    assert outsider.put(f"/api/pathways/{COLORS}/shadow", json={"digest": second}).status_code == 404
    in_both_projects(app, people, Role.RESEARCHER)
    both = client_of(web_app, app, "both-researcher@lab.example")
    project = {"project_id": people.other_project_id}
    assert both.put(f"/api/pathways/{COLORS}/shadow", params=project, json={"digest": second}).status_code == 200
    assert second in {row["digest"] for row in outsider.get("/api/classifiers").json()}


def write_training(app: AppContext, actor: Actor, people: People, digest: str) -> None:
    """Write a training in the first project that made a classifier."""
    creation = {"created_at": clock.now(), "created_by_id": actor.user_id, "created_by": actor.name}
    facts = {"origin": "verdicts", "digest": "0" * 64, "images": 0, "counts": {}, "left_out": {}}
    with app.database.writing() as session:
        session.add(DataSet(id="d", project_id=people.project_id, name="d", version=1, **facts, **creation))
        session.flush()
        run = {"name": "ours", "recipe": "quick", "state": "done", "epochs": {"curve": []}, "classifier": "second"}
        session.add(TrainingRun(id="t", project_id=people.project_id, dataset_id="d", digest=digest, **run, **creation))


# The second person.


def add_person(app: AppContext, people: People, by: Actor | None, email: str, role: Role = Role.ADMINISTRATOR) -> Actor:
    with app.database.writing() as session:
        accounts.add_user(
            session, email=email, name=email, password=PASSWORD, role=role, project_id=people.project_id, actor=by
        )
    return signed_in(app, email)


@pytest.fixture
def decide(app: AppContext, people: People, administrator: Actor, pathway: Pathway, second: str) -> Decide:
    """Have a promotion requested by one person and approved by another, and the state before brought back."""
    sign_case(app, people, ["red", "green"], 1)
    with app.database.writing() as session:
        promotions.fix_limits(session, administrator, people.project_id, pathway, GENEROUS)
        promotions.start_shadow(session, app, administrator, people.project_id, pathway, second)
    run_jobs(app)

    def decide(requester: Actor, approver: Actor) -> None:
        with app.database.writing() as session:
            promotion_id = promotions.request_promotion(
                session,
                app,
                requester,
                project_id=people.project_id,
                digest=second,
                pathway_name=COLORS,
                margin=None,
            ).id
        try:
            with app.database.writing() as session:
                promotions.approve_promotion(session, app, approver, promotion_id, "Better on our images.")
        except SecondPersonNeeded:
            with app.database.writing() as session:
                promotions.reject_promotion(session, app, approver, promotion_id, "Another person decides.")
            raise
        with app.database.writing() as session:
            appointments.roll_back(session, approver, app.settings, people.project_id, pathway)

    return decide


def test_a_person_made_by_the_first_is_no_second_person(
    app: AppContext, people: People, administrator: Actor, researcher: Actor, decide: Decide
) -> None:
    puppet = add_person(app, people, administrator, "puppet@lab.example")
    for requester, approver in ((administrator, puppet), (puppet, administrator)):
        with pytest.raises(SecondPersonNeeded):
            decide(requester, approver)
    decide(researcher, puppet)
    decide(researcher, administrator)


def test_people_made_by_the_same_person_are_no_two_people(
    app: AppContext, people: People, administrator: Actor, researcher: Actor, decide: Decide
) -> None:
    first = add_person(app, people, administrator, "first@lab.example", Role.RESEARCHER)
    second = add_person(app, people, administrator, "second@lab.example")
    third = add_person(app, people, second, "third@lab.example")
    for requester, approver in ((first, second), (first, third), (administrator, third), (first, administrator)):
        with pytest.raises(SecondPersonNeeded):
            decide(requester, approver)


def test_an_account_counts_after_some_days_and_an_appointed_administrator_once_the_operator_agrees(
    app: AppContext, people: People, administrator: Actor, decide: Decide, monkeypatch: pytest.MonkeyPatch
) -> None:
    colleague = add_person(app, people, administrator, "colleague@lab.example", Role.RESEARCHER)
    appointed = add_person(app, people, administrator, "appointed@lab.example")
    time = MovableClock(monkeypatch)
    time.advance(days=app.settings.second_person_days + 1)
    decide(colleague, administrator)
    with pytest.raises(SecondPersonNeeded, match="medhub user role"):
        decide(administrator, appointed)
    with app.database.writing() as session:
        accounts.assign_role(session, appointed.email, people.project_id, Role.ADMINISTRATOR)
    decide(administrator, appointed)


def test_a_promoted_researcher_and_a_person_with_a_password_from_the_first_are_no_second_person(
    app: AppContext, people: People, administrator: Actor, decide: Decide
) -> None:
    promoted = add_person(app, people, None, "promoted@lab.example", Role.RESEARCHER)
    renewed = add_person(app, people, None, "renewed@lab.example", Role.RESEARCHER)
    decide(promoted, administrator)
    decide(renewed, administrator)
    with app.database.writing() as session:
        accounts.set_role(session, administrator, promoted.user_id, people.project_id, Role.ADMINISTRATOR)
        accounts.change_user(session, administrator, renewed.user_id, password=PASSWORD)
    for person in (promoted, renewed):
        with pytest.raises(SecondPersonNeeded):
            decide(person, administrator)
