# SPDX-License-Identifier: Apache-2.0
"""What every answer carries for safety, and how large a request may be."""

from __future__ import annotations

from contextlib import suppress

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medhub.entrypoints.problems import problem

# Uploads stream and have limits of their own; nothing else needs more.
LARGEST_BODY_BYTES = 1024**2
UPLOAD_PATHS = frozenset({"/api/images", "/api/datasets/zip", "/dicom-web/studies"})
UPLOAD_PREFIX = "/dicom-web/studies/"

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'"
)


class _TooLarge(Exception):
    pass


def _is_upload(path: str) -> bool:
    return path in UPLOAD_PATHS or path.startswith(UPLOAD_PREFIX)


class BodyLimit:
    """Ends requests whose body is too large, whatever they say of its length."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the bytes as they come."""
        if scope["type"] != "http" or (scope["method"] == "POST" and _is_upload(scope["path"])):
            await self.app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        answer = problem(413, "Too large", f"At most {LARGEST_BODY_BYTES} bytes are taken here.", "too-large")
        if not declared.isdigit() or int(declared) > LARGEST_BODY_BYTES:
            await answer(scope, receive, send)
            return
        seen, started, over = 0, False, False

        async def counted() -> Message:
            nonlocal seen, over
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > LARGEST_BODY_BYTES:
                over = True
                raise _TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            if over and not started:
                return  # whoever read the body took the interruption for a broken body; the true reason follows
            started = True
            await send(message)

        with suppress(_TooLarge):
            await self.app(scope, counted, noted)
        if over and not started:
            await answer(scope, receive, send)


class SecurityHeaders:
    """Adds the headers that keep a browser from being misled."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add to each answer what it does not say itself."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "no-referrer")
                headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
                headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
                headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
                if scope["path"].startswith("/api/"):
                    headers.setdefault("Cache-Control", "private, no-store")
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        await self.app(scope, receive, with_headers)
