# SPDX-License-Identifier: Apache-2.0
"""Middleware: security headers of all responses, and a size limit for requests."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from starlette.datastructures import MutableHeaders
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medhub.entrypoints.problems import problem

# Of routes that do not declare STREAMED_BODY.
MAX_BODY_BYTES = 1024**2

# Caches store no response of these unless its own Cache-Control allows it.
PRIVATE_PATHS = ("/api/", "/dicom-web", "/wado", "/metrics")

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'"
)


class _TooLarge(Exception):
    pass


class BodyLimit:
    """Refuses requests whose body is too large, whatever their Content-Length says.

    ``streamed`` has the methods and path patterns of the routes that limit their bodies themselves.
    """

    def __init__(self, app: ASGIApp, streamed: Iterable[tuple[frozenset[str], str]]) -> None:
        self.app = app
        self._streamed = [(methods, compile_path(path)[0]) for methods, path in streamed]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the received bytes."""
        if scope["type"] != "http" or self._is_streamed(scope):
            await self.app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        answer = problem(413, "Too large", f"At most {MAX_BODY_BYTES} bytes are accepted here.", "too-large")
        if not declared.isdigit() or int(declared) > MAX_BODY_BYTES:
            await answer(scope, receive, send)
            return
        received, started, too_large = 0, False, False

        async def receive_counted() -> Message:
            nonlocal received, too_large
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                too_large = True
                raise _TooLarge
            return message

        async def send_unless_too_large(message: Message) -> None:
            nonlocal started
            if too_large and not started:
                return  # a response about an incomplete body, caused by the interruption; the true reason follows
            started = True
            await send(message)

        with suppress(_TooLarge):
            await self.app(scope, receive_counted, send_unless_too_large)
        if too_large and not started:
            await answer(scope, receive, send)

    def _is_streamed(self, scope: Scope) -> bool:
        return any(scope["method"] in methods and path.match(scope["path"]) for methods, path in self._streamed)


class SecurityHeaders:
    """Adds security headers to all responses."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers that a response does not set itself."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "no-referrer")
                headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
                headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
                headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
                if scope["path"].startswith(PRIVATE_PATHS):
                    headers.setdefault("Cache-Control", "private, no-store")
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        await self.app(scope, receive, send_with_headers)
