# SPDX-License-Identifier: Apache-2.0
"""WADO-RS: objects, their attributes, and their long values (PS3.18, 10.4)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.exceptions import HTTPException

from medhub.accounts.access import Call, allow
from medhub.entrypoints.dicomweb.content_negotiation import Accepted, accepted, choose, not_acceptable
from medhub.entrypoints.dicomweb.multipart_response import PartsResponse, ResponsePart
from medhub.entrypoints.dicomweb.project_paths import PREFIX, NothingThere, Uid, root_of
from medhub.entrypoints.dicomweb.qido import JSON_FORMS
from medhub.entrypoints.dicomweb.stored_instances import StoredInstance, read_instance, read_instances
from medhub.errors import MedhubError
from medhub.foundation.app_context import AppContext
from medhub.foundation.file_responses import FileRange
from medhub.foundation.http_caching import cacheable_file_response
from medhub.records import stored_files
from medhub.records.dicom_metadata import series_metadata
from medhub.science.imaging.rendering import dicomweb_payloads

retrieving = APIRouter(prefix=PREFIX, tags=["dicomweb"], include_in_schema=False)

DICOM = "application/dicom"
OCTETS = "application/octet-stream"
EXPLICIT = "1.2.840.10008.1.2.1"
_TAGS = re.compile(r"[0-9A-Fa-f]{8}(?:/[0-9]{1,6}/[0-9A-Fa-f]{8}){0,16}")
_PIXELS = frozenset(("7FE00008", "7FE00009", "7FE00010"))


@retrieving.get("/studies/{study}", summary="Retrieve a study", response_class=Response)
def retrieve_study(request: Request, call: Annotated[Call, allow("image.read")], study: Uid) -> Response:
    """All objects of a study, sent as they are read."""
    return _objects(request, call, study)


@retrieving.get("/studies/{study}/series/{series}", summary="Retrieve a series", response_class=Response)
def retrieve_series(request: Request, call: Annotated[Call, allow("image.read")], study: Uid, series: Uid) -> Response:
    """All objects of a series."""
    return _objects(request, call, study, series)


@retrieving.get(
    "/studies/{study}/series/{series}/instances/{instance}", summary="Retrieve an instance", response_class=Response
)
def retrieve_instance(
    request: Request, call: Annotated[Call, allow("image.read")], study: Uid, series: Uid, instance: Uid
) -> Response:
    """One object."""
    return _objects(request, call, study, series, instance)


def _objects(
    request: Request, call: Call, study: str, series: str | None = None, instance: str | None = None
) -> Response:
    instances = read_instances(request, call, "objects", study, series, instance)
    root = root_of(request)
    for form in accepted(request):
        if not form.allows(DICOM):
            continue
        single = not form.multipart and form.media_type == DICOM
        if single and len(instances) > 1:
            continue
        parts = _object_parts(call.app, instances, form, root)
        if parts is None:
            continue
        if not single:
            return PartsResponse(parts, DICOM, headers={"Vary": "Accept"})
        (part,) = parts
        if callable(part.source):
            return Response(part.source(), media_type=part.media_type, headers={"Vary": "Accept"})
        response = cacheable_file_response(f"{instances[0].image.blob[:32]}-object", part.source[0], part.media_type)  # type: ignore[arg-type]
        response.headers["Vary"] = "Accept"
        return response
    raise not_acceptable(
        [f'multipart/related; type="{DICOM}"; transfer-syntax=*', f'multipart/related; type="{DICOM}"']
    )


def _object_parts(
    app: AppContext, instances: Sequence[StoredInstance], form: Accepted, root: str
) -> list[ResponsePart] | None:
    """The files as they are stored, or with decoded pixels; ``None`` where they are in no syntax that is wanted."""
    parts = []
    for instance in instances:
        syntax = instance.image.transfer_syntax_uid
        if form.transfer_syntax in {"*", syntax} or syntax == EXPLICIT or instance.image.frames == 0:
            if form.transfer_syntax not in {None, "*", syntax}:
                return None
            source: Any = [FileRange.of_file(app.blobs.path(instance.image.blob))]
        elif form.transfer_syntax in {None, EXPLICIT}:
            source, syntax = _DecodedFile(app, instance.image.blob), EXPLICIT
        else:
            return None
        parts.append(ResponsePart(f"{DICOM};transfer-syntax={syntax}", instance.address(root), source))
    return parts


class _DecodedFile:
    """A stored file with decoded pixels, made when it is due; one that cannot be decoded is sent as it is stored."""

    def __init__(self, app: AppContext, digest: str) -> None:
        self._app = app
        self._digest = digest

    def __call__(self) -> bytes:
        data = self._app.blobs.get(self._digest)
        try:
            return self._app.isolation.run(dicomweb_payloads.explicit, data)
        except MedhubError:  # an object less would be noticed by nobody; the file itself says its syntax
            return data


@retrieving.get("/studies/{study}/metadata", summary="Attributes of a study", response_class=Response)
def retrieve_study_metadata(request: Request, call: Annotated[Call, allow("image.read")], study: Uid) -> Response:
    """The attributes of all objects of a study, long values by their addresses."""
    return _metadata(request, call, study)


@retrieving.get("/studies/{study}/series/{series}/metadata", summary="Attributes of a series", response_class=Response)
def retrieve_series_metadata(
    request: Request, call: Annotated[Call, allow("image.read")], study: Uid, series: Uid
) -> Response:
    """The attributes of all objects of a series."""
    return _metadata(request, call, study, series)


@retrieving.get(
    "/studies/{study}/series/{series}/instances/{instance}/metadata",
    summary="Attributes of an instance",
    response_class=Response,
)
def retrieve_instance_metadata(
    request: Request, call: Annotated[Call, allow("image.read")], study: Uid, series: Uid, instance: Uid
) -> Response:
    """The attributes of one object."""
    return _metadata(request, call, study, series, instance)


def _metadata(
    request: Request, call: Call, study: str, series: str | None = None, instance: str | None = None
) -> Response:
    media_type = choose(request, JSON_FORMS)
    instances = read_instances(request, call, "metadata", study, series, instance)
    root = root_of(request)
    lines: list[bytes] = []
    series_pairs = dict.fromkeys((stored.image.series_id, stored.series_uid) for stored in instances)
    for series_id, series_uid in series_pairs:
        metadata = series_metadata(call.app, series_id)
        address = f'"BulkDataURI":"{root}/studies/{study}/series/{series_uid}/'.encode()
        selected = metadata.lines if instance is None else [metadata.find_object(instance) or b"{}"]
        lines += [line.replace(f'"BulkDataURI":"{dicomweb_payloads.BULK}/'.encode(), address) for line in selected]
    content = b"[" + b",".join(lines) + b"]"
    return Response(content, media_type=media_type, headers={"Cache-Control": "no-store", "Vary": "Accept"})


@retrieving.get(
    "/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path:path}",
    summary="A long value of an instance",
    response_class=Response,
)
def retrieve_bulk_data(
    request: Request,
    call: Annotated[Call, allow("image.read")],
    study: Uid,
    series: Uid,
    instance: Uid,
    path: Annotated[str, Path(max_length=300, description="Tags, and numbers of items between them.")],
) -> Response:
    """A value that metadata name by its address: pixels, documents, tables, waveforms."""
    form = next((candidate for candidate in accepted(request) if candidate.allows(OCTETS)), None)
    if form is None:
        raise not_acceptable([f'multipart/related; type="{OCTETS}"', OCTETS])
    if not _TAGS.fullmatch(path):
        raise HTTPException(400, "An address of a long value is made of tags, and of numbers of items between them.")
    stored, address = read_instance(request, call, "bulk data", study, series, instance)
    sources = _read_bulk_data(call.app, stored, path.upper())
    if form.multipart or len(sources) > 1:
        parts = [ResponsePart(OCTETS, f"{address}/bulkdata/{path}", source) for source in sources]
        return PartsResponse(parts, OCTETS, headers={"Vary": "Accept"})
    (source,) = sources
    if isinstance(source, bytes):
        return Response(source, media_type=OCTETS, headers={"Cache-Control": "private, no-cache", "Vary": "Accept"})
    return cacheable_file_response(f"{stored.image.blob[:32]}-{path}", source[0], OCTETS)


def _read_bulk_data(app: AppContext, stored: StoredInstance, path: str) -> list[Any]:
    """A value in one piece or, of compressed pixels, frame by frame."""
    image = stored.image
    if path in _PIXELS:
        pixels = stored_files.native_pixel_range(app, image.blob)
        if pixels is not None:
            return [[pixels]]
        spans = [stored_files.frame_spans(app, image.blob, number) for number in range(image.frames)]
        if spans and all(spans):
            file = app.blobs.path(image.blob)
            return [[FileRange(file, at, length) for at, length in parts or ()] for parts in spans]
    data = app.isolation.run(dicomweb_payloads.bulk, app.blobs.get(image.blob), path.split("/"))
    if data is None:
        raise NothingThere("This object has no long value there.")
    return [data]
