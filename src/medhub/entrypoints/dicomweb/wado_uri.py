# SPDX-License-Identifier: Apache-2.0
"""WADO-URI: one object, or a picture of it, by the parameters of an address (PS3.18, 9)."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from medhub.accounts.access import Call, allow
from medhub.entrypoints.dicomweb.project_paths import PREFIX, NothingThere, root_of
from medhub.entrypoints.dicomweb.stored_instances import StoredInstance, read_instances
from medhub.entrypoints.dicomweb.wado import DICOM, EXPLICIT, single_object
from medhub.entrypoints.dicomweb.wado_rendered import PICTURES, picture_response
from medhub.foundation.work_pools import runs_in
from medhub.science.imaging.rendering.frame_views import View

by_address = APIRouter(tags=["dicomweb"], include_in_schema=False)

_UID = re.compile(r"[0-9.]{1,64}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}(\.[0-9]{1,6})?([eE][+-]?[0-9]{1,2})?")
_FRACTION = re.compile(r"[01]?\.?[0-9]{0,9}")
_WIDEST = 8_192
_ALIASES = {"image/jpg": "image/jpeg"}  # some clients write it so


@by_address.get("/wado", summary="Retrieve an object by parameters", response_class=Response)
@by_address.get(f"{PREFIX}/wado", summary="Retrieve an object by parameters", response_class=Response)
@runs_in("rendering")
def retrieve_by_parameters(request: Request, call: Annotated[Call, allow("image.read")]) -> Response:
    """A file (``contentType=application/dicom``), or a picture of a frame."""
    if request.query_params.get("requestType") != "WADO":
        raise HTTPException(400, "The parameter requestType must be WADO.")
    study, series, instance = (_require_uid(request, name) for name in ("studyUID", "seriesUID", "objectUID"))
    content_type = _choose_content_type(request.query_params.get("contentType", ""))
    what = "objects" if content_type == DICOM else "rendered"
    (stored, *_) = read_instances(request, call, what, study, series, instance)
    if content_type is None:
        content_type = "image/jpeg" if stored.image.frames == 1 else DICOM
    if content_type == DICOM:
        syntax = request.query_params.get("transferSyntax", EXPLICIT)
        response = single_object(request, call.app, stored, syntax, root_of(request))
        if response is None:
            raise HTTPException(406, "This object cannot be had in this transfer syntax.")
        return response
    return picture_response(request, call, stored, _frame_number(request), _parse_view(request, stored, content_type))


def _require_uid(request: Request, name: str) -> str:
    uid = request.query_params.get(name, "")
    if not _UID.fullmatch(uid):
        raise HTTPException(400, f"The parameter {name} must be a UID.")
    return uid


def _choose_content_type(wanted: str) -> str | None:
    """The first supported media type of a list; ``None`` where the client leaves it to the server."""
    named = [part.partition(";")[0].strip().lower() for part in wanted.split(",") if part.strip()]
    if not named:
        return None
    for media_type in named:
        if media_type in {"*/*", "image/*"}:
            return None if media_type == "*/*" else "image/jpeg"
        media_type = _ALIASES.get(media_type, media_type)
        if media_type == DICOM or media_type in PICTURES:
            return media_type
    raise HTTPException(406, f"This can be had as {', '.join((DICOM, *PICTURES))}. Name one of these as contentType.")


def _frame_number(request: Request) -> int:
    text = request.query_params.get("frameNumber", "1")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise HTTPException(400, "frameNumber must be a whole number from 1.")
    if int(text) < 1:
        raise NothingThere("Frames are numbered from 1.")
    return int(text)


def _parse_view(request: Request, stored: StoredInstance, content_type: str) -> View:
    """How the picture is to look; annotations are never drawn."""
    quality = _read_integer(request, "imageQuality", 90, 100)
    center, width = request.query_params.get("windowCenter"), request.query_params.get("windowWidth")
    if (center is None) != (width is None):
        raise HTTPException(400, "windowCenter and windowWidth are given together.")
    if center is not None and width is not None:
        if not (_NUMBER.fullmatch(center) and _NUMBER.fullmatch(width)) or float(width) < 1:
            raise HTTPException(400, "windowCenter and windowWidth must be numbers; the width is at least 1.")
        window = (float(center), float(width), "LINEAR")
    else:
        window = (0.0, 0.0, "")
    left, top, region_width, region_height = _parse_region(request, stored)
    across, down = (_read_integer(request, name, 0, _WIDEST) for name in ("columns", "rows"))
    if across or down:  # the picture keeps its proportions
        across, down = across or _WIDEST, down or _WIDEST
    return View(
        form=PICTURES[content_type],
        quality=90 if content_type == "image/png" else quality,
        center=window[0],
        width=window[1],
        function=window[2],
        across=across,
        down=down,
        left=left,
        top=top,
        region_width=region_width,
        region_height=region_height,
    )


def _read_integer(request: Request, name: str, otherwise: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return otherwise
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= most:
        raise HTTPException(400, f"{name} must be a whole number from 1 to {most}.")
    return int(text)


def _parse_region(request: Request, stored: StoredInstance) -> tuple[int, int, int, int]:
    """The part of the frame in pixels; the parameter has fractions: left, top, right, bottom (PS3.18, 9.1.2.2.1)."""
    text = request.query_params.get("region")
    if text is None:
        return 0, 0, 0, 0
    parts = text.split(",")
    valid = len(parts) == 4 and all(part and _FRACTION.fullmatch(part) and part != "." for part in parts)
    left, top, right, bottom = [float(part) for part in parts] if valid else (0.0, 0.0, 0.0, 0.0)
    columns, rows = (int((stored.image.attributes.get(keyword) or ["0"])[0] or 0) for keyword in ("Columns", "Rows"))
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise HTTPException(400, "region has four fractions from 0 to 1: left, top, right and bottom.")
    x, y = int(left * columns), int(top * rows)
    return x, y, max(1, round(right * columns) - x), max(1, round(bottom * rows) - y)
