# SPDX-License-Identifier: Apache-2.0
"""Images as the browser shows them: made when first asked for, and kept ready."""

from __future__ import annotations

import os

from medhub.foundation.caching import RecentBytes
from medhub.foundation.installation import Installation
from medhub.records import pixels
from medhub.records.models import Image
from medhub.science.imaging.kept_stream import HEAD_BYTES, TAIL_BYTES, jpeg_span

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
THUMBNAIL_SIZE = 256
# Sizes in between are rounded up, so that few renditions serve all screens.
SIZES = (64, 128, 256, 512, 1024, 2048, 4096)

_recent = RecentBytes(64 * 1024**2)


def rounded(size: int) -> int:
    """The size of the rendition that is made for a wanted size."""
    return next((step for step in SIZES if step >= size), SIZES[-1])


def rendition(house: Installation, image: Image, size: int, frame: int) -> bytes:
    """A WebP picture of one frame."""
    if size == THUMBNAIL_SIZE and frame == 0 and image.thumbnail is not None:
        return house.blobs.get(image.thumbnail)
    key = f"{image.blob} {size} {frame}"
    content = _recent.get(key)
    if content is None:
        content = pixels.rendition(house, image.blob, size, frame)
        _recent.put(key, content)
    return content


def original(house: Installation, image: Image) -> tuple[bytes, str]:
    """A photograph in full, as a file that any program opens, and its media type."""
    if image.transfer_syntax_uid == JPEG_BASELINE:
        stream = _kept_stream(house, image.blob)
        if stream is not None:
            return stream, "image/jpeg"
    return pixels.photograph(house, image.blob)


def _kept_stream(house: Installation, digest: str) -> bytes | None:
    """The JPEG stream as it came, read from its place: copying it through another process costs more than all else."""
    with house.blobs.path(digest).open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        tail_at = max(0, size - TAIL_BYTES)
        span = jpeg_span(os.pread(file.fileno(), HEAD_BYTES, 0), os.pread(file.fileno(), TAIL_BYTES, tail_at), size)
        if span is None:
            return None
        start, length = span
        stream = os.pread(file.fileno(), length, start)
    return stream if len(stream) == length else None
