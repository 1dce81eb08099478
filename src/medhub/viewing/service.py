# SPDX-License-Identifier: Apache-2.0
"""Images as the browser shows them: made when first asked for, and kept ready."""

from __future__ import annotations

from medhub.foundation.caching import RecentBytes
from medhub.foundation.installation import Installation
from medhub.records import pixels
from medhub.records.models import Image

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
