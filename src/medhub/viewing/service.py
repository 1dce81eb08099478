# SPDX-License-Identifier: Apache-2.0
"""Images as the browser shows them: made when first asked for, and kept ready."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select

from medhub.foundation.app_context import AppContext
from medhub.foundation.file_responses import FileRange
from medhub.foundation.http_caching import ByteCache
from medhub.foundation.isolation import DecoderFailed
from medhub.records import isolated_calls, stored_files
from medhub.records.models import Image
from medhub.science.imaging.dicom.jpeg_offsets import HEAD_BYTES, TAIL_BYTES, jpeg_span
from medhub.science.imaging.rendering import dicomweb_payloads
from medhub.science.imaging.rendering.frame_views import View
from medhub.viewing.schemas import Content

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
THUMBNAIL_SIZE = 256
# Sizes in between are rounded up, so that few renditions serve all screens.
SIZES = (64, 128, 256, 512, 1024, 2048, 4096)

_recent = ByteCache(64 * 1024**2)


def rounded(size: int) -> int:
    """The size of the rendition that is made for a wanted size."""
    return next((step for step in SIZES if step >= size), SIZES[-1])


def rendition(app: AppContext, image: Image, size: int, frame: int) -> bytes:
    """A WebP picture of one frame."""
    if size == THUMBNAIL_SIZE and frame == 0 and image.thumbnail is not None:
        return app.blobs.get(image.thumbnail)
    key = f"{image.blob} {size} {frame}"
    content = _recent.get(key)
    if content is None:
        content = isolated_calls.rendition(app, image.blob, size, frame)
        _recent.put(key, content)
    return content


def view(app: AppContext, image: Image, number: int, wanted: View) -> bytes:
    """A picture of one frame, from 0, as a viewer asks for it."""
    key = f"{image.blob} {number} {wanted.key}"
    content = _recent.get(key)
    if content is None:
        content = app.isolation.run(dicomweb_payloads.render_frame_view, *_parts(app, image, number, wanted))
        _recent.put(key, content)
    return content


def frame_values(app: AppContext, image: Image, number: int, form: str) -> bytes:
    """The stored values of one frame, from 0, decoded: "raw", "png" or "jpeg"."""
    return app.isolation.run(dicomweb_payloads.values, *_parts(app, image, number, form))


def _parts(app: AppContext, image: Image, number: int, what: Any) -> tuple[Any, ...]:
    """What a process apart gets: of several frames only the one that is asked for."""
    part = stored_files.frame_part(app, image.blob, number) if image.frames > 1 else None
    if part is None:
        return app.blobs.get(image.blob), number, what
    return part.head, number, what, part.frame, part.vr, part.encapsulated


def stored_frame(app: AppContext, image: Image, number: int) -> list[FileRange]:
    """Where one frame, from 0, lies as it is stored; none where it must be decoded to be told apart."""
    path = app.blobs.path(image.blob)
    spans = stored_files.frame_spans(app, image.blob, number)
    return [FileRange(path, at, length) for at, length in spans or ()]


def content(app: AppContext, image: Image) -> Content:
    """What an object says beside its picture and which objects of its project it refers to."""
    said = isolated_calls.content(app, image.blob)
    try:
        return _linked(app, image, said)
    except (ValidationError, LookupError, TypeError, ValueError) as error:
        raise DecoderFailed("The program that reads files gave an invalid answer.", how="answer") from error


def _linked(app: AppContext, image: Image, said: dict[str, Any]) -> Content:
    sources = said.pop("frame_sources")
    named = {str(one[0]) for one in sources if one}
    _name_all(said["tree"], named)
    known = _images_by_uid(app, image.project_id, named)
    _link_all(said["tree"], known)
    linked = [
        {"image_id": known[one[0]], "frame": int(one[1]) - 1} if one and one[0] in known else None for one in sources
    ]
    return Content.model_validate({**said, "frame_sources": linked if any(linked) else []})


def _name_all(node: dict[str, Any] | None, named: set[str]) -> None:
    for one in _nodes(node):
        if one["refers_to"]:
            named.add(str(one["refers_to"]))


def _link_all(node: dict[str, Any] | None, known: Mapping[str, str]) -> None:
    for one in _nodes(node):
        one["image_id"] = known.get(str(one["refers_to"]))


def _nodes(root: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    waiting = [root] if root is not None else []
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node["children"]


def _images_by_uid(app: AppContext, project_id: str, uids: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    several = sorted(uids)
    with app.database.reading() as session:
        for start in range(0, len(several), 500):
            rows = session.execute(
                select(Image.sop_instance_uid, Image.id).where(
                    Image.project_id == project_id, Image.sop_instance_uid.in_(several[start : start + 500])
                )
            )
            found |= dict(rows.all())
    return found


def kept_photograph(app: AppContext, image: Image) -> FileRange | None:
    """Where the stored file holds a photograph as it came; it is sent from there, without another process."""
    if image.transfer_syntax_uid != JPEG_BASELINE:
        return None
    path = app.blobs.path(image.blob)
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        tail_at = max(0, size - TAIL_BYTES)
        found = jpeg_span(os.pread(file.fileno(), HEAD_BYTES, 0), os.pread(file.fileno(), TAIL_BYTES, tail_at), size)
    return FileRange(path, *found) if found is not None else None
