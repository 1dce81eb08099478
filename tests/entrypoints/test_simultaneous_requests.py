# SPDX-License-Identifier: Apache-2.0
"""Requests at the same moment that exclude each other: one succeeds, and the others are told why they do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from medhub.accounts.models import Membership, User
from medhub.accounts.permissions import Role
from medhub.foundation.app_context import AppContext
from tests.factories.accounts import People, client_of, make_user
from tests.factories.threads import together

TIMES = 6
BODIES: dict[str, Callable[[int, People], Mapping[str, Any]]] = {
    "/api/users": lambda number, people: {
        "email": "New.Person@lab.example" if number % 2 else "new.person@lab.example",
        "name": f"Person {number}",
        "role": "viewer",
        "project_id": people.project_id,
    },
    "/api/projects": lambda _number, _people: {"name": "Cytology"},
    "/api/fields": lambda _number, people: {
        "project_id": people.project_id, "subject": "patient", "key": "ward", "label": "Ward", "kind": "text",
    },
    "/api/dicom-nodes": lambda _number, people: {
        "project_id": people.project_id, "ae_title": "CT_9", "host": "192.0.2.9",
    },
    "/api/patients": lambda _number, people: {
        "project_id": people.project_id, "identity": {"name": "Anna Kowalska", "birth_date": "1980-03-14"},
    },
}  # fmt: skip


@pytest.mark.parametrize("path", sorted(BODIES))
def test_one_of_several_equal_objects_is_created(web_app: FastAPI, app: AppContext, people: People, path: str) -> None:
    clients = [client_of(web_app, app, "administrator@lab.example") for _ in range(TIMES)]

    def create(number: int) -> int:
        return clients[number].post(path, json=BODIES[path](number, people)).status_code

    assert Counter(together(*(lambda n=n: create(n) for n in range(TIMES)))) == {201: 1, 409: TIMES - 1}


def second_administrator(app: AppContext, people: People) -> str:
    with app.database.writing() as session:
        user = make_user("second@lab.example", "The second")
        session.add(user)
        session.flush()
        session.add(Membership(user_id=user.id, project_id=people.project_id, role=Role.ADMINISTRATOR))
    return user.id


def demote(client: TestClient, user_id: str, project_id: str) -> int:
    return client.put(f"/api/users/{user_id}/memberships/{project_id}", json={"role": "viewer"}).status_code


def deactivate(client: TestClient, user_id: str, _project_id: str) -> int:
    return client.patch(f"/api/users/{user_id}", json={"active": False}).status_code


def delete(client: TestClient, user_id: str, _project_id: str) -> int:
    return client.delete(f"/api/users/{user_id}").status_code


@pytest.mark.parametrize("first", [demote, deactivate, delete])
@pytest.mark.parametrize("second", [demote, deactivate])
def test_two_administrators_do_not_remove_each_other(
    web_app: FastAPI,
    app: AppContext,
    people: People,
    first: Callable[[TestClient, str, str], int],
    second: Callable[[TestClient, str, str], int],
) -> None:
    user_ids = second_administrator(app, people), people.user_ids[Role.ADMINISTRATOR]
    clients = [client_of(web_app, app, f"{name}@lab.example") for name in ("administrator", "second")]
    together(
        lambda: first(clients[0], user_ids[0], people.project_id),
        lambda: second(clients[1], user_ids[1], people.project_id),
    )
    with app.database.reading() as session:
        remaining = session.scalar(
            select(func.count())
            .select_from(Membership)
            .join(User, User.id == Membership.user_id)
            .where(Membership.project_id == people.project_id, Membership.role == "administrator", User.active)
        )
    assert remaining == 1
