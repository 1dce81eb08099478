# SPDX-License-Identifier: Apache-2.0
"""Pictures of images for the browser, rendered on request and cached."""

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
from medhub.science.imaging.dicom.pixel_offsets import HEAD_BYTES, TAIL_BYTES, locate_jpeg_stream
from medhub.science.imaging.rendering import dicomweb_payloads
from medhub.science.imaging.rendering.frame_views import View
from medhub.science.imaging.rendering.lossless_transcoding import transcode_frame
from medhub.viewing.schemas import Content

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
THUMBNAIL_SIZE = 256
# Sizes in between are rounded up, so that few renditions serve all screens.
SIZES = (64, 128, 256, 512, 1024, 2048, 4096)

_pictures = ByteCache(64 * 1024**2)


def round_size(size: int) -> int:
    """The rendition size for a requested size."""
    return next((step for step in SIZES if step >= size), SIZES[-1])


def rendition(app: AppContext, image: Image, size: int, frame: int) -> bytes:
    """A WebP picture of one frame."""
    if size == THUMBNAIL_SIZE and frame == 0 and image.thumbnail is not None:
        return app.blobs.get(image.thumbnail)
    key = f"{image.blob} {size} {frame}"
    content = _pictures.get(key)
    if content is None:
        content = isolated_calls.render_stored(app, image.blob, size, frame)
        _pictures.put(key, content)
    return content


def view(app: AppContext, image: Image, number: int, options: View) -> bytes:
    """A picture of one frame, numbered from 0, with the options of a viewer."""
    key = f"{image.blob} {number} {options.key}"
    content = _pictures.get(key)
    if content is None:
        content = app.isolation.run(dicomweb_payloads.render_frame_view, *_frame_arguments(app, image, number, options))
        _pictures.put(key, content)
    return content


def frame_values(app: AppContext, image: Image, number: int, form: str) -> bytes:
    """The decoded values of one frame, numbered from 0, as "raw", "png" or "jpeg"."""
    return app.isolation.run(dicomweb_payloads.values, *_frame_arguments(app, image, number, form))


def transcoded_frame(app: AppContext, image: Image, number: int, syntax: str) -> bytes:
    """One frame, numbered from 0, as a stream of another lossless transfer syntax."""
    return app.isolation.run(transcode_frame, *_frame_arguments(app, image, number, syntax))


def _frame_arguments(app: AppContext, image: Image, number: int, option: Any) -> tuple[Any, ...]:
    """The arguments for an isolated process: only the requested frame of a multi-frame file."""
    part = stored_files.frame_part(app, image.blob, number) if image.frames > 1 else None
    if part is None:
        return app.blobs.get(image.blob), number, option
    return part.head, number, option, part.frame, part.vr, part.encapsulated


def stored_frame(app: AppContext, image: Image, number: int) -> list[FileRange]:
    """The file ranges of one frame, numbered from 0; empty if frames cannot be separated without decoding."""
    path = app.blobs.path(image.blob)
    spans = stored_files.frame_spans(app, image.blob, number)
    return [FileRange(path, at, length) for at, length in spans or ()]


def content(app: AppContext, image: Image) -> Content:
    """The content of an object besides its pixels, with links to other objects of its project."""
    extracted = isolated_calls.read_content(app, image.blob)
    try:
        return _link_objects(app, image, extracted)
    except (ValidationError, LookupError, TypeError, ValueError) as error:
        raise DecoderFailed("The program that reads files gave an invalid answer.", how="answer") from error


def _link_objects(app: AppContext, image: Image, extracted: dict[str, Any]) -> Content:
    sources = extracted.pop("frame_sources")
    references = {str(source[0]) for source in sources if source}
    _collect_references(extracted["tree"], references)
    image_ids = _images_by_uid(app, image.project_id, references)
    _resolve_references(extracted["tree"], image_ids)
    linked = [
        {"image_id": image_ids[source[0]], "frame": int(source[1]) - 1} if source and source[0] in image_ids else None
        for source in sources
    ]
    return Content.model_validate({**extracted, "frame_sources": linked if any(linked) else []})


def _collect_references(root: dict[str, Any] | None, references: set[str]) -> None:
    for node in _nodes(root):
        if node["refers_to"]:
            references.add(str(node["refers_to"]))


def _resolve_references(root: dict[str, Any] | None, image_ids: Mapping[str, str]) -> None:
    for node in _nodes(root):
        node["image_id"] = image_ids.get(str(node["refers_to"]))


def _nodes(root: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    pending = [root] if root is not None else []
    while pending:
        node = pending.pop()
        yield node
        pending += node["children"]


def _images_by_uid(app: AppContext, project_id: str, uids: set[str]) -> dict[str, str]:
    ids_by_uid: dict[str, str] = {}
    sorted_uids = sorted(uids)
    with app.database.reading() as session:
        for start in range(0, len(sorted_uids), 500):
            rows = session.execute(
                select(Image.sop_instance_uid, Image.id).where(
                    Image.project_id == project_id, Image.sop_instance_uid.in_(sorted_uids[start : start + 500])
                )
            )
            ids_by_uid |= dict(rows.all())
    return ids_by_uid


def find_photograph(app: AppContext, image: Image) -> FileRange | None:
    """The range of an original JPEG inside the stored file, which is sent without an isolated process."""
    if image.transfer_syntax_uid != JPEG_BASELINE:
        return None
    path = app.blobs.path(image.blob)
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        tail_at = max(0, size - TAIL_BYTES)
        span = locate_jpeg_stream(
            os.pread(file.fileno(), HEAD_BYTES, 0), os.pread(file.fileno(), TAIL_BYTES, tail_at), size
        )
    return FileRange(path, *span) if span is not None else None
