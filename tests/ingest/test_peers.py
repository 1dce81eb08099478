# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.errors import Conflict, Invalid, NotAllowed, NotFound
from medhub.foundation.installation import Installation
from medhub.ingest import peers
from medhub.ingest.peers import NodeRefused
from tests.factories.accounts import People


def node(**values: Any) -> dict[str, Any]:
    """What is known of a node, unless a test says otherwise."""
    usual = {"ae_title": "CT_1", "called_ae": "MEDHUB", "host": "", "port": 0, "only_from_host": False, "tls": False}
    return {**usual, "may_store": True, "may_query": False, **values}


@pytest.fixture
def administrator(house: Installation, people: People) -> Actor:
    return people.actor(house, Role.ADMINISTRATOR)


def add(house: Installation, actor: Actor, project_id: str, **values: Any) -> str:
    with house.database.writing() as session:
        return peers.add_peer(session, actor, project_id, node(**values)).id


def refusal(house: Installation, *call: str) -> object:
    with house.database.reading() as session, pytest.raises(NodeRefused) as refused:
        peers.find_node(session, *call)
    return refused.value.facts["reason"]


def test_a_pair_of_titles_leads_to_one_project(house: Installation, people: People, administrator: Actor) -> None:
    add(house, administrator, people.project_id)
    other = people.outsider(house)
    with pytest.raises(Conflict):
        add(house, other, people.other_project_id)
    add(house, other, people.other_project_id, called_ae="TRIAL")
    with house.database.reading() as session:
        found = [peers.find_node(session, "CT_1", called, "192.0.2.1").project_id for called in ("MEDHUB", "TRIAL")]
    assert found == [people.project_id, people.other_project_id]
    assert refusal(house, "CT_2", "MEDHUB", "192.0.2.1") == "calling"
    assert refusal(house, "ct_1", "MEDHUB", "192.0.2.1") == "calling"
    assert refusal(house, "CT_1", "OTHER", "192.0.2.1") == "called"


def test_a_node_may_be_bound_to_the_address_of_its_host(
    house: Installation, people: People, administrator: Actor
) -> None:
    add(house, administrator, people.project_id, host="localhost", port=104, only_from_host=True)
    with house.database.reading() as session:
        peers.find_node(session, "CT_1", "MEDHUB", "127.0.0.1")
        peers.find_node(session, "CT_1", "MEDHUB", "::ffff:127.0.0.1")
    assert refusal(house, "CT_1", "MEDHUB", "192.0.2.1") == "host"


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
    house: Installation, people: People, administrator: Actor, wrong: dict[str, Any]
) -> None:
    with pytest.raises(Invalid):
        add(house, administrator, people.project_id, **wrong)


def test_a_change_holds_what_it_does_not_name_and_is_recorded(
    house: Installation, people: People, administrator: Actor
) -> None:
    identifier = add(house, administrator, people.project_id, host="pacs", port=104)
    with house.database.writing() as session:
        changed = peers.change_peer(session, administrator, identifier, {"may_query": True, "port": 11112})
        assert (changed.host, changed.port, changed.may_query, changed.may_store) == ("pacs", 11112, True, True)
    with house.database.reading() as session:
        assert peers.find_destination(session, people.project_id, "CT_1").port == 11112
        with pytest.raises(NotFound):
            peers.find_destination(session, people.other_project_id, "CT_1")
    with house.database.writing() as session:
        peers.remove_peer(session, administrator, identifier)
    assert refusal(house, "CT_1", "MEDHUB", "192.0.2.1") == "called"
    with house.database.reading() as session:
        acts = list(session.scalars(select(AuditEntry).where(AuditEntry.object_id == identifier)))
    assert [act.action for act in acts] == ["peer.create", "peer.change", "peer.delete"]
    assert acts[1].detail["changed"] == ["may_query", "port"]


def test_only_an_administrator_of_the_project_keeps_its_nodes(
    house: Installation, people: People, administrator: Actor
) -> None:
    identifier = add(house, administrator, people.project_id)
    technologist, outsider = people.actor(house, Role.TECHNOLOGIST), people.outsider(house)
    with house.database.writing() as session:
        with pytest.raises(NotAllowed):
            peers.remove_peer(session, technologist, identifier)
        with pytest.raises(NotFound):
            peers.remove_peer(session, outsider, identifier)
