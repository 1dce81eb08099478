# SPDX-License-Identifier: Apache-2.0
"""Images as the browser shows them: made when first asked for, and kept ready."""

from __future__ import annotations

import os

from medhub.foundation.caching import RecentBytes
from medhub.foundation.installation import Installation
from medhub.foundation.sending import Span
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


def kept_photograph(house: Installation, image: Image) -> Span | None:
    """Where the stored file holds a photograph as it came; it is sent from there, without another process."""
    if image.transfer_syntax_uid != JPEG_BASELINE:
        return None
    path = house.blobs.path(image.blob)
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        tail_at = max(0, size - TAIL_BYTES)
        found = jpeg_span(os.pread(file.fileno(), HEAD_BYTES, 0), os.pread(file.fileno(), TAIL_BYTES, tail_at), size)
    return Span(path, *found) if found is not None else None
