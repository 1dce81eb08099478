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
from medhub.accounts import authentication
from medhub.accounts import routes as accounts
from medhub.accounts.access import Gate, public
from medhub.accounts.passwords import CONCURRENT_HASHES
from medhub.audit.service import Recorder
from medhub.classification import routes as classification
from medhub.entrypoints import health, problems, web_assets
from medhub.entrypoints.compression import Compression
from medhub.entrypoints.dicomweb.delete_routes import deleting
from medhub.entrypoints.dicomweb.project_paths import ProjectPaths
from medhub.entrypoints.dicomweb.qido import searching
from medhub.entrypoints.dicomweb.stow import storing
from medhub.entrypoints.dicomweb.wado import retrieving
from medhub.entrypoints.dicomweb.wado_frames import retrieving_frames
from medhub.entrypoints.dicomweb.wado_rendered import rendering
from medhub.entrypoints.dicomweb.wado_uri import by_address
from medhub.entrypoints.flow import failure_handlers, job_handlers
from medhub.entrypoints.http_methods import CrossOrigin, HttpMethods
from medhub.entrypoints.middleware import BodyLimit, SecurityHeaders
from medhub.export import routes as export
from medhub.foundation import work_pools
from medhub.foundation.app_context import AppContext
from medhub.foundation.http import streamed_body
from medhub.foundation.jobs import Runner
from medhub.ingest import deid_routes, ingest_settings_routes
from medhub.ingest import routes as ingest
from medhub.nodes import routes as node_routes
from medhub.records import audit_routes, erasure_routes
from medhub.records import image_move_routes as moving
from medhub.records import routes as records
from medhub.reports import routes as reports
from medhub.review import routes as review
from medhub.training import routes as training
from medhub.viewing import routes as viewing
from medhub.worklist.routes import scheduled_studies

ROUTERS: tuple[APIRouter, ...] = (
    accounts.auth,
    accounts.people,
    accounts.projects,
    records.fields,
    review.overview,
    records.patients,
    erasure_routes.patient_erasures,
    erasure_routes.erasures,
    records.study_routes,
    records.series_routes,
    moving.images,
    moving.series,
    ingest.uploads,
    ingest.arrivals,
    deid_routes.projects,
    ingest_settings_routes.projects,
    deid_routes.images,
    node_routes.dicom_nodes,
    scheduled_studies,
    review.images,
    viewing.images,
    classification.images,
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
    retrieving_frames,
    rendering,
    by_address,
    storing,
    deleting,
)

DESCRIPTION = """
Medical images from arrival to signed report.

Sign in with `POST /api/auth/token` and send the token as `Authorization: Bearer`. Lists are paginated. Errors are
problems (RFC 9457) whose `detail` says what happened and what to do.
"""


NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
# More threads would only wait for each other, since most of their work holds the interpreter lock.
THREADS = 8


class RouteWithoutPermission(RuntimeError):
    """A route has no permission."""


def create_app(
    app: AppContext,
    *,
    run_jobs: bool | None = None,
    web: Path | None = None,
    generation: authentication.Generation | None = None,
) -> FastAPI:
    """Create the web application; ``run_jobs`` says whether this process also runs jobs."""
    runners = app.settings.job_runners if run_jobs is None else int(run_jobs)

    @asynccontextmanager
    async def lifespan(web_app: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        busy = app.settings.decoder_workers + app.settings.reading_workers + 1
        work_pools.limiter("upload").total_tokens = max(work_pools.THREADS["upload"], busy)
        for runner in web_app.state.runners:
            runner.start()
        yield
        for runner in web_app.state.runners:
            runner.stop()

    web_app = FastAPI(
        title="Medhub",
        version=__version__,
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
        # The telemetry of the framework would write texts of exceptions and send them to configured servers.
        telemetry=NO_TELEMETRY,
        responses=problems.RESPONSES,
        generate_unique_id_function=lambda route: f"{route.tags[0] if route.tags else 'x'}-{route.name}".replace(
            " ", "-"
        ),
    )
    web_app.state.app_context = app
    web_app.state.sign_in_cache = authentication.SignInCache(generation)
    web_app.state.password_limiter = CapacityLimiter(CONCURRENT_HASHES)
    web_app.state.recorder = Recorder(lambda: app.database)
    web_app.state.runners = [
        Runner(app.database, job_handlers(app), abandoned=failure_handlers(app), lease_s=app.settings.job_lease_s)
        for _ in range(runners)
    ]
    for router in (*ROUTERS, health.routes):
        web_app.include_router(router)
    problems.install(web_app)
    check_route_permissions(web_app)
    api_routes = list(list_routes(web_app))
    web_assets.install(web_app, web if web is not None else app.settings.web or web_assets.built_web_app())
    web_app.add_middleware(HttpMethods, routes=api_routes)
    web_app.add_middleware(BodyLimit, streamed=list(streamed_routes(web_app)))
    web_app.add_middleware(Compression)
    web_app.add_middleware(SecurityHeaders)
    web_app.add_middleware(health.Metrics)
    web_app.add_middleware(ProjectPaths)
    if app.settings.allowed_origins:
        web_app.add_middleware(CrossOrigin, origins=app.settings.allowed_origins)
    return web_app


def list_routes(web_app: FastAPI) -> Iterator[RouteContext]:
    """All routes of the application, including those of its routers."""
    return iter_route_contexts(web_app.routes)


def check_route_permissions(web_app: FastAPI) -> None:
    """Deny by default: check that each route has a permission or is public."""
    for route in list_routes(web_app):
        if isinstance(route.original_route, APIRoute) and route_permission(route) is None:
            raise RouteWithoutPermission(f"{sorted(route.methods or ())} {route.path} has no permission")


def streamed_routes(web_app: FastAPI) -> Iterator[tuple[frozenset[str], str]]:
    """Methods and path of each route that declares ``STREAMED_BODY``."""
    for route in list_routes(web_app):
        if isinstance(route.original_route, APIRoute):
            calls = [dependency.call for dependency in route.dependant.dependencies]
            if streamed_body in calls:
                yield frozenset(route.methods or ()), route.path or ""


def route_permission(route: RouteContext) -> str | None:
    """The action of a route, "public", or None."""
    for dependency in route.dependant.dependencies:
        if isinstance(dependency.call, Gate):
            return dependency.call.action
        if dependency.call is public:
            return "public"
    return None
