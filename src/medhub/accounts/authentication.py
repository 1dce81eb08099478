# SPDX-License-Identifier: Apache-2.0
"""Signing in and out: opaque secrets for browsers, short signed tokens for API clients, both revocable at once.

Either way there is a row that makes the sign-in good. What a browser holds is a random secret of which only the hash
is stored; what an API client holds is a JWT (RFC 7519) whose algorithm is fixed to HS256 and whose ``jti`` names
the row.
"""

from __future__ import annotations

import hashlib
import mmap
import secrets
import threading
import time
from collections.abc import MutableSequence
from datetime import timedelta
from typing import Literal

import jwt
from sqlalchemy import delete, select
from sqlalchemy.orm import Session, joinedload

from medhub.accounts import sign_in_throttle
from medhub.accounts.actor import Actor
from medhub.accounts.models import Membership, SignIn, User
from medhub.accounts.passwords import verify_password
from medhub.accounts.permissions import Role
from medhub.audit.service import Act, record
from medhub.errors import Invalid, NotAuthenticated
from medhub.foundation import clock, ids
from medhub.foundation.app_context import AppContext

ALGORITHM = "HS256"
AUDIENCE = "medhub-api"
# For so long a process believes what it last read about a sign-in; one that is ended here ends here at once.
BELIEVED_S = 1.0

Kind = Literal["browser", "token"]


def sign_in(app: AppContext, email: str, password: str, kind: Kind, origin: str) -> tuple[str, User]:
    """Check a password and open a sign-in; the secret or the token is returned, and never stored."""
    email = email.strip().lower()
    counted = sign_in_throttle.guarded(app.keys, email, origin)
    with app.database.reading() as session:
        sign_in_throttle.refuse_if_blocked(session, counted)
        user = session.scalars(select(User).where(User.email == email)).one_or_none()
        known_hash = user.password_hash if user is not None and user.active else None
        had_failures = sign_in_throttle.has_failures(session, counted)
    # The hash is computed outside of any transaction: it takes longer than all the rest.
    good = verify_password(password, known_hash)
    with app.database.writing() as session:
        if not good or user is None:
            sign_in_throttle.count_failure(session, counted)
            record(
                session, Act("account.sign-in", "account", user.id if user else None, origin=origin, outcome="refused")
            )
        else:
            if had_failures:
                sign_in_throttle.forget_failures(session, counted)
            secret = _open(app, session, user, kind)
            record(
                session,
                Act(
                    "account.sign-in", "account", user.id, user.id, user.name[:120], origin=origin, detail={"by": kind}
                ),
            )
            return secret, user
    raise NotAuthenticated("The e-mail address or the password is not right.")


def check_own_password(app: AppContext, actor: Actor, password: str) -> None:
    """Check once more that it is the person; whoever took over a sign-in guesses no faster here than at the door."""
    counted = sign_in_throttle.guarded(app.keys, actor.email, actor.origin)
    with app.database.reading() as session:
        sign_in_throttle.refuse_if_blocked(session, counted)
        known_hash = session.scalar(select(User.password_hash).where(User.id == actor.user_id))
    if verify_password(password, known_hash):
        return
    with app.database.writing() as session:
        sign_in_throttle.count_failure(session, counted)
        record(
            session,
            Act(
                "account.change",
                "account",
                actor.user_id,
                actor.user_id,
                actor.name[:120],
                origin=actor.origin,
                outcome="refused",
            ),
        )
    raise Invalid("The current password is not right.", field="current")


def _open(app: AppContext, session: Session, user: User, kind: Kind) -> str:
    moment = clock.now()
    session.execute(delete(SignIn).where(SignIn.user_id == user.id, SignIn.expires_at < moment))
    if kind == "browser":
        secret = secrets.token_urlsafe(32)
        row_id, expires = _browser_row(secret), moment + timedelta(hours=app.settings.session_hours)
    else:
        row_id, expires = ids.new_id(), moment + timedelta(minutes=app.settings.token_minutes)
        secret = jwt.encode(
            {"sub": user.id, "jti": row_id, "aud": AUDIENCE, "iat": moment, "exp": expires},
            app.keys.derive("api-tokens"),
            algorithm=ALGORITHM,
        )
    session.add(SignIn(id=row_id, user_id=user.id, kind=kind, created_at=moment, expires_at=expires))
    session.get_one(User, user.id).last_seen_at = moment
    return secret


def _browser_row(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def row_of_token(app: AppContext, token: str) -> str:
    """The row that an API token names, if this installation signed it and it has not expired."""
    try:
        claims = jwt.decode(
            token,
            app.keys.derive("api-tokens"),
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            options={"require": ["sub", "jti", "exp", "aud"]},
        )
    except jwt.InvalidTokenError as error:
        raise NotAuthenticated("The token is not valid or has expired. Ask for a new one.") from error
    return str(claims["jti"])


class Generation:
    """Counts how often rights have changed; over shared memory, for all processes of a server together."""

    BYTES = 8

    def __init__(self, memory: MutableSequence[int] | mmap.mmap | None = None) -> None:
        self._memory = memory if memory is not None else bytearray(self.BYTES)

    def read(self) -> bytes:
        """Where the count is."""
        return bytes(self._memory[: self.BYTES])

    def advance(self) -> None:
        """Rights have changed; should two processes say so at once, the count still differs from what it was."""
        number = (int.from_bytes(self.read()) + 1) % 2 ** (8 * self.BYTES)
        self._memory[: self.BYTES] = number.to_bytes(self.BYTES)


class SignInCache:
    """What this process read about sign-ins within the last second, while nobody's rights have changed."""

    def __init__(self, generation: Generation | None = None) -> None:
        self._guard = threading.Lock()
        self._generation = generation or Generation()
        self._actors: dict[str, tuple[float, bytes, Actor]] = {}
        self._tokens: dict[str, tuple[float, str]] = {}

    def get(self, row_id: str) -> Actor | None:
        """The actor of a sign-in, if it was read a moment ago."""
        found = self._actors.get(row_id)
        if found is None or time.monotonic() - found[0] > BELIEVED_S or found[1] != self._generation.read():
            return None
        return found[2]

    @property
    def generation(self) -> bytes:
        """To be read before an actor is, and given to ``put``: what was read before a change is not believed after."""
        return self._generation.read()

    def put(self, row_id: str, actor: Actor, generation: bytes) -> None:
        """Remember an actor for a moment."""
        moment = time.monotonic()
        with self._guard:
            if len(self._actors) > 1000:
                self._actors = {k: v for k, v in self._actors.items() if moment - v[0] <= BELIEVED_S}
            self._actors[row_id] = (moment, generation, actor)

    def row_of_token(self, app: AppContext, token: str) -> str:
        """The row that an API token names; its signature is checked when it comes and a second after."""
        moment = time.monotonic()
        found = self._tokens.get(token)
        if found is not None and moment - found[0] <= BELIEVED_S:
            return found[1]
        row_id = row_of_token(app, token)
        with self._guard:
            if len(self._tokens) > 1000:
                self._tokens = {k: v for k, v in self._tokens.items() if moment - v[0] <= BELIEVED_S}
            self._tokens[token] = (moment, row_id)
        return row_id

    def forget(self) -> None:
        """Read everything anew: somebody's rights have changed."""
        self._generation.advance()
        with self._guard:
            self._actors.clear()


def load_actor(session: Session, row_id: str, kind: Kind) -> Actor:
    """The person whose sign-in this is, with the roles of this moment."""
    found = session.execute(
        select(SignIn, User)
        .join(User, User.id == SignIn.user_id)
        .where(SignIn.id == row_id, SignIn.kind == kind, SignIn.expires_at > clock.now(), User.active)
    ).one_or_none()
    if found is None:
        raise NotAuthenticated("Your sign-in has ended. Sign in again.")
    user: User = found[1]
    memberships = session.scalars(
        select(Membership).where(Membership.user_id == user.id).options(joinedload(Membership.project))
    ).all()
    return Actor(
        user_id=user.id,
        name=user.name,
        email=user.email,
        roles={m.project_id: Role(m.role) for m in memberships},
        project_names={m.project_id: m.project.name for m in memberships},
        sign_in_id=row_id,
    )


def actor_of_secret(session: Session, secret: str) -> Actor:
    """The person whose browser holds this secret."""
    return load_actor(session, _browser_row(secret), "browser")


def sign_out(session: Session, actor: Actor) -> None:
    """End the sign-in with which this came."""
    session.execute(delete(SignIn).where(SignIn.id == actor.sign_in_id))
    actor.record(session, "account.sign-out", "account", actor.user_id)


def end_all(session: Session, user_id: str, *, but: str | None = None) -> None:
    """End every sign-in of a person, except perhaps the one at hand."""
    session.execute(delete(SignIn).where(SignIn.user_id == user_id, SignIn.id != (but or "")))
