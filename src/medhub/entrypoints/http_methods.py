# SPDX-License-Identifier: Apache-2.0
"""HTTP methods of all routes (RFC 9110): HEAD, OPTIONS and the Allow header; and pages of other origins (CORS)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from fastapi.routing import RouteContext
from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medhub.entrypoints.problems import problem

# The paths of the API; all other paths belong to the web app, which has its own route.
_API_PATHS = ("/api/", "/dicom-web/")
CROSS_ORIGIN_PATHS = ("/dicom-web/", "/wado", "/api/auth/token")
_METHODS = ("GET", "POST", "DELETE")
_REQUEST_HEADERS = ("Authorization", "Accept", "Content-Type", "If-None-Match", "If-Range", "Range")
_RESPONSE_HEADERS = (
    *("Accept-Ranges", "Content-Length", "Content-Location", "Content-Range", "ETag", "Retry-After", "Warning"),
)


class _HeadersSent(Exception):
    """Stops a route whose content is not needed."""


class HttpMethods:
    """Answers HEAD as GET without content, and OPTIONS; completes the Allow header of a refused method.

    The framework answers for the first route of a path only, which has one method.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[RouteContext]) -> None:
        self.app = app
        self._routes = [
            (compile_path(route.path)[0], frozenset(route.methods or ())) for route in routes if route.path is not None
        ]

    def methods_of(self, path: str) -> list[str]:
        """All methods of a path, including HEAD and OPTIONS; empty where no route has the path."""
        methods = {method for pattern, methods in self._routes if pattern.match(path) for method in methods}
        if "GET" in methods:
            methods.add("HEAD")
        return sorted(methods | {"OPTIONS"}) if methods else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        if method == "HEAD" and "HEAD" in self.methods_of(path):
            await self._answer_head(scope, receive, send)
            return
        if method == "OPTIONS":
            methods = self.methods_of(path)
            if not methods and path.startswith(_API_PATHS):
                await _unknown_route()(scope, receive, send)
                return
            allow = ", ".join(methods or ("GET", "HEAD", "OPTIONS"))
            await Response(status_code=204, headers={"Allow": allow})(scope, receive, send)
            return

        replaced = False

        async def send_with_methods(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and message["status"] in {404, 405}:
                answer = self._check_refusal(scope, message)
                if answer is not None:
                    replaced = True
                    await answer(scope, receive, send)
            if not replaced:
                await send(message)

        await self.app(scope, receive, send_with_methods)

    def _check_refusal(self, scope: Scope, start: Message) -> Response | None:
        """Complete the Allow header; the response instead, where the route of the web app answered for the API."""
        path, status = scope["path"], start["status"]
        if status == 404 and scope.get("route") is not None:  # the framework sets it for the routes of the API only
            return None
        methods = self.methods_of(path)
        if status == 405 and methods:
            MutableHeaders(scope=start)["Allow"] = ", ".join(methods)
        elif status == 404 and methods:
            answer = problem(405, "Method Not Allowed", "Method Not Allowed", "method-not-allowed")
            answer.headers["Allow"] = ", ".join(methods)
            return answer
        elif status == 405 and path.startswith(_API_PATHS):
            return _unknown_route()
        return None

    async def _answer_head(self, scope: Scope, receive: Receive, send: Send) -> None:
        as_get = {**scope, "method": "GET"}

        async def send_headers(message: Message) -> None:
            if message["type"] != "http.response.start":
                return
            if "route" in as_get:
                scope["route"] = as_get["route"]  # for the metrics
            await send(message)
            await send({"type": "http.response.body", "body": b""})
            raise _HeadersSent

        with suppress(_HeadersSent):
            await self.app(as_get, receive, send_headers)


def _unknown_route() -> Response:
    return problem(404, "Not Found", "There is no such route.", "not-found")


class CrossOrigin:
    """Lets pages of configured origins use DICOMweb; they sign in by token, never by the cookie of the web app."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        self.app = app
        self._with_headers = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_RESPONSE_HEADERS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer preflight requests, and add the headers of CORS to responses of DICOMweb."""
        crosses = scope["type"] == "http" and scope["path"].startswith(CROSS_ORIGIN_PATHS)
        await (self._with_headers if crosses else self.app)(scope, receive, send)
