# SPDX-License-Identifier: Apache-2.0
"""Tables of users, projects, memberships, sign-ins and failed sign-ins."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column, relationship

from medhub.foundation.database import Base


class Project(Base):
    """The unit of access control: a department or a trial."""

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    description: Mapped[str] = mapped_column(Text, default="")
    erasure_by_two: Mapped[bool] = mapped_column(default=False, server_default=false())  # erasing needs two people
    created_at: Mapped[datetime]


class User(Base):
    """A person with an account."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    password_hash: Mapped[str] = mapped_column(String(200))
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime | None]

    memberships: Mapped[list[Membership]] = relationship(
        back_populates="user", lazy="raise", cascade="all, delete-orphan", order_by="Membership.project_id"
    )


class Membership(Base):
    """The role of a person in a project."""

    __tablename__ = "memberships"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(String(16))

    user: Mapped[User] = relationship(back_populates="memberships", lazy="raise")
    project: Mapped[Project] = relationship(lazy="raise")


class AccountGrant(Base):
    """What one person gave another: the account, a password, or the role of an administrator."""

    __tablename__ = "account_grants"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    by_id: Mapped[str | None] = mapped_column(String(32))  # none: the operator, on the command line
    kind: Mapped[str] = mapped_column(String(16))  # account, administrator, password
    at: Mapped[datetime]


class SignIn(Base):
    """An active sign-in of a browser or an API client; deleting the row ends it."""

    __tablename__ = "sign_ins"

    # For a browser the SHA-256 of the secret in its cookie, for an API token its id (jti).
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(8))  # browser, token
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class FailedSignIn(Base):
    """The failed sign-ins of an account, an address or both, which are stored as a keyed hash."""

    __tablename__ = "failed_sign_ins"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int] = mapped_column(default=0)
    last_at: Mapped[datetime]  # until then earlier failures have decayed
    blocked_until: Mapped[datetime | None]
