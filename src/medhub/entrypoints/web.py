# SPDX-License-Identifier: Apache-2.0
"""The web server: the JSON API, the web app, health and metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from fastapi.telemetry import TelemetryConfig

from medhub import __version__
from medhub.accounts import audit_routes, signing_in
from medhub.accounts import routes as accounts
from medhub.accounts.access import Gate, public
from medhub.accounts.passwords import HASHING_AT_ONCE
from medhub.audit.service import Recorder
from medhub.classification import routes as classification
from medhub.entrypoints import health, pages, problems
from medhub.entrypoints.dicomweb.deleting import deleting
from medhub.entrypoints.dicomweb.rendering import rendering
from medhub.entrypoints.dicomweb.retrieving import retrieving
from medhub.entrypoints.dicomweb.scope import ProjectPaths
from medhub.entrypoints.dicomweb.searching import searching
from medhub.entrypoints.dicomweb.storing import storing
from medhub.entrypoints.flow import abandoned, handlers
from medhub.entrypoints.limits import BodyLimit, SecurityHeaders
from medhub.export import routes as export
from medhub.foundation.installation import Installation
from medhub.foundation.jobs import Runner
from medhub.ingest import archive_routes, deid_routes, peer_routes
from medhub.ingest import routes as ingest
from medhub.records import moving_routes as moving
from medhub.records import routes as records
from medhub.reports import routes as reports
from medhub.review import routes as review
from medhub.training import routes as training
from medhub.viewing import routes as viewing

ROUTERS: tuple[APIRouter, ...] = (
    accounts.auth,
    accounts.people,
    accounts.projects,
    records.fields,
    review.overview,
    records.patients,
    records.erasures,
    records.study_routes,
    records.series_routes,
    moving.images,
    moving.series,
    ingest.uploads,
    ingest.arrivals,
    deid_routes.projects,
    archive_routes.projects,
    deid_routes.images,
    peer_routes.peers,
    review.images,
    viewing.images,
    classification.images,
    classification.classifiers,
    review.cases,
    reports.cases,
    reports.reports,
    training.datasets,
    training.training,
    training.classifiers,
    training.promotions,
    training.pathways,
    export.exports,
    audit_routes.audit_routes,
    searching,
    retrieving,
    rendering,
    storing,
    deleting,
)

DESCRIPTION = """
Medical images from arrival to signed report.

Sign in with `POST /api/auth/token` and send the token as `Authorization: Bearer`. Lists come in pages. What goes wrong
is told as a problem (RFC 9457) whose `detail` says what happened and what to do.
"""


NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
# More would only wait for one another: most of what they do holds the interpreter.
THREADS = 8


class RouteWithoutGate(RuntimeError):
    """A route names nobody who may call it."""


def create_app(
    house: Installation,
    *,
    run_jobs: bool | None = None,
    web: Path | None = None,
    generation: signing_in.Generation | None = None,
) -> FastAPI:
    """The application of an installation; ``run_jobs`` says whether this process runs jobs too."""
    runners = house.settings.job_runners if run_jobs is None else int(run_jobs)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        for runner in app.state.runners:
            runner.start()
        yield
        for runner in app.state.runners:
            runner.stop()

    app = FastAPI(
        title="Medhub",
        version=__version__,
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=life,
        # The framework's own would write the texts of exceptions, and send them where its environment variables say.
        telemetry=NO_TELEMETRY,
        responses=problems.RESPONSES,
        generate_unique_id_function=lambda route: f"{route.tags[0] if route.tags else 'x'}-{route.name}".replace(
            " ", "-"
        ),
    )
    app.state.house = house
    app.state.believed = signing_in.Believed(generation)
    app.state.signing_in = CapacityLimiter(HASHING_AT_ONCE)
    app.state.recorder = Recorder(lambda: house.database)
    app.state.runners = [
        Runner(house.database, handlers(house), abandoned=abandoned(house), lease_s=house.settings.job_lease_s)
        for _ in range(runners)
    ]
    for router in (*ROUTERS, health.routes):
        app.include_router(router)
    problems.install(app)
    refuse_routes_without_gate(app)
    pages.install(app, web if web is not None else house.settings.web or pages.built_web_app())
    app.add_middleware(BodyLimit)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(health.Metrics)
    app.add_middleware(ProjectPaths)
    return app


def routes_of(app: FastAPI) -> Iterator[RouteContext]:
    """Every route of the application, those of included routers too: ``app.routes`` holds the routers, not these."""
    return iter_route_contexts(app.routes)


def refuse_routes_without_gate(app: FastAPI) -> None:
    """Deny by default: each route says which action it is, or that anybody may call it."""
    for route in routes_of(app):
        if isinstance(route.original_route, APIRoute) and gate_of(route) is None:
            raise RouteWithoutGate(f"{sorted(route.methods or ())} {route.path} names nobody who may call it")


def gate_of(route: RouteContext) -> str | None:
    """The action of a route, "public", or none."""
    for dependency in route.dependant.dependencies:
        if isinstance(dependency.call, Gate):
            return dependency.call.action
        if dependency.call is public:
            return "public"
    return None
