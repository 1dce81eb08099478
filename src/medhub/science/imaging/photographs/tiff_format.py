# SPDX-License-Identifier: Apache-2.0
"""TIFF photographs of one page; they are always written anew, because any tag may hold text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.photographs.deep_color import write_deep
from medhub.science.imaging.photographs.metadata_tags import read_tiff_metadata
from medhub.science.imaging.photographs.photograph import Photograph
from medhub.science.imaging.photographs.photograph_format import PhotographFormat, starts_with
from medhub.science.imaging.photographs.raster_reader import (
    build_photograph,
    decode_samples,
    open_raster,
    read_orientation,
    save_raster,
)

_SIGNATURES = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_LOSSY_COMPRESSIONS = ("jpeg", "tiff_jpeg", "webp")
_NEW_SUBFILE_TYPE = 254


def read_tiff(data: bytes, limits: DecodingLimits) -> Photograph:
    """Read a TIFF file of one page; see ``PhotographFormat.read``."""
    with open_raster(data, "TIFF", limits) as image:
        _refuse_several_pages(image, limits)
        lossy = image.info.get("compression", "") in _LOSSY_COMPRESSIONS
        # Pillow turns a TIFF while it decodes it, and forgets its orientation.
        orientation = read_orientation(image)
        samples = decode_samples(image, data, "TIFF")
    return build_photograph("TIFF", samples, orientation, lossy=lossy, already_turned=True)


def _refuse_several_pages(image: Image.Image, limits: DecodingLimits) -> None:
    """Refuse a TIFF of several pages; reduced copies of the same page do not count."""
    pages = 1
    for number in range(1, 1 + limits.max_frames):
        try:
            image.seek(number)
        except EOFError:
            break
        if not image.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & 1:  # type: ignore[attr-defined]
            pages += 1
        if pages > 1:
            raise Unacceptable(
                "This TIFF file has several pages. Save each page that matters as a separate file.",
                reason="unsupported",
            )
    image.seek(0)


def write_tiff(samples: NDArray[Any], color_profile: bytes | None) -> bytes:
    """Write samples without loss; see ``PhotographFormat.write``."""
    if samples.dtype == np.uint16 and samples.ndim == 3:
        return write_deep(samples, ".tif", _SIGNATURES)
    return save_raster(samples, "TIFF", color_profile, compression="tiff_adobe_deflate")


TIFF = PhotographFormat(
    name="TIFF",
    media_type="image/tiff",
    extensions=(".tif", ".tiff"),
    matches=starts_with(*_SIGNATURES),
    read=read_tiff,
    read_metadata=read_tiff_metadata,
    write=write_tiff,
)
