# SPDX-License-Identifier: Apache-2.0
"""The person who acts, and the permissions of this person."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from medhub.accounts.permissions import OWN_ACCOUNT_ACTIONS, PERMISSIONS, Role
from medhub.audit.service import AuditAct, record
from medhub.errors import Invalid, NotAllowed, NotFound


@dataclass(frozen=True)
class Actor:
    """A person who acts, with a role in each project, and the origin of the request."""

    user_id: str
    name: str
    email: str = field(repr=False)
    roles: Mapping[str, Role]
    project_names: Mapping[str, str]
    sign_in_id: str = field(repr=False)
    origin: str = "server"
    is_command_line: bool = False  # has all permissions, since it can read the data folder anyway

    def may(self, action: str, project_id: str) -> bool:
        """Whether the person's role in a project allows an action."""
        if self.is_command_line:
            return True
        role = self.roles.get(project_id)
        return role is not None and role in PERMISSIONS[action]

    def may_anywhere(self, action: str) -> bool:
        """Whether the person's role in any project allows an action, or it concerns the own account alone."""
        return action in OWN_ACCOUNT_ACTIONS or any(role in PERMISSIONS[action] for role in self.roles.values())

    def has_role(self, project_id: str, roles: Collection[Role]) -> bool:
        """Whether the person's role in a project is one of several roles."""
        return self.is_command_line or self.roles.get(project_id) in roles

    def require(self, action: str, project_id: str, object_name: str = "object") -> None:
        """Raise unless the action is allowed; objects of foreign projects count as not existing."""
        if self.is_command_line:
            return
        if project_id not in self.roles:
            raise NotFound(f"There is no such {object_name} in your projects.")
        if not self.may(action, project_id):
            raise NotAllowed(
                f"A {self.roles[project_id]} may not do this here. "
                f"It is for: {', '.join(sorted(PERMISSIONS[action]))}.",
                action=action,
            )

    def projects(self, action: str, project_id: str | None = None) -> frozenset[str]:
        """The projects in which an action is allowed: all of them, or one if given."""
        if project_id is not None:
            self.require(action, project_id, "project")
            return frozenset({project_id})
        return frozenset(project for project in self.roles if self.may(action, project))

    def choose_project(self, action: str, project: str | None) -> str:
        """The id of a project given by id or name; without one, the only project in which the action is allowed."""
        if project is not None:
            by_name = {name: identifier for identifier, name in self.project_names.items()}
            requested = by_name.get(project, project)
            self.require(action, requested, "project")
            return requested
        allowed = self.projects(action)
        if len(allowed) == 1:
            return next(iter(allowed))
        if not allowed:
            raise NotAllowed("You may not do this in any project.", action=action)
        raise Invalid("You belong to several projects. Choose one with project_id.", field="project_id")

    def record(
        self,
        session: Session,
        action: str,
        object_type: str,
        object_id: str | None,
        *,
        project_id: str | None = None,
        patient_id: str | None = None,
        **detail: Any,
    ) -> None:
        """Record an act of this person in the session."""
        record(
            session,
            AuditAct(
                action=action,
                object_type=object_type,
                object_id=object_id,
                actor_id=self.user_id or None,
                actor=self.name[:120],
                project_id=project_id,
                patient_id=patient_id,
                origin=self.origin,
                detail=detail,
            ),
        )


COMMAND_LINE = Actor(
    user_id="",
    name="command line",
    email="",
    roles={},
    project_names={},
    sign_in_id="",
    origin="command line",
    is_command_line=True,
)
