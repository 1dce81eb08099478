# SPDX-License-Identifier: Apache-2.0
"""Of which projects an address of DICOMweb speaks: of all of the caller's, or of the one that it names."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Path
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from medhub.accounts.access import Call
from medhub.entrypoints.forwarded_address import direct_address, forwarded_address
from medhub.errors import NotFound
from medhub.foundation.app_context import AppContext

PREFIX = "/dicom-web"
_PROJECT_PATH = re.compile(rf"{PREFIX}/projects/([0-9A-Za-z_-]{{1,64}})(/.*)")
# A UID has digits and points; what else is given there names nothing.
Uid = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[0-9.]+$", description="A DICOM UID.")]


class ProjectPaths:
    """Serves ``/dicom-web/projects/{id}/…`` by the routes of ``/dicom-web/…``, within that project alone."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the project out of the path, and note it."""
        match = _PROJECT_PATH.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if match is not None:
            path = f"{PREFIX}{match[2]}"
            state = {**scope.get("state", {}), "dicomweb_project": match[1]}
            scope = {**scope, "path": path, "raw_path": path.encode(), "state": state}
        await self.app(scope, receive, send)


def project_named(request: Request) -> str | None:
    """The project that the address names, if any."""
    project_id: str | None = getattr(request.state, "dicomweb_project", None)
    return project_id


def projects_of(request: Request, call: Call, action: str) -> frozenset[str]:
    """The projects in which the caller may do something and of which the address speaks."""
    return call.actor.projects(action, project_named(request))


def root_of(request: Request) -> str:
    """The address under which the caller found the service."""
    named = project_named(request)
    app: AppContext = request.app.state.app_context
    address = forwarded_address(
        request.headers if app.settings.trusted_proxy else {},
        direct_address(request.base_url, request.scope.get("server"), request.headers),
    )
    return f"{address}{PREFIX}" + (f"/projects/{named}" if named else "")


def project_to_store_into(request: Request, call: Call) -> str:
    """The one project into which the caller's objects go."""
    allowed = projects_of(request, call, "image.upload")
    if len(allowed) > 1:
        raise HTTPException(
            400, f"You may store into several projects. Say into which: {PREFIX}/projects/PROJECT/studies."
        )
    return next(iter(allowed))


class NothingThere(NotFound):
    """No object has these UIDs, or none in a project of the asker's."""

    code = "no-such-object"
