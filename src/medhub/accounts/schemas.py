# SPDX-License-Identifier: Apache-2.0
"""Requests and responses of the JSON API for people and projects."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from medhub.accounts.models import User
from medhub.accounts.permissions import PERMISSIONS, Role, permitted_actions
from medhub.foundation.http import IdOrName, Line, Moment, Schema, Text

Email = Annotated[Text, Field(min_length=3, max_length=254, examples=["technologist@example.org"])]
Password = Annotated[Text, Field(min_length=1, max_length=256, examples=["correct horse battery staple"])]


class SignInRequest(Schema):
    """An e-mail address and a password."""

    email: Email
    password: Password


class PasswordChange(Schema):
    """The current password and the new one (at least 12 characters)."""

    current: Password
    new: Annotated[Text, Field(min_length=12, max_length=256)]


class MembershipOut(Schema):
    """The role of a person in a project."""

    project_id: str
    project: str
    role: Role


# Listed in the document of the API, so that a client can only name actions that exist.
Action = Annotated[str, Field(json_schema_extra={"enum": sorted(PERMISSIONS)})]


class OwnMembership(MembershipOut):
    """The role of the signed-in person in a project, and the actions that it permits there."""

    permissions: list[Action]

    @classmethod
    def of(cls, project_id: str, project: str, role: Role) -> OwnMembership:
        """The membership with the actions of its role."""
        return cls(project_id=project_id, project=project, role=role, permissions=permitted_actions(role))


class UserBrief(Schema):
    """The person who is signed in."""

    id: str
    email: str
    name: str


class Me(Schema):
    """The person who is signed in, the roles, and the CSRF token that pages must send with every change."""

    user: UserBrief
    csrf_token: str
    memberships: list[OwnMembership]


class Token(Schema):
    """A short-lived token for API clients."""

    access_token: str
    token_type: str = "bearer"  # noqa: S105 - the name of the scheme
    expires_in: Annotated[int, Field(description="Seconds until the token expires.")]


class UserOut(Schema):
    """A person with an account."""

    id: str
    email: str
    name: str
    active: bool
    created_at: Moment
    last_seen_at: Moment | None
    memberships: list[MembershipOut]

    @classmethod
    def of(cls, user: User, visible: frozenset[str]) -> UserOut:
        """A person with the roles in the visible projects."""
        return cls(
            id=user.id,
            email=user.email,
            name=user.name,
            active=user.active,
            created_at=user.created_at,
            last_seen_at=user.last_seen_at,
            memberships=[
                MembershipOut(project_id=m.project_id, project=m.project.name, role=Role(m.role))
                for m in user.memberships
                if m.project_id in visible
            ],
        )


class UserCreated(UserOut):
    """The new person; a generated password is shown only once."""

    generated_password: str | None = None


class UserCreate(Schema):
    """A new person with a role in a project."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"email": "aisyah@example.org", "name": "Nur Aisyah", "role": "physician"}],
        }
    )

    email: Email
    name: Line
    role: Role
    project_id: Annotated[
        IdOrName | None, Field(description="Id or name; optional for people with a single project.")
    ] = None
    project: Annotated[IdOrName | None, Field(description="The same as project_id.")] = None
    password: Annotated[
        Text | None,
        Field(min_length=12, max_length=256, description="If omitted, Medhub generates one and shows it once."),
    ] = None


class UserChange(Schema):
    """Changes of a person; omitted values stay."""

    name: Line | None = None
    email: Email | None = None
    active: bool | None = None
    password: Annotated[Text, Field(min_length=12, max_length=256)] | None = None
    role: Role | None = None
    project_id: IdOrName | None = None


class RoleChange(Schema):
    """A role."""

    role: Role


class ProjectCreate(Schema):
    """A new project."""

    name: Line
    description: Annotated[Text, Field(max_length=2000)] = ""


class ProjectChange(Schema):
    """Changes of a project; omitted values stay."""

    name: Line | None = None
    description: Annotated[Text, Field(max_length=2000)] | None = None
    erasure_by_two: Annotated[
        bool | None, Field(description="Whether erasing a patient needs two independent administrators.")
    ] = None


class ProjectOut(Schema):
    """One of your projects."""

    id: str
    name: str
    description: str
    erasure_by_two: bool
    created_at: Moment
    my_role: Role
