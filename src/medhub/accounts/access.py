# SPDX-License-Identifier: Apache-2.0
"""Authentication and permissions of routes.

``entrypoints/web.py`` refuses to build an application in which a route has neither ``allow(action)`` nor ``PUBLIC``.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from fastapi import Depends, Request
from fastapi.params import Depends as DependsParameter
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from medhub.accounts import authentication
from medhub.accounts.actor import Actor
from medhub.accounts.permissions import PERMISSIONS
from medhub.errors import NotAllowed, NotAuthenticated
from medhub.foundation.app_context import AppContext

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
COOKIE = "medhub"
SECURE_COOKIE = "__Host-medhub"


@dataclass(frozen=True)
class Call:
    """A request by a signed-in person, with the app context."""

    app: AppContext
    actor: Actor
    sign_in_cache: authentication.SignInCache

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that reads."""
        with self.app.database.reading() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that writes, and commits at the end of the block."""
        with self.app.database.writing() as session:
            yield session


def origin_of(request: Request) -> str:
    """The address of the client."""
    return request.client.host[:64] if request.client else "unknown"


def csrf_token(app: AppContext, sign_in_id: str) -> str:
    """The token that a page must send with every change; it is bound to the sign-in."""
    return hmac.new(app.keys.derive("csrf"), sign_in_id.encode(), hashlib.sha256).hexdigest()


def secret_in_cookie(request: Request) -> str | None:
    """The secret that a browser sends, if any.

    Over HTTPS only the prefixed cookie counts: other sites of the domain and plain HTTP can set the unprefixed one.
    """
    secret = request.cookies.get(SECURE_COOKIE)
    return secret if secret or request.url.scheme == "https" else request.cookies.get(COOKIE)


async def authenticate(request: Request) -> Call:
    """Authenticate a request by API token or cookie; a change by cookie also needs the CSRF token."""
    app: AppContext = request.app.state.app_context
    sign_in_cache: authentication.SignInCache = request.app.state.sign_in_cache
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    by_cookie = False
    if credential and scheme.lower() == "bearer":
        kind: authentication.Kind = "token"
        row_id = sign_in_cache.row_of_token(app, credential.strip())
    elif secret := secret_in_cookie(request):
        kind, by_cookie = "browser", True
        row_id = hashlib.sha256(secret.encode()).hexdigest()
    else:
        raise NotAuthenticated("Sign in first.")
    actor = sign_in_cache.get(row_id)
    if actor is None:
        generation = sign_in_cache.generation
        actor = await run_in_threadpool(_load_actor, app, row_id, kind)
        sign_in_cache.put(row_id, actor, generation)
    if by_cookie and request.method not in SAFE_METHODS:
        _check_csrf(request, app, actor)
    return Call(app, replace(actor, origin=origin_of(request)), sign_in_cache)


def _load_actor(app: AppContext, row_id: str, kind: authentication.Kind) -> Actor:
    with app.database.reading() as session:
        return authentication.load_actor(session, row_id, kind)


def _check_csrf(request: Request, app: AppContext, actor: Actor) -> None:
    token = request.headers.get("x-csrf-token", "")
    origin = request.headers.get("origin")
    is_foreign = origin is not None and origin.partition("://")[2] != request.headers.get("host", "")
    if is_foreign or not hmac.compare_digest(token.encode(), csrf_token(app, actor.sign_in_id).encode()):
        raise NotAllowed(
            "This request did not come from a page of Medhub. Reload the page and try again.", action="csrf"
        )


class Gate:
    """The dependency that checks the permission of a route; tests read its action."""

    def __init__(self, action: str) -> None:
        if action not in PERMISSIONS:
            raise ValueError(f"{action} is not in the table of permissions")
        self.action = action

    async def __call__(self, request: Request) -> Call:
        """Refuse a person without any role that allows the action; the use case checks the project of the object."""
        call = await authenticate(request)
        request.state.action, request.state.call = self.action, call
        if not call.actor.may_anywhere(self.action):
            raise NotAllowed(
                f"None of your roles allows this. It is for: {', '.join(sorted(PERMISSIONS[self.action]))}.",
                action=self.action,
            )
        return call


def allow(action: str) -> DependsParameter:
    """The dependency of a route for people who may do the action in some project."""
    gate: Callable[[Request], Awaitable[Call]] = Gate(action)
    return Depends(gate)  # type: ignore[no-any-return]


def public() -> None:
    """Marks a public route."""


PUBLIC = Depends(public)
