# SPDX-License-Identifier: Apache-2.0
"""Decoding of what was received and of what is stored, in processes that can be killed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medhub.foundation.installation import Installation
from medhub.science.imaging import wire
from medhub.science.imaging.limits import Limits
from medhub.science.imaging.prepared import Context, Prepared
from medhub.science.imaging.writing import Region, Seen

# Reading takes about a second a million pixels, and up to twenty in a crowded field of cells; more is given on a busy
# machine, and not without end.
_LOOK_S_A_MEGAPIXEL = 40.0
_LONGEST_LOOK_S = 900.0


def prepare(house: Installation, data: bytes, context: Context, limits: Limits) -> Prepared:
    """Clean a received file in memory and turn it into DICOM."""
    return Prepared.from_wire(house.isolation.run(wire.prepare, data, context.to_wire(), limits.to_wire()))


def look(
    house: Installation,
    data: bytes,
    prepared: Prepared,
    context: Context,
    limits: Limits,
    chosen: Sequence[Region] | None = None,
) -> Seen:
    """Look for writing in the pixels of what was prepared, and make it black; or black what a person chose."""
    megapixels = prepared.rows * prepared.columns * prepared.frames / 1e6
    timeout_s = min(_LONGEST_LOOK_S, house.settings.decoder_timeout_s + _LOOK_S_A_MEGAPIXEL * megapixels)
    boxes = None if chosen is None else [list(box) for box in chosen]
    return wire.seen(
        (house.reading or house.isolation).run_within(
            timeout_s, wire.look, data, prepared.dicom, context.to_wire(), limits.to_wire(), boxes
        )
    )


def frame(house: Installation, digest: str, number: int = 0) -> NDArray[np.uint8]:
    """One frame of a stored image, rows x columns x 3, RGB."""
    return wire.array(house.isolation.run(wire.frame, house.blobs.get(digest), number))


def rendition(house: Installation, digest: str, size: int, number: int = 0) -> bytes:
    """A WebP picture of one frame of a stored image, at most ``size`` pixels at its longest side."""
    return house.isolation.run(wire.rendition, house.blobs.get(digest), size, "webp", number)


def texts(house: Installation, dicom: bytes) -> set[tuple[str, str]]:
    """The free text that remains in what was prepared: attribute and value."""
    return {(str(name), str(value)) for name, value in house.isolation.run(wire.texts, dicom)}


def view(house: Installation, dicom: bytes, size: int, number: int) -> bytes:
    """A WebP picture of one frame of what was prepared and is not stored, at most ``size`` pixels at a side."""
    return house.isolation.run(wire.rendition, dicom, size, "webp", number)


def photograph(house: Installation, digest: str) -> tuple[bytes, str]:
    """A stored photograph as a file that any program opens, and its media type."""
    content, media_type = house.isolation.run(wire.download, house.blobs.get(digest))
    return bytes(content), str(media_type)  # type: ignore[arg-type]
