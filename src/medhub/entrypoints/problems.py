# SPDX-License-Identifier: Apache-2.0
"""Exceptions of medhub.errors as HTTP responses, after RFC 9457 (Problem Details for HTTP APIs)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

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
from medhub.foundation.ids import new_id
from medhub.foundation.logging import get_logger

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
    """What is wrong with one field."""

    field: str
    message: str


class Problem(BaseModel):
    """What went wrong, why, and what to do (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldProblem] = []


# What any route may answer beside its own; the document of the API names them for each.
_WORDS = {
    400: "The request is not HTTP as it should be.",
    401: "Nobody is signed in.",
    403: "This person may not do this.",
    404: "There is no such thing, or not in a project of the asker's.",
    409: "The thing is in a state that does not allow this.",
    413: "The request is too large.",
    422: "What was given cannot be accepted.",
    429: "Too many attempts.",
    503: "A part that is needed does not answer.",
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": words, "content": {MEDIA_TYPE: {}}} for status, words in _WORDS.items()
}


def status_of(error: MedhubError) -> int:
    """The HTTP status of a failure: that of the nearest kind in the tree."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(status: int, title: str, detail: str, code: str, **facts: object) -> JSONResponse:
    """The answer that tells of a failure."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code, **facts}
    headers = {"Cache-Control": "no-store"}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if "retry_after_s" in facts:
        headers["Retry-After"] = str(facts["retry_after_s"])
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def _of_medhub_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MedhubError)  # noqa: S101 - registered for this kind alone
    if isinstance(error, NotAllowed):
        _record_refusal(request)
    facts = {key: value for key, value in error.facts.items() if key != "field"}
    errors = []
    if isinstance(error, Invalid | Conflict) and "field" in error.facts:
        errors.append({"field": str(error.facts["field"]), "message": error.message})
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("http.failed", code=error.code, path=_route_of(request))
    return problem(status, error.title, error.message, error.code, **facts, errors=errors)


def _record_refusal(request: Request) -> None:
    """A refused act is one of which the audit must know."""
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


def _of_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this kind alone
    errors = [
        {
            "field": ".".join(str(part) for part in one["loc"] if part not in {"body", "query", "path"}) or "body",
            "message": str(one["msg"]).removeprefix("Value error, "),
        }
        for one in error.errors()
    ]
    detail = "; ".join(f"{one['field']}: {one['message']}" for one in errors[:3])
    # DICOMweb knows no 422 (PS3.18, 8.5).
    status = 400 if request.url.path.startswith("/dicom-web/") else 422
    return problem(status, Invalid.title, detail, Invalid.code, errors=errors)


def _of_http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this kind alone
    phrase = HTTPStatus(error.status_code).phrase
    answer = problem(error.status_code, phrase, str(error.detail), phrase.lower().replace(" ", "-"))
    answer.headers.update(error.headers or {})
    return answer


def _of_database(request: Request, error: Exception) -> JSONResponse:
    log.error("http.database_failed", error=type(error).__name__, path=_route_of(request))
    return problem(
        503,
        Unavailable.title,
        "The database does not answer. Nothing was changed; try again in a minute.",
        Unavailable.code,
    )


def _of_anything(request: Request, error: Exception) -> JSONResponse:
    # The text of a foreign error may quote a file or a person: only its kind is logged, under a number to ask for.
    number = new_id()
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    at = f"{place.tb_frame.f_code.co_name}:{place.tb_lineno}" if place is not None else "?"
    log.error("http.broke", number=number, error=type(error).__name__, at=at, path=_route_of(request))
    return problem(
        500,
        "Medhub made a mistake",
        f"This is a fault of Medhub, not yours. Tell your administrator the number {number}; nothing was changed.",
        "fault",
        number=number,
    )


def _route_of(request: Request) -> str:
    route = request.scope.get("route")
    return getattr(route, "path", "?")


def install(web_app: FastAPI) -> None:
    """Have every failure answered as a problem."""
    web_app.add_exception_handler(MedhubError, _of_medhub_error)
    web_app.add_exception_handler(RequestValidationError, _of_validation)
    web_app.add_exception_handler(HTTPException, _of_http)
    web_app.add_exception_handler(OperationalError, _of_database)
    web_app.add_exception_handler(Exception, _of_anything)
