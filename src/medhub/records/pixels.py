# SPDX-License-Identifier: Apache-2.0
"""Decoding of what was received and of what is stored, in processes that can be killed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medhub.foundation.installation import Installation
from medhub.science.imaging import wire
from medhub.science.imaging.limits import Limits
from medhub.science.imaging.prepared import Context, Prepared


def prepare(house: Installation, data: bytes, context: Context, limits: Limits) -> Prepared:
    """Clean a received file in memory and turn it into DICOM."""
    return Prepared.from_wire(house.isolation.run(wire.prepare, data, context.to_wire(), limits.to_wire()))


def frame(house: Installation, digest: str, number: int = 0) -> NDArray[np.uint8]:
    """One frame of a stored image, rows x columns x 3, RGB."""
    return wire.array(house.isolation.run(wire.frame, house.blobs.get(digest), number))


def rendition(house: Installation, digest: str, size: int, number: int = 0) -> bytes:
    """A WebP picture of one frame of a stored image, at most ``size`` pixels at its longest side."""
    return house.isolation.run(wire.rendition, house.blobs.get(digest), size, "webp", number)


def photograph(house: Installation, digest: str) -> tuple[bytes, str]:
    """A stored photograph as a file that any program opens, and its media type."""
    content, media_type = house.isolation.run(wire.download, house.blobs.get(digest))
    return bytes(content), str(media_type)  # type: ignore[arg-type]
