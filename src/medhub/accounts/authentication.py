# SPDX-License-Identifier: Apache-2.0
"""Sign-in and sign-out: random secrets for browsers, short-lived signed tokens for API clients; both can be revoked.

Each sign-in has a database row. A browser holds a random secret, of which only the hash is stored; an API client holds
a JWT (RFC 7519) with the fixed algorithm HS256, whose ``jti`` is the id of the row.
"""

from __future__ import annotations

import hashlib
import mmap
import secrets
import threading
import time
from collections.abc import MutableSequence
from dataclasses import replace
from datetime import timedelta
from typing import Literal

import jwt
from cachetools import TTLCache
from sqlalchemy import ColumnElement, delete, not_, or_, select
from sqlalchemy.orm import Session, joinedload

from medhub.accounts import sign_in_throttle
from medhub.accounts.actor import Actor
from medhub.accounts.models import Membership, SignIn, User
from medhub.accounts.passwords import verify_password
from medhub.accounts.permissions import Role
from medhub.audit.service import AuditAct, record
from medhub.errors import Invalid, NotAuthenticated
from medhub.foundation import clock, ids
from medhub.foundation.app_context import AppContext

ALGORITHM = "HS256"
AUDIENCE = "medhub-api"
# How long a process caches a sign-in. A sign-in that ends in this server is removed from the cache at once.
CACHE_S = 1.0
_CACHED_SIGN_INS = 10_000

Kind = Literal["browser", "token"]


def sign_in(
    app: AppContext, email: str, password: str, kind: Kind, origin: str, previous: str | None = None
) -> tuple[str, User]:
    """Check a password and create a sign-in; the returned secret or token is not stored.

    ``previous`` is the secret that the browser has already; that sign-in ends.
    """
    email = email.strip().lower()
    failure_keys = sign_in_throttle.failure_keys(app.keys, email, origin)
    with app.database.reading() as session:
        sign_in_throttle.refuse_if_blocked(session, failure_keys)
        user = session.scalars(select(User).where(User.email == email)).one_or_none()
        known_hash = user.password_hash if user is not None and user.active else None
        had_failures = sign_in_throttle.has_failures(session, failure_keys)
    # The hash is computed outside of a transaction, because it takes longer than everything else.
    password_matches = verify_password(password, known_hash)
    with app.database.writing() as session:
        if not password_matches or user is None:
            sign_in_throttle.count_failure(session, failure_keys)
            record(
                session,
                AuditAct("account.sign-in", "account", user.id if user else None, origin=origin, outcome="refused"),
            )
        else:
            if had_failures:
                sign_in_throttle.clear_failures(session, failure_keys)
            if previous is not None:
                _end_browser_sign_in(session, previous, origin)
            secret = _create_sign_in(app, session, user, kind)
            record(
                session,
                AuditAct(
                    "account.sign-in", "account", user.id, user.id, user.name[:120], origin=origin, detail={"by": kind}
                ),
            )
            return secret, user
    raise NotAuthenticated("The e-mail address or the password is not right.")


def check_own_password(app: AppContext, actor: Actor, password: str) -> None:
    """Check the password of the signed-in person again, with the same throttling as the sign-in."""
    failure_keys = sign_in_throttle.failure_keys(app.keys, actor.email, actor.origin)
    with app.database.reading() as session:
        sign_in_throttle.refuse_if_blocked(session, failure_keys)
        known_hash = session.scalar(select(User.password_hash).where(User.id == actor.user_id))
    if verify_password(password, known_hash):
        return
    with app.database.writing() as session:
        sign_in_throttle.count_failure(session, failure_keys)
        record(
            session,
            AuditAct(
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


def _create_sign_in(app: AppContext, session: Session, user: User, kind: Kind) -> str:
    moment = clock.now()
    session.execute(delete(SignIn).where(SignIn.user_id == user.id, _has_ended()))
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


def _has_ended() -> ColumnElement[bool]:
    """Sign-ins that have expired, or that began in the future, by a clock that was ahead."""
    now = clock.now()
    return or_(SignIn.expires_at <= now, SignIn.created_at > now + clock.TOLERANCE)


def delete_ended_sign_ins(app: AppContext) -> None:
    """Delete the sign-ins that have ended, so that no change of the clock lets them begin again."""
    with app.database.writing() as session:
        session.execute(delete(SignIn).where(_has_ended()))


def _browser_row(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def row_of_token(app: AppContext, token: str) -> str:
    """The row that an API token refers to, if this installation has signed it and it has not expired."""
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
    """A counter of permission changes in shared memory, for all processes of a server."""

    BYTES = 8

    def __init__(self, memory: MutableSequence[int] | mmap.mmap | None = None) -> None:
        self._memory = memory if memory is not None else bytearray(self.BYTES)

    def read(self) -> bytes:
        """The current count."""
        return bytes(self._memory[: self.BYTES])

    def advance(self) -> None:
        """Count a change; if two processes do so at the same time, the count still differs from before."""
        number = (int.from_bytes(self.read()) + 1) % 2 ** (8 * self.BYTES)
        self._memory[: self.BYTES] = number.to_bytes(self.BYTES)


class SignInCache:
    """Sign-ins that this process has read within the last second, valid while no permissions change."""

    def __init__(self, generation: Generation | None = None) -> None:
        self._lock = threading.Lock()
        self._generation = generation or Generation()
        # The timer is read at each call, so that tests can replace the clock.
        self._actors: TTLCache[str, tuple[bytes, Actor]] = TTLCache(_CACHED_SIGN_INS, CACHE_S, lambda: time.monotonic())
        self._row_ids: TTLCache[str, str] = TTLCache(_CACHED_SIGN_INS, CACHE_S, lambda: time.monotonic())

    def get(self, row_id: str) -> Actor | None:
        """The cached actor of a sign-in."""
        with self._lock:
            generation, actor = self._actors.get(row_id, (b"", None))
        return actor if generation == self._generation.read() else None

    @property
    def generation(self) -> bytes:
        """The generation to read before an actor is loaded, for ``put``: later changes then invalidate the entry."""
        return self._generation.read()

    def put(self, row_id: str, actor: Actor, generation: bytes) -> None:
        """Cache an actor that was loaded in a generation."""
        with self._lock:
            self._actors[row_id] = (generation, actor)

    def row_of_token(self, app: AppContext, token: str) -> str:
        """The row that an API token refers to; its signature is checked at most once a second."""
        with self._lock:
            row_id = self._row_ids.get(token)
        if row_id is None:
            row_id = row_of_token(app, token)
            with self._lock:
                self._row_ids[token] = row_id
        return row_id

    def invalidate(self) -> None:
        """Discard all cached actors in all processes, because permissions have changed."""
        self._generation.advance()
        with self._lock:
            self._actors.clear()


def load_actor(session: Session, row_id: str, kind: Kind) -> Actor:
    """Load the person of a sign-in, with the current roles."""
    row = session.execute(
        select(SignIn, User)
        .join(User, User.id == SignIn.user_id)
        .where(SignIn.id == row_id, SignIn.kind == kind, not_(_has_ended()), User.active)
    ).one_or_none()
    if row is None:
        raise NotAuthenticated("Your sign-in has ended. Sign in again.")
    user: User = row[1]
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


def load_browser_actor(session: Session, secret: str) -> Actor:
    """Load the person of a browser's secret."""
    return load_actor(session, _browser_row(secret), "browser")


def sign_out(session: Session, actor: Actor) -> None:
    """End the current sign-in."""
    session.execute(delete(SignIn).where(SignIn.id == actor.sign_in_id))
    actor.record(session, "account.sign-out", "account", actor.user_id)


def _end_browser_sign_in(session: Session, secret: str, origin: str) -> None:
    """End the sign-in that a browser had before it signs in anew; nothing happens if it has ended already."""
    try:
        actor = load_browser_actor(session, secret)
    except NotAuthenticated:
        session.execute(delete(SignIn).where(SignIn.id == _browser_row(secret), SignIn.kind == "browser"))
        return
    sign_out(session, replace(actor, origin=origin))


def end_sign_ins(session: Session, user_id: str, *, except_id: str | None = None) -> None:
    """End all sign-ins of a person, except one if given."""
    session.execute(delete(SignIn).where(SignIn.user_id == user_id, SignIn.id != (except_id or "")))
