# SPDX-License-Identifier: Apache-2.0
"""The files of the web app: browsers cache hashed files permanently, and revalidate the page itself."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

# The first parts of the paths of the web app's pages (web/src/routes/router.tsx).
PAGES = frozenset(
    (
        *("", "audit", "cases", "classifiers", "erasures", "exports", "images", "patients", "people", "quarantine"),
        *("reports", "settings", "sign-in", "studies", "training", "upload", "worklist"),
    )
)
NOT_BUILT = (
    "The web app is not built. Run `make install`, then start the server again. The API works: /api/openapi.json\n"
)


def built_web_app() -> Path | None:
    """The folder of the built web app in a checkout, if it exists."""
    for parent in Path(__file__).resolve().parents:
        if (parent / "pyproject.toml").is_file():
            folder = parent / "web" / "dist"
            return folder if (folder / "index.html").is_file() else None
    return None


def install(web_app: FastAPI, folder: Path | None) -> None:
    """Serve the web app at all paths outside of the API.

    A path that is no page of the app gives the app only to a client that asks for HTML, which then shows that the page
    is missing. Other clients would take HTML for what they asked for.
    """

    async def serve_file(request: Request) -> Response:
        path = request.url.path
        if path.startswith(("/api/", "/dicom-web/")) or path in {"/api", "/dicom-web", "/metrics"}:
            raise HTTPException(404, "There is no such route.")
        file = _find_file(folder, path) if folder is not None else None
        if file is None and not _is_page(request):
            raise HTTPException(404, "There is no such page, file or route.")
        if folder is None:
            return PlainTextResponse(NOT_BUILT, status_code=503)
        if file is None and "." in path.rpartition("/")[2]:
            raise HTTPException(404, "There is no such file.")
        if file is not None and path.startswith("/assets/"):
            return _file_response(file, "public, max-age=31536000, immutable")
        return _file_response(file or folder / "index.html", "no-cache")

    web_app.router.routes.append(Route("/{path:path}", serve_file, methods=["GET", "HEAD"], include_in_schema=False))


def _is_page(request: Request) -> bool:
    accept = request.headers.get("accept", "").lower()
    return request.url.path.split("/")[1] in PAGES or "text/html" in accept or "application/xhtml+xml" in accept


def _find_file(folder: Path, path: str) -> Path | None:
    """The file at a path, if it is inside the folder."""
    if "\x00" in path:
        return None
    candidate = (folder / path.lstrip("/")).resolve()
    return candidate if candidate.is_relative_to(folder.resolve()) and candidate.is_file() else None


def _file_response(path: Path, cache: str) -> FileResponse:
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return FileResponse(path, media_type=media_type, headers={"Cache-Control": cache})
