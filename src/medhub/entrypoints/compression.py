# SPDX-License-Identifier: Apache-2.0
"""Compression of texts: the web app, and the JSON, XML and CSV of the API; pictures and DICOM are compressed already.

The length of a compressed response can reveal a secret in it to somebody who adds guesses to the request and watches
the lengths (BREACH). Requests that another site makes a browser send, and responses that set cookies or belong to
accounts and sign-in, are therefore not compressed.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipResponder, IdentityResponder
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MINIMUM_BYTES = 1024
LEVEL = 6
SECRET_PATHS = ("/api/auth", "/api/users", "/metrics")
"""Their responses hold passwords, tokens, codes or counts of sign-ins."""

_MEDIA_TYPES = frozenset(
    (
        *("application/json", "application/dicom+json", "application/problem+json", "application/fhir+json"),
        *("application/javascript", "application/manifest+json", "application/xml", "application/dicom+xml"),
        *("application/x-ndjson", "application/wasm", "application/toml", "image/svg+xml"),
    )
)


class Compression:
    """Compresses texts with gzip for clients that accept it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Choose by the request; the response's type decides then."""
        if scope["type"] != "http" or scope["path"].startswith(SECRET_PATHS):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        foreign = headers.get("sec-fetch-site", "none") in ("cross-site", "same-site")
        accepted = accepts_gzip(headers.get("accept-encoding", "")) and not foreign
        send = _weaken_etag(send)
        if accepted and scope["method"] == "HEAD":
            await self.app(scope, receive, _describe_compressed(send))
            return
        responder = (
            _TextCompressor(self.app, MINIMUM_BYTES, compresslevel=LEVEL)
            if accepted
            else _TextIdentity(self.app, MINIMUM_BYTES)
        )
        await responder(scope, receive, send)


class _TextIdentity(IdentityResponder):
    async def send_with_compression(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = Headers(raw=message.get("headers", []))
            self.exclude_content_types = () if is_compressible(headers) else (_media_type(headers),)
        await super().send_with_compression(message)


class _TextCompressor(_TextIdentity, GZipResponder):
    pass


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether gzip is acceptable by an Accept-Encoding (RFC 9110, section 12.5.3)."""
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        coding, _, parameter = part.partition(";")
        name, _, value = parameter.partition("=")
        try:
            weights[coding.strip()] = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            weights[coding.strip()] = 0.0
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def is_compressible(headers: Mapping[str, str]) -> bool:
    """Whether a response is a text that is smaller compressed, and may be."""
    media_type = _media_type(headers)
    is_text = media_type in _MEDIA_TYPES or (media_type.startswith("text/") and media_type != "text/event-stream")
    must_stay = "set-cookie" in headers or "content-range" in headers
    return is_text and not must_stay and "no-transform" not in headers.get("cache-control", "")


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _describe_compressed(send: Send) -> Send:
    """The headers of a response to HEAD as GET has them, without the length, which is known only after compression."""

    async def send_described(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            length = headers.get("content-length", "")
            large = not length.isdigit() or int(length) >= MINIMUM_BYTES
            if is_compressible(headers):
                headers.add_vary_header("Accept-Encoding")
                if large and "content-encoding" not in headers and message["status"] == 200:
                    headers["content-encoding"] = "gzip"
                    del headers["content-length"]
        await send(message)

    return send_described


def _weaken_etag(send: Send) -> Send:
    """A compressed response has other bytes than the plain one, so its ETag only says that the content is the same."""

    async def send_weakened(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            etag = headers.get("etag", "")
            if headers.get("content-encoding") == "gzip" and etag.startswith('"'):
                headers["etag"] = f"W/{etag}"
        await send(message)

    return send_weakened
