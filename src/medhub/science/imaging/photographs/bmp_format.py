# SPDX-License-Identifier: Apache-2.0
"""BMP photographs; they are always written anew, because their header may hold data of any kind."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from medhub.science.imaging.decoding_limits import DecodingLimits
from medhub.science.imaging.photographs.metadata_tags import read_exif_metadata
from medhub.science.imaging.photographs.photograph import Photograph
from medhub.science.imaging.photographs.photograph_format import PhotographFormat, starts_with
from medhub.science.imaging.photographs.raster_reader import build_photograph, decode_samples, open_raster, save_raster


def read_bmp(data: bytes, limits: DecodingLimits) -> Photograph:
    """Read a BMP file; see ``PhotographFormat.read``."""
    with open_raster(data, "BMP", limits) as image:
        samples = decode_samples(image, data, "BMP")
    return build_photograph("BMP", samples, lossy=False)


def write_bmp(samples: NDArray[Any], color_profile: bytes | None) -> bytes:
    """Write samples of eight bits; no color profile, which BMP cannot hold in the form that programs read."""
    del color_profile
    return save_raster(samples, "BMP")


BMP = PhotographFormat(
    name="BMP",
    media_type="image/bmp",
    extensions=(".bmp",),
    matches=starts_with(b"BM"),
    read=read_bmp,
    read_metadata=read_exif_metadata,
    write=write_bmp,
)
