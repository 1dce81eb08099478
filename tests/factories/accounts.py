# SPDX-License-Identifier: Apache-2.0
"""Making people and projects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import jwt
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from medhub.accounts import authentication, service
from medhub.accounts.actor import Actor
from medhub.accounts.models import Membership, SignIn, User
from medhub.accounts.passwords import hash_password
from medhub.accounts.permissions import Role
from medhub.foundation import clock, ids
from medhub.foundation.app_context import AppContext

PASSWORD = "a password of the tests"
# One hash for all: hashing is slow on purpose.
_HASH: list[str] = []


def _hash() -> str:
    if not _HASH:
        _HASH.append(hash_password(PASSWORD))
    return _HASH[0]


@dataclass(frozen=True)
class People:
    """The ids of two projects, of a person of each role in the first, and of an administrator of the second."""

    project_id: str
    other_project_id: str
    user_ids: dict[Role, str]
    outsider_id: str

    def actor(self, app: AppContext, role: Role) -> Actor:
        """The person of a role, signed in."""
        return signed_in(app, f"{role}@lab.example")

    def outsider(self, app: AppContext) -> Actor:
        """The administrator of the other project, signed in."""
        return signed_in(app, "outsider@lab.example")


def make_people(app: AppContext) -> People:
    """Write two projects and their people."""
    with app.database.writing() as session:
        project = service.add_project(session, "Haematology")
        other = service.add_project(session, "Radiology")
        users = {role: make_user(f"{role}@lab.example", f"The {role}") for role in Role}
        outsider = make_user("outsider@lab.example", "The outsider")
        session.add_all([*users.values(), outsider])
        session.flush()
        for role, user in users.items():
            session.add(Membership(user_id=user.id, project_id=project.id, role=role))
        session.add(Membership(user_id=outsider.id, project_id=other.id, role=Role.ADMINISTRATOR))
    return People(project.id, other.id, {role: user.id for role, user in users.items()}, outsider.id)


def make_user(email: str, name: str) -> User:
    """A person who is in no project yet, to be added to a session; the password is the tests' own."""
    return User(id=ids.new_id(), email=email, name=name, password_hash=_hash(), active=True, created_at=clock.now())


def signed_in(app: AppContext, email: str) -> Actor:
    """A person by e-mail address, signed in."""
    with app.database.writing() as session:
        user = session.scalars(select(User).where(User.email == email)).one()
        row_id = ids.new_id()
        session.add(
            SignIn(
                id=row_id,
                user_id=user.id,
                kind="token",
                created_at=clock.now(),
                expires_at=clock.now() + timedelta(hours=1),
            )
        )
        session.flush()
        return authentication.load_actor(session, row_id, "token")


def client_of(web_app: FastAPI, app: AppContext, email: str) -> TestClient:
    """An HTTP client that sends the token of a person."""
    actor = signed_in(app, email)
    token = jwt.encode(
        {
            "sub": actor.user_id,
            "jti": actor.sign_in_id,
            "aud": authentication.AUDIENCE,
            "exp": clock.now() + timedelta(hours=1),
        },
        app.keys.derive("api-tokens"),
        algorithm=authentication.ALGORITHM,
    )
    return TestClient(web_app, headers={"Authorization": f"Bearer {token}"}, raise_server_exceptions=False)


__all__ = ["PASSWORD", "People", "client_of", "make_people", "make_user", "signed_in"]
