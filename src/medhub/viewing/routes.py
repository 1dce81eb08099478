# SPDX-License-Identifier: Apache-2.0
"""Routes of renditions and original files."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.errors import Invalid
from medhub.foundation.file_responses import FileRange
from medhub.foundation.http_caching import cacheable_file_response, cacheable_response, is_unchanged
from medhub.foundation.work_pools import runs_in
from medhub.records import isolated_calls, studies
from medhub.records.models import Image
from medhub.viewing import service
from medhub.viewing.schemas import Content

images = APIRouter(prefix="/api/images", tags=["images"])

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_UNCHANGED = {"description": "The browser has it already."}


def _open_image(call: Call, image_id: str, view: str) -> Image:
    with call.reading() as session:
        image = studies.get_image(session, call.actor, image_id)
        studies.record_image(session, call.actor, "image.view", image, what=view)
        return image


@images.get(
    "/{id}/rendered",
    summary="Rendition of an image",
    response_class=Response,
    responses={200: {"content": {"image/webp": _BINARY}, "description": "A WebP picture."}, 304: _UNCHANGED},
)
@runs_in("rendering")
def read_rendered(
    request: Request,
    call: Annotated[Call, allow("image.read")],
    id: ItemId,
    size: Annotated[int, Query(ge=16, le=4096, description="Pixels at the longest side; rounded up to a step.")] = 1024,
    frame: Annotated[int, Query(ge=0, le=100_000, description="Number of the frame, from 0.")] = 0,
) -> Response:
    """One frame, or page of a document, as a WebP picture; it never changes and has an ETag."""
    size = service.round_size(size)
    image = _open_image(call, id, "rendition")
    if image.frames == 0 and image.shown_as != "document":
        raise Invalid("This object has no picture. Its content is at /api/images/{id}/content.", field="id")
    if frame >= image.frames and image.shown_as != "document":
        raise Invalid(f"This image has {image.frames} frames, numbered from 0.", field="frame")
    etag = f"{image.blob[:32]}-{size}-{frame}"
    content = None if is_unchanged(request, etag) else service.rendition(call.app, image, size, frame)
    return cacheable_response(request, etag, content, "image/webp")


@images.get("/{id}/content", summary="Content of an object besides its picture")
@runs_in("rendering")
def read_content(call: Annotated[Call, allow("image.read")], id: ItemId) -> Content:
    """Facts and tables of any object; the tree of a report, segments, waveforms, the text of a document."""
    return service.content(call.app, _open_image(call, id, "content"))


@images.get(
    "/{id}/original",
    summary="Original file of an image",
    response_class=Response,
    responses={
        200: {
            "content": {
                "image/jpeg": _BINARY,
                "image/png": _BINARY,
                "application/dicom": _BINARY,
                "application/pdf": _BINARY,
                "application/octet-stream": _BINARY,
            },
            "description": "The photograph without its metadata, or the de-identified DICOM file.",
        },
        304: _UNCHANGED,
    },
)
@runs_in("rendering")
def read_original(
    request: Request,
    call: Annotated[Call, allow("image.read")],
    id: ItemId,
    form: Annotated[
        str | None,
        Query(
            pattern="^(dicom|document)$",
            description="`dicom` gives the stored DICOM file, `document` the document within it.",
        ),
    ] = None,
) -> Response:
    """The original file: the JPEG or PNG of a photograph, otherwise the de-identified DICOM file."""
    image = _open_image(call, id, "original")
    if form == "document":
        return _document_response(call, image)
    as_dicom = form == "dicom" or image.kind == "dicom"
    etag = f"{image.blob[:32]}-{'dicom' if as_dicom else 'original'}"
    if is_unchanged(request, etag):
        return cacheable_response(request, etag, None, "image/jpeg")
    if as_dicom:
        response = cacheable_file_response(
            etag, FileRange.of_file(call.app.blobs.path(image.blob)), "application/dicom"
        )
        extension = "dcm"
    elif photograph := service.find_photograph(call.app, image):
        response, extension = cacheable_file_response(etag, photograph, "image/jpeg"), "jpg"
    else:
        content, media_type = isolated_calls.read_photograph(call.app, image.blob)
        response, extension = cacheable_response(request, etag, content, media_type), media_type.removeprefix("image/")
        extension = extension.replace("jpeg", "jpg")
    response.headers["Content-Disposition"] = f'attachment; filename="{image.id}.{extension}"'
    return response


_EXTENSIONS = {"application/pdf": "pdf", "text/xml": "xml", "model/stl": "stl", "model/obj": "obj", "model/mtl": "mtl"}


def _document_response(call: Call, image: Image) -> Response:
    """The document of an object, always as a download, since a browser must not display it."""
    content, media_type = isolated_calls.read_document(call.app, image.blob)
    extension = _EXTENSIONS.get(media_type, "bin")
    disposition = f'attachment; filename="{image.id}.{extension}"'
    return Response(
        content, media_type=media_type or "application/octet-stream", headers={"Content-Disposition": disposition}
    )
