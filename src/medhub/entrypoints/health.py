# SPDX-License-Identifier: Apache-2.0
"""Health, readiness and metrics of the server."""

from __future__ import annotations

import time
from typing import Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medhub import __version__
from medhub.accounts.access import PUBLIC
from medhub.foundation import jobs
from medhub.foundation.app_context import AppContext
from medhub.foundation.logging import get_logger
from medhub.foundation.work_pools import runs_in
from medhub.ingest.journal import count_unreadable

log = get_logger()

routes = APIRouter(tags=["health"])

registry = CollectorRegistry()
_requests = Counter("medhub_http_requests", "Requests answered.", ["method", "route", "status"], registry=registry)
_seconds = Histogram("medhub_http_request_seconds", "Time to the first byte.", ["method", "route"], registry=registry)
_unfinished_jobs = Gauge("medhub_jobs_unfinished", "Jobs that are waiting or running.", registry=registry)
_failed_jobs = Gauge("medhub_jobs_failed", "Jobs that were given up.", registry=registry)
_unreadable_segments = Gauge(
    "medhub_intake_unreadable", "Segments of the intake journal that cannot be read.", registry=registry
)

State = Literal["ok", "failed"]


class Health(BaseModel):
    """The server is running."""

    status: Literal["ok"] = "ok"
    version: str = __version__


class ReadyStatus(BaseModel):
    """The state of each required component."""

    status: Literal["ready", "not ready"]
    database: State
    blobs: State
    jobs: State


@routes.get("/api/health", dependencies=[PUBLIC], summary="Is the server alive")
async def read_health() -> Health:
    """Answers while the server is running."""
    return Health()


@routes.get(
    "/api/ready",
    dependencies=[PUBLIC],
    summary="Can the server work",
    responses={503: {"model": ReadyStatus, "description": "A component does not answer."}},
)
@runs_in("probe")
def read_ready(request: Request, response: Response) -> ReadyStatus:
    """Check the database, the blob store and the job runners."""
    app: AppContext = request.app.state.app_context
    components: dict[str, State] = {"database": "ok", "blobs": "ok", "jobs": "ok"}
    try:
        app.database.check()
        with app.database.reading() as session:
            jobs.count_unfinished(session)
    except Exception as error:
        log.error("ready.database", error=type(error).__name__)
        components["database"] = components["jobs"] = "failed"
    try:
        app.blobs.check()
    except OSError as error:
        log.error("ready.blobs", error=type(error).__name__)
        components["blobs"] = "failed"
    if any(not runner.alive for runner in request.app.state.runners):
        components["jobs"] = "failed"
    ready = all(state == "ok" for state in components.values())
    if not ready:
        response.status_code = 503
    return ReadyStatus(status="ready" if ready else "not ready", **components)


@routes.get(
    "/metrics",
    dependencies=[PUBLIC],
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Metrics."}},
)
@runs_in("probe")
def read_metrics(request: Request) -> Response:
    """Counts and durations by route, without people or patients."""
    app: AppContext = request.app.state.app_context
    with app.database.reading() as session:
        _unfinished_jobs.set(jobs.count_unfinished(session))
        _failed_jobs.set(jobs.count_failed(session))
    _unreadable_segments.set(count_unreadable(app.settings.intake_folder))
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


class Metrics:
    """Measures requests by the path pattern of their route, so that ids are not labels."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Measure status and time of a response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()

        async def send_and_measure(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "page")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                _requests.labels(method, route, message["status"]).inc()
                _seconds.labels(method, route).observe(time.perf_counter() - started)
            await send(message)

        await self.app(scope, receive, send_and_measure)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
