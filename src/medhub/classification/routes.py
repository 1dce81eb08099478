# SPDX-License-Identifier: Apache-2.0
"""Routes of evidence maps."""

from __future__ import annotations

import io
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from PIL import Image as Picture

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.classification import service
from medhub.foundation.http_caching import cacheable_response, is_unchanged
from medhub.foundation.work_pools import runs_in
from medhub.records import studies
from medhub.science.inference.explanation import colorize

images = APIRouter(prefix="/api/images", tags=["images"])

PNG = {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}, "description": "A PNG picture."}


@images.get(
    "/{id}/evidence",
    summary="Evidence map",
    response_class=Response,
    responses={200: PNG, 304: {"description": "The browser has it already."}},
)
@runs_in("rendering")
def read_evidence(
    request: Request,
    call: Annotated[Call, allow("image.read")],
    id: ItemId,
    size: Annotated[int, Query(ge=16, le=4096, description="Pixels at the longest side.")] = 1024,
) -> Response:
    """What the classifier looked at, as a translucent layer of the image's aspect; it is not a diagnosis."""
    with call.reading() as session:
        image, evidence, evidence_digest = service.evidence_of(session, call.app, call.actor, id)
        studies.record_image(session, call.actor, "image.view", image, what="evidence")
    etag = f"{evidence_digest[:32]}-{size}"
    if is_unchanged(request, etag):
        return cacheable_response(request, etag, None, "image/png")
    scale = min(1.0, size / max(image.width, image.height))
    layer = colorize(evidence, max(1, round(image.height * scale)), max(1, round(image.width * scale)))
    buffer = io.BytesIO()
    Picture.fromarray(layer).save(buffer, "PNG", compress_level=3)
    return cacheable_response(request, etag, buffer.getvalue(), "image/png")
