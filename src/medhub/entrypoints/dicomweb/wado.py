# SPDX-License-Identifier: Apache-2.0
"""WADO-RS: objects, their attributes, and their long values (PS3.18, 10.4)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.exceptions import HTTPException

from medhub.accounts.access import Call, allow
from medhub.entrypoints.dicomweb.byte_ranges import content_response, file_response
from medhub.entrypoints.dicomweb.content_negotiation import (
    DICOM_XML,
    accepted,
    choose_json_or_xml,
    not_acceptable,
)
from medhub.entrypoints.dicomweb.multipart_response import PartsResponse, ResponsePart, TypedContent
from medhub.entrypoints.dicomweb.native_xml import native_model
from medhub.entrypoints.dicomweb.project_paths import PREFIX, NothingThere, Uid, root_of
from medhub.entrypoints.dicomweb.stored_instances import StoredInstance, read_instance, read_instances
from medhub.errors import MedhubError
from medhub.foundation.app_context import AppContext
from medhub.foundation.file_responses import FileRange
from medhub.foundation.work_pools import runs_in
from medhub.records import stored_files
from medhub.records.dicom_metadata import series_metadata
from medhub.science.imaging.rendering import dicomweb_payloads
from medhub.science.imaging.rendering.lossless_transcoding import LOSSLESS_SYNTAXES, transcode_lossless

retrieving = APIRouter(prefix=PREFIX, tags=["dicomweb"], include_in_schema=False)

DICOM = "application/dicom"
OCTETS = "application/octet-stream"
EXPLICIT = "1.2.840.10008.1.2.1"
_TAGS = re.compile(r"[0-9A-Fa-f]{8}(?:/[0-9]{1,6}/[0-9A-Fa-f]{8}){0,16}")
_PIXELS = frozenset(("7FE00008", "7FE00009", "7FE00010"))


@retrieving.get("/studies/{study}", summary="Retrieve a study", response_class=Response)
@runs_in("rendering")
def retrieve_study(request: Request, call: Annotated[Call, allow("image.read")], study: Uid) -> Response:
    """All objects of a study, sent as they are read."""
    return _objects(request, call, study)


@retrieving.get("/studies/{study}/series/{series}", summary="Retrieve a series", response_class=Response)
@runs_in("rendering")
def retrieve_series(request: Request, call: Annotated[Call, allow("image.read")], study: Uid, series: Uid) -> Response:
    """All objects of a series."""
    return _objects(request, call, study, series)


@retrieving.get(
    "/studies/{study}/series/{series}/instances/{instance}", summary="Retrieve an instance", response_class=Response
)
@runs_in("rendering")
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
        if not form.multipart and form.media_type == DICOM:
            if len(instances) > 1:
                continue
            response = single_object(request, call.app, instances[0], form.transfer_syntax, root)
            if response is not None:
                return response
            continue
        parts = _object_parts(call.app, instances, form.transfer_syntax, root)
        if parts is not None:
            return PartsResponse(parts, DICOM, headers={"Vary": "Accept"})
    syntaxes = ("*", EXPLICIT, *(LOSSLESS_SYNTAXES if any(stored.image.frames for stored in instances) else ()))
    raise not_acceptable([f'multipart/related; type="{DICOM}"; transfer-syntax={syntax}' for syntax in syntaxes])


def single_object(
    request: Request, app: AppContext, instance: StoredInstance, wanted: str | None, root: str
) -> Response | None:
    """One file; ``None`` where it cannot be had in the wanted transfer syntax."""
    parts = _object_parts(app, [instance], wanted, root)
    if parts is None:
        return None
    (part,) = parts
    if isinstance(part.source, bytes):
        return Response(part.source, media_type=part.media_type, headers={"Vary": "Accept"})
    if callable(part.source):
        result = part.source()
        content, media_type = (
            (result, part.media_type) if isinstance(result, bytes) else (result.content, result.media_type)
        )
        return Response(content, media_type=media_type, headers={"Vary": "Accept"})
    return file_response(request, f"{instance.image.blob[:32]}-object", part.source[0], part.media_type)


def _object_parts(
    app: AppContext, instances: Sequence[StoredInstance], wanted: str | None, root: str
) -> list[ResponsePart] | None:
    """The files as they are stored, decoded or transcoded; ``None`` where they cannot be had in the wanted syntax.

    Of several objects those without pixels have no compressed form, and are sent as they are stored.
    """
    parts = []
    transcoded = False
    for instance in instances:
        syntax, blob = instance.image.transfer_syntax_uid, instance.image.blob
        has_pixels = instance.image.frames > 0
        as_stored = wanted in {"*", syntax} or (wanted is None and (syntax == EXPLICIT or not has_pixels))
        if not as_stored and wanted in LOSSLESS_SYNTAXES and not has_pixels and len(instances) > 1:
            as_stored = True
        source: Any
        if as_stored:
            source = [FileRange.of_file(app.blobs.path(blob))]
        elif wanted in {None, EXPLICIT} and has_pixels:
            source, syntax = _DecodedFile(app, blob, syntax), EXPLICIT
        elif wanted in LOSSLESS_SYNTAXES and has_pixels:
            source = _TranscodedFile(app, blob, syntax, str(wanted))
            syntax = str(wanted)
            if not transcoded:  # what cannot be made is refused before anything is sent
                transcoded = True
                result = source()
                if isinstance(result, TypedContent):
                    return None
                source = result
        else:
            return None
        parts.append(ResponsePart(_dicom_type(syntax), instance.address(root), source))
    return parts if transcoded or wanted not in LOSSLESS_SYNTAXES or _all_stored(instances, wanted) else None


def _all_stored(instances: Sequence[StoredInstance], wanted: str | None) -> bool:
    return any(instance.image.transfer_syntax_uid == wanted for instance in instances)


def _dicom_type(syntax: str) -> str:
    return f"{DICOM};transfer-syntax={syntax}"


class _DecodedFile:
    """A stored file with decoded pixels, made when it is due; one that cannot be decoded is sent as it is stored."""

    def __init__(self, app: AppContext, digest: str, stored_syntax: str) -> None:
        self._app = app
        self._digest = digest
        self._stored_syntax = stored_syntax

    def __call__(self) -> bytes | TypedContent:
        data = self._app.blobs.get(self._digest)
        try:
            return self._convert(data)
        except MedhubError:  # an object less would be noticed by nobody; the part says its syntax
            return TypedContent(_dicom_type(self._stored_syntax), data)

    def _convert(self, data: bytes) -> bytes:
        return self._app.isolation.run(dicomweb_payloads.explicit, data)


class _TranscodedFile(_DecodedFile):
    """A stored file in another lossless transfer syntax, made when it is due."""

    def __init__(self, app: AppContext, digest: str, stored_syntax: str, wanted: str) -> None:
        super().__init__(app, digest, stored_syntax)
        self._wanted = wanted

    def _convert(self, data: bytes) -> bytes:
        return self._app.isolation.run(transcode_lossless, data, self._wanted)


@retrieving.get("/studies/{study}/metadata", summary="Attributes of a study", response_class=Response)
@runs_in("rendering")
def retrieve_study_metadata(request: Request, call: Annotated[Call, allow("image.read")], study: Uid) -> Response:
    """The attributes of all objects of a study, long values by their addresses."""
    return _metadata(request, call, study)


@retrieving.get("/studies/{study}/series/{series}/metadata", summary="Attributes of a series", response_class=Response)
@runs_in("rendering")
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
@runs_in("rendering")
def retrieve_instance_metadata(
    request: Request, call: Annotated[Call, allow("image.read")], study: Uid, series: Uid, instance: Uid
) -> Response:
    """The attributes of one object."""
    return _metadata(request, call, study, series, instance)


def _metadata(
    request: Request, call: Call, study: str, series: str | None = None, instance: str | None = None
) -> Response:
    media_type = choose_json_or_xml(request)
    instances = read_instances(request, call, "metadata", study, series, instance)
    root = root_of(request)
    lines: list[bytes] = []
    series_pairs = dict.fromkeys((stored.image.series_id, stored.series_uid) for stored in instances)
    for series_id, series_uid in series_pairs:
        metadata = series_metadata(call.app, series_id)
        address = f'"BulkDataURI":"{root}/studies/{study}/series/{series_uid}/'.encode()
        selected = metadata.lines if instance is None else [metadata.find_object(instance) or b"{}"]
        lines += [line.replace(f'"BulkDataURI":"{dicomweb_payloads.BULK}/'.encode(), address) for line in selected]
    if media_type == DICOM_XML:
        parts = [
            ResponsePart(DICOM_XML, f"{stored.address(root)}/metadata", _XmlDocument(line))
            for stored, line in zip(instances, lines, strict=True)
        ]
        return PartsResponse(parts, DICOM_XML, headers={"Cache-Control": "no-store", "Vary": "Accept"})
    content = b"[" + b",".join(lines) + b"]"
    return Response(content, media_type=media_type, headers={"Cache-Control": "no-store", "Vary": "Accept"})


class _XmlDocument:
    """The XML of a line of DICOM JSON, made when it is due."""

    def __init__(self, line: bytes) -> None:
        self._line = line

    def __call__(self) -> bytes:
        return native_model(json.loads(self._line))


@retrieving.get(
    "/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path:path}",
    summary="A long value of an instance",
    response_class=Response,
)
@runs_in("rendering")
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
    etag = f"{stored.image.blob[:32]}-{path}"
    if isinstance(source, bytes):
        return content_response(request, etag, source, OCTETS)
    if len(source) == 1:
        return file_response(request, etag, source[0], OCTETS)
    return PartsResponse([ResponsePart(OCTETS, f"{address}/bulkdata/{path}", source)], OCTETS)


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
