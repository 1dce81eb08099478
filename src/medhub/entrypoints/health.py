# SPDX-License-Identifier: Apache-2.0
"""Whether the server lives, whether it can work, and what it has done."""

from __future__ import annotations

import time
from typing import Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel
from sqlalchemy import select
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medhub import __version__
from medhub.accounts.access import PUBLIC
from medhub.foundation import jobs
from medhub.foundation.app_context import AppContext
from medhub.foundation.logging import get_logger
from medhub.ingest.journal import unreadable

log = get_logger()

routes = APIRouter(tags=["health"])

registry = CollectorRegistry()
_requests = Counter("medhub_http_requests", "Requests answered.", ["method", "route", "status"], registry=registry)
_seconds = Histogram("medhub_http_request_seconds", "Time to the first byte.", ["method", "route"], registry=registry)
_jobs_open = Gauge("medhub_jobs_unfinished", "Jobs that wait or run.", registry=registry)
_intake_unreadable = Gauge(
    "medhub_intake_unreadable", "Segments of the intake journal that cannot be read, and are kept.", registry=registry
)

State = Literal["ok", "failed"]


class Health(BaseModel):
    """The server lives."""

    status: Literal["ok"] = "ok"
    version: str = __version__


class ReadyStatus(BaseModel):
    """Whether each part that is needed answers."""

    status: Literal["ready", "not ready"]
    database: State
    blobs: State
    jobs: State


@routes.get("/api/health", dependencies=[PUBLIC], summary="Is the server alive")
def read_health() -> Health:
    """Answers as long as the server lives."""
    return Health()


@routes.get(
    "/api/ready",
    dependencies=[PUBLIC],
    summary="Can the server work",
    responses={503: {"model": ReadyStatus, "description": "A part does not answer."}},
)
def read_ready(request: Request, response: Response) -> ReadyStatus:
    """Asks the database, the blob store and the job runners."""
    app: AppContext = request.app.state.app_context
    parts: dict[str, State] = {"database": "ok", "blobs": "ok", "jobs": "ok"}
    try:
        app.database.check()
        with app.database.reading() as session:
            session.scalar(select(jobs.Job.id).limit(1))
    except Exception as error:
        log.error("ready.database", error=type(error).__name__)
        parts["database"] = parts["jobs"] = "failed"
    try:
        app.blobs.check()
    except OSError as error:
        log.error("ready.blobs", error=type(error).__name__)
        parts["blobs"] = "failed"
    if any(not runner.alive for runner in request.app.state.runners):
        parts["jobs"] = "failed"
    ready = all(state == "ok" for state in parts.values())
    if not ready:
        response.status_code = 503
    return ReadyStatus(status="ready" if ready else "not ready", **parts)


@routes.get(
    "/metrics",
    dependencies=[PUBLIC],
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Figures."}},
)
def read_metrics(request: Request) -> Response:
    """Counts and durations by route, never by person or patient."""
    app: AppContext = request.app.state.app_context
    with app.database.reading() as session:
        _jobs_open.set(jobs.count_unfinished(session))
    _intake_unreadable.set(unreadable(app.settings.intake_folder))
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


class Metrics:
    """Counts requests by the pattern of their route, so that no id becomes a label."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note status and time of each answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "page")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                _requests.labels(method, route, message["status"]).inc()
                _seconds.labels(method, route).observe(time.perf_counter() - began)
            await send(message)

        await self.app(scope, receive, noted)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
