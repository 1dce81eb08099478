# SPDX-License-Identifier: Apache-2.0
"""Exceptions of medhub.errors as HTTP responses (RFC 9457, Problem Details for HTTP APIs)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from medhub.accounts.access import Call
from medhub.audit.service import AuditAct, Recorder
from medhub.errors import (
    Conflict,
    Invalid,
    MedhubError,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    TooManyRequests,
    Unavailable,
)
from medhub.foundation.database import is_violated_by_others
from medhub.foundation.ids import new_id
from medhub.foundation.logging import get_logger
from medhub.foundation.work_pools import WorkAbandoned

log = get_logger()

STATUS: dict[type[MedhubError], int] = {
    NotAuthenticated: 401,
    NotAllowed: 403,
    NotFound: 404,
    Conflict: 409,
    Invalid: 422,
    TooManyRequests: 429,
    Unavailable: 503,
    MedhubError: 500,
}
MEDIA_TYPE = "application/problem+json"


class FieldProblem(BaseModel):
    """The error of a field."""

    field: str
    message: str


class Problem(BaseModel):
    """An error with its reason and a remedy (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldProblem] = []


# Error responses of all routes in the OpenAPI document.
_DESCRIPTIONS = {
    400: "The request is not valid HTTP.",
    401: "Nobody is signed in.",
    403: "You may not do this.",
    404: "There is no such object in your projects.",
    409: "The state of the object does not allow this.",
    413: "The request is too large.",
    422: "The request is not valid.",
    429: "Too many attempts.",
    503: "A required component does not answer.",
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description, "content": {MEDIA_TYPE: {}}}
    for status, description in _DESCRIPTIONS.items()
}


def status_of(error: MedhubError) -> int:
    """The HTTP status of an error: that of the nearest base class."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(status: int, title: str, detail: str, code: str, **facts: object) -> JSONResponse:
    """The response for an error."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code, **facts}
    headers = {"Cache-Control": "no-store"}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if "retry_after_s" in facts:
        headers["Retry-After"] = str(facts["retry_after_s"])
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def _handle_medhub_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MedhubError)  # noqa: S101 - registered for this kind alone
    if isinstance(error, NotAllowed):
        _record_refusal(request)
    facts = {key: value for key, value in error.facts.items() if key != "field"}
    errors = []
    if isinstance(error, Invalid | Conflict) and "field" in error.facts:
        errors.append({"field": str(error.facts["field"]), "message": error.message})
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("http.failed", code=error.code, path=_route_path(request))
    return problem(status, error.title, error.message, error.code, **facts, errors=errors)


def _record_refusal(request: Request) -> None:
    """Record a refused act in the audit log."""
    call: Call | None = getattr(request.state, "call", None)
    if call is None:
        return
    recorder: Recorder = request.app.state.recorder
    identifier = request.path_params.get("id")
    recorder.record(
        [
            AuditAct(
                action=request.state.action,
                object_type=request.state.action.partition(".")[0],
                object_id=identifier[:64].replace("\x00", "") if isinstance(identifier, str) else None,
                actor_id=call.actor.user_id,
                actor=call.actor.name[:120],
                project_id=next(iter(call.actor.roles), None),
                origin=call.actor.origin,
                outcome="refused",
            )
        ]
    )


def _handle_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this kind alone
    errors = [
        {
            "field": ".".join(str(part) for part in entry["loc"] if part not in {"body", "query", "path"}) or "body",
            "message": str(entry["msg"]).removeprefix("Value error, "),
        }
        for entry in error.errors()
    ]
    detail = "; ".join(f"{entry['field']}: {entry['message']}" for entry in errors[:3])
    # DICOMweb does not use 422 (PS3.18, 8.5).
    status = 400 if request.url.path.startswith("/dicom-web/") else 422
    return problem(status, Invalid.title, detail, Invalid.code, errors=errors)


def _handle_http_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this kind alone
    phrase = HTTPStatus(error.status_code).phrase
    answer = problem(error.status_code, phrase, str(error.detail), phrase.lower().replace(" ", "-"))
    answer.headers.update(error.headers or {})
    return answer


def _handle_database_error(request: Request, error: Exception) -> JSONResponse:
    log.error("http.database_failed", error=type(error).__name__, path=_route_path(request))
    return problem(
        503,
        Unavailable.title,
        "The database does not answer. Nothing was changed; try again in a minute.",
        Unavailable.code,
    )


def _handle_data_error(request: Request, error: Exception) -> JSONResponse:
    """A value that the database cannot store and no earlier check refused."""
    log.error("http.value_refused", error=type(error).__name__, path=_route_path(request))
    return problem(422, Invalid.title, "A value is too long, too large, or cannot be stored.", Invalid.code)


def _handle_integrity_error(request: Request, error: Exception) -> JSONResponse:
    """Two requests at the same time that exclude each other: the one that came second is refused."""
    if not is_violated_by_others(error):
        return _handle_unexpected_error(request, error)
    log.warning("http.conflict", path=_route_path(request))
    return problem(
        409,
        Conflict.title,
        "Another request has created or removed the same object at the same moment. Nothing was changed; reload and "
        "try again.",
        Conflict.code,
    )


def _handle_disconnect(_request: Request, _error: Exception) -> JSONResponse:
    """A response that nobody receives: the client has disconnected."""
    return problem(400, "Interrupted", "The connection ended before the request was done.", "interrupted")


def _handle_unexpected_error(request: Request, error: Exception) -> JSONResponse:
    # The text of an unexpected exception may contain data of a file or a person: only its type is logged.
    number = new_id()
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    at = f"{traceback.tb_frame.f_code.co_name}:{traceback.tb_lineno}" if traceback is not None else "?"
    log.error("http.broke", number=number, error=type(error).__name__, at=at, path=_route_path(request))
    return problem(
        500,
        "Internal error",
        f"An internal error of Medhub occurred. Nothing was changed. Report the number {number} to your administrator.",
        "fault",
        number=number,
    )


def _route_path(request: Request) -> str:
    route = request.scope.get("route")
    return getattr(route, "path", "?")


def install(web_app: FastAPI) -> None:
    """Register the handlers of all exceptions."""
    web_app.add_exception_handler(MedhubError, _handle_medhub_error)
    web_app.add_exception_handler(RequestValidationError, _handle_validation_error)
    web_app.add_exception_handler(HTTPException, _handle_http_error)
    web_app.add_exception_handler(OperationalError, _handle_database_error)
    web_app.add_exception_handler(DataError, _handle_data_error)
    web_app.add_exception_handler(IntegrityError, _handle_integrity_error)
    web_app.add_exception_handler(ClientDisconnect, _handle_disconnect)
    web_app.add_exception_handler(WorkAbandoned, _handle_disconnect)
    web_app.add_exception_handler(Exception, _handle_unexpected_error)
