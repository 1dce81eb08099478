# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.errors import Conflict, Invalid, NotAllowed, NotFound
from medhub.foundation.app_context import AppContext
from medhub.nodes import service as nodes
from medhub.nodes.service import NodeRefused
from tests.factories.accounts import People


def node(**values: Any) -> dict[str, Any]:
    """What is known of a node, unless a test says otherwise."""
    usual = {"ae_title": "CT_1", "called_ae": "MEDHUB", "host": "", "port": 0, "only_from_host": False, "tls": False}
    return {**usual, "may_store": True, "may_query": False, **values}


@pytest.fixture
def administrator(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.ADMINISTRATOR)


def add(app: AppContext, actor: Actor, project_id: str, **values: Any) -> str:
    with app.database.writing() as session:
        return nodes.add_node(session, actor, project_id, node(**values)).id


def refusal(app: AppContext, *call: str) -> object:
    with app.database.reading() as session, pytest.raises(NodeRefused) as refused:
        nodes.find_node(session, *call)
    return refused.value.facts["reason"]


def test_a_pair_of_titles_leads_to_one_project(app: AppContext, people: People, administrator: Actor) -> None:
    add(app, administrator, people.project_id)
    outsider = people.outsider(app)
    with pytest.raises(Conflict):
        add(app, outsider, people.other_project_id)
    add(app, outsider, people.other_project_id, called_ae="TRIAL")
    with app.database.reading() as session:
        project_ids = [
            nodes.find_node(session, "CT_1", called, "192.0.2.1").project_id for called in ("MEDHUB", "TRIAL")
        ]
    assert project_ids == [people.project_id, people.other_project_id]
    assert refusal(app, "CT_2", "MEDHUB", "192.0.2.1") == "calling"
    assert refusal(app, "ct_1", "MEDHUB", "192.0.2.1") == "calling"
    assert refusal(app, "CT_1", "OTHER", "192.0.2.1") == "called"


def test_a_node_may_be_bound_to_the_address_of_its_host(app: AppContext, people: People, administrator: Actor) -> None:
    add(app, administrator, people.project_id, host="localhost", port=104, only_from_host=True)
    with app.database.reading() as session:
        nodes.find_node(session, "CT_1", "MEDHUB", "127.0.0.1")
        nodes.find_node(session, "CT_1", "MEDHUB", "::ffff:127.0.0.1")
    assert refusal(app, "CT_1", "MEDHUB", "192.0.2.1") == "host"


@pytest.mark.parametrize(
    "wrong",
    [
        {"ae_title": ""},
        {"ae_title": "CT 1"},
        {"ae_title": "CT\\1"},
        {"ae_title": "SEVENTEEN_LETTERS"},
        {"called_ae": "Röntgen"},
        {"host": "a b", "port": 104},
        {"host": "../etc", "port": 104},
        {"port": 104},
        {"host": "pacs", "port": 70_000},
        {"only_from_host": True},
    ],
)
def test_a_node_that_cannot_be_is_refused(
    app: AppContext, people: People, administrator: Actor, wrong: dict[str, Any]
) -> None:
    with pytest.raises(Invalid):
        add(app, administrator, people.project_id, **wrong)


def test_a_change_holds_what_it_does_not_name_and_is_recorded(
    app: AppContext, people: People, administrator: Actor
) -> None:
    identifier = add(app, administrator, people.project_id, host="pacs", port=104)
    with app.database.writing() as session:
        changed = nodes.change_node(session, administrator, identifier, {"may_query": True, "port": 11112})
        assert (changed.host, changed.port, changed.may_query, changed.may_store) == ("pacs", 11112, True, True)
    with app.database.reading() as session:
        assert nodes.find_destination(session, people.project_id, "CT_1").port == 11112
        with pytest.raises(NotFound):
            nodes.find_destination(session, people.other_project_id, "CT_1")
    with app.database.writing() as session:
        nodes.remove_node(session, administrator, identifier)
    assert refusal(app, "CT_1", "MEDHUB", "192.0.2.1") == "called"
    with app.database.reading() as session:
        acts = list(session.scalars(select(AuditEntry).where(AuditEntry.object_id == identifier)))
    assert [act.action for act in acts] == ["peer.create", "peer.change", "peer.delete"]
    assert acts[1].detail["changed"] == ["may_query", "port"]


def test_only_an_administrator_of_the_project_keeps_its_nodes(
    app: AppContext, people: People, administrator: Actor
) -> None:
    identifier = add(app, administrator, people.project_id)
    technologist, outsider = people.actor(app, Role.TECHNOLOGIST), people.outsider(app)
    with app.database.writing() as session:
        with pytest.raises(NotAllowed):
            nodes.remove_node(session, technologist, identifier)
        with pytest.raises(NotFound):
            nodes.remove_node(session, outsider, identifier)
