# SPDX-License-Identifier: Apache-2.0
"""WADO-RS: pictures for the screen (PS3.18, 10.4 and 8.3.5)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated, Any, cast

from fastapi import APIRouter, Path, Request, Response
from starlette.exceptions import HTTPException

from medhub.accounts.access import Call, allow
from medhub.entrypoints.dicomweb.content_negotiation import accepted, choose, not_acceptable
from medhub.entrypoints.dicomweb.multipart_response import PartsResponse, ResponsePart, TypedContent
from medhub.entrypoints.dicomweb.project_paths import PREFIX, NothingThere, Uid, root_of
from medhub.entrypoints.dicomweb.stored_instances import StoredInstance, read_instance, read_instances
from medhub.entrypoints.dicomweb.wado_frames import MOST_FRAMES
from medhub.errors import MedhubError
from medhub.foundation.app_context import AppContext
from medhub.foundation.http_caching import cacheable_response, is_unchanged
from medhub.foundation.work_pools import runs_in
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.rendering.frame_views import FUNCTIONS, View
from medhub.science.imaging.rendering.renditions import Form
from medhub.viewing import service

rendering = APIRouter(prefix=PREFIX, tags=["dicomweb"], include_in_schema=False)

PICTURES: dict[str, Form] = {"image/jpeg": "jpeg", "image/png": "png", "image/webp": "webp"}
_WIDEST = 8_192
_THUMBNAIL = 128
_INSTANCE = "/studies/{study}/series/{series}/instances/{instance}"


@rendering.get(f"{_INSTANCE}/rendered", summary="A picture of an instance", response_class=Response)
@runs_in("rendering")
def render_instance(
    request: Request, call: Annotated[Call, allow("image.read")], study: Uid, series: Uid, instance: Uid
) -> Response:
    """The first frame as a picture, by window, viewport and quality."""
    stored, _ = read_instance(request, call, "rendered", study, series, instance)
    return picture_response(request, call, stored, 1, _parse_view(request))


@rendering.get(f"{_INSTANCE}/frames/{{number}}/rendered", summary="A picture of a frame", response_class=Response)
@runs_in("rendering")
def render_frame(
    request: Request,
    call: Annotated[Call, allow("image.read")],
    study: Uid,
    series: Uid,
    instance: Uid,
    number: Annotated[str, Path(pattern=r"^[0-9]{1,9}$", description="Number of the frame, from 1.")],
) -> Response:
    """One frame as a picture."""
    stored, _ = read_instance(request, call, "rendered", study, series, instance)
    return picture_response(request, call, stored, int(number), _parse_view(request))


@rendering.get("/studies/{study}/rendered", summary="Pictures of a study", response_class=Response)
@runs_in("rendering")
def render_study(request: Request, call: Annotated[Call, allow("image.read")], study: Uid) -> Response:
    """The frames of all images of a study as pictures."""
    return _render_instances(request, call, study)


@rendering.get("/studies/{study}/series/{series}/rendered", summary="Pictures of a series", response_class=Response)
@runs_in("rendering")
def render_series(request: Request, call: Annotated[Call, allow("image.read")], study: Uid, series: Uid) -> Response:
    """The frames of all images of a series as pictures."""
    return _render_instances(request, call, study, series)


def _render_instances(request: Request, call: Call, study: str, series: str | None = None) -> Response:
    """A multipart message with a picture for each frame; objects without pixels have none."""
    media_type = _choose_picture_type(request)
    view = _parse_view(request, form=PICTURES[media_type])
    instances = read_instances(request, call, "rendered", study, series)
    frames = [(stored, number) for stored in instances for number in range(1, stored.image.frames + 1)]
    if not frames:
        raise HTTPException(406, "These objects have no pixels that could be shown. Retrieve them, or their metadata.")
    if len(frames) > MOST_FRAMES:
        raise HTTPException(
            400,
            f"These are {len(frames)} pictures; at most {MOST_FRAMES} are sent at once. Name a series.",
        )
    root = root_of(request)
    parts = [
        ResponsePart(
            media_type,
            f"{stored.address(root)}/frames/{number}/rendered",
            _PictureSource(call.app, stored, number, view),
        )
        for stored, number in frames
    ]
    return PartsResponse(parts, media_type, headers={"Vary": "Accept"})


def _choose_picture_type(request: Request) -> str:
    for form in accepted(request):
        for media_type in PICTURES:
            if form.allows(media_type):
                return media_type
    raise not_acceptable([f'multipart/related; type="{media_type}"' for media_type in PICTURES])


class _PictureSource:
    """A picture of a frame, made when it is due; a frame that cannot be shown has a problem instead (RFC 9457)."""

    def __init__(self, app: AppContext, stored: StoredInstance, number: int, view: View) -> None:
        self._app, self._stored, self._number, self._view = app, stored, number, view

    def __call__(self) -> bytes | TypedContent:
        try:
            return service.view(self._app, self._stored.image, self._number - 1, self._view)
        except MedhubError as error:
            body = {"type": "about:blank", "title": error.title, "status": 406, "detail": error.message}
            return TypedContent("application/problem+json", json.dumps(body).encode())


@rendering.get("/studies/{study}/thumbnail", summary="A small picture of a study", response_class=Response)
@runs_in("rendering")
def thumbnail_of_study(request: Request, call: Annotated[Call, allow("image.read")], study: Uid) -> Response:
    """A small picture of the first image of a study."""
    return _thumbnail_response(request, call, study)


@rendering.get(
    "/studies/{study}/series/{series}/thumbnail", summary="A small picture of a series", response_class=Response
)
@runs_in("rendering")
def thumbnail_of_series(
    request: Request, call: Annotated[Call, allow("image.read")], study: Uid, series: Uid
) -> Response:
    """A small picture of the image in the middle of a series."""
    return _thumbnail_response(request, call, study, series)


@rendering.get(f"{_INSTANCE}/thumbnail", summary="A small picture of an instance", response_class=Response)
@runs_in("rendering")
def thumbnail_of_instance(
    request: Request, call: Annotated[Call, allow("image.read")], study: Uid, series: Uid, instance: Uid
) -> Response:
    """A small picture of the first frame."""
    return _thumbnail_response(request, call, study, series, instance)


def _thumbnail_response(
    request: Request, call: Call, study: str, series: str | None = None, instance: str | None = None
) -> Response:
    instances = read_instances(request, call, "thumbnail", study, series, instance)
    with_frames = [instance for instance in instances if instance.image.frames] or instances
    middle = with_frames[len(with_frames) // 2] if series is not None else with_frames[0]
    return picture_response(request, call, middle, 1, _parse_view(request, _THUMBNAIL))


def picture_response(request: Request, call: Call, stored: StoredInstance, number: int, view: View) -> Response:
    """A picture of one frame, which a browser may cache."""
    media_type = f"image/{view.form}"
    if not stored.image.frames:
        raise HTTPException(406, "This object has no pixels that could be shown. Retrieve it, or its metadata.")
    if not 1 <= number <= stored.image.frames:
        raise NothingThere(f"This object has {stored.image.frames} frames, numbered from 1.")
    etag = f"{stored.image.blob[:32]}-{number}-{view.key}"
    content = None
    if not is_unchanged(request, etag):
        content = _render_or_refuse(lambda: service.view(call.app, stored.image, number - 1, view))
    response = cacheable_response(request, etag, content, media_type)
    response.headers["Vary"] = "Accept"
    return response


def _render_or_refuse(source: Callable[[], bytes]) -> bytes:
    try:
        return source()
    except Unacceptable as refusal:
        raise HTTPException(406, refusal.message) from refusal


def _parse_view(request: Request, side: int = 0, form: Form | None = None) -> View:
    """What the query parameters say of a picture; annotation is taken and has none to show."""
    parameters = request.query_params
    form = form or PICTURES[choose(request, tuple(PICTURES))]
    quality = parameters.get("quality", "90")
    if not re.fullmatch(r"[0-9]{1,3}", quality) or not 1 <= int(quality) <= 100:
        raise HTTPException(400, "quality must be a whole number from 1 to 100.")
    view: dict[str, Any] = {"form": form, "quality": int(quality) if form != "png" else 90, "enlarge": not side}
    view |= {"across": side, "down": side}
    if "window" in parameters:
        view |= _parse_window(parameters["window"])
    if "viewport" in parameters:
        view |= _parse_viewport(parameters["viewport"])
    return View(**cast(Any, view))


def _parse_window(text: str) -> dict[str, Any]:
    center, width, function, *rest = [part.strip() for part in f"{text},,".split(",")]
    number = r"[+-]?[0-9]{1,9}(\.[0-9]{1,6})?([eE][+-]?[0-9]{1,2})?"
    function = function.lower() or "linear"
    valid = re.fullmatch(number, center) and re.fullmatch(number, width) and function in FUNCTIONS and not any(rest)
    if not valid or float(width) < (1.0 if function == "linear" else 1e-6):
        raise HTTPException(
            400, f"window is written CENTER,WIDTH,FUNCTION; the function is one of {', '.join(FUNCTIONS)}."
        )
    return {"center": float(center), "width": float(width), "function": FUNCTIONS[function]}


def _parse_viewport(text: str) -> dict[str, Any]:
    """Width and height of the place, then left, top, width and height of the part of the frame."""
    values = [part.strip() for part in text.split(",")]
    if len(values) not in {2, 6} or any(not re.fullmatch(r"(-?[0-9]{1,6}(\.[0-9]{1,3})?)?", part) for part in values):
        raise HTTPException(400, "viewport is written WIDTH,HEIGHT or WIDTH,HEIGHT,LEFT,TOP,WIDTH,HEIGHT.")
    across, down, left, top, width, height = [int(float(part or "0")) for part in (*values, "", "", "", "")[:6]]
    if not (1 <= across <= _WIDEST and 1 <= down <= _WIDEST and left >= 0 and top >= 0):
        raise HTTPException(400, f"A viewport is 1 to {_WIDEST} pixels wide and high, and begins within the frame.")
    return {
        "across": across,
        "down": down,
        "left": left,
        "top": top,
        "region_width": width,
        "region_height": height,
    }
