# SPDX-License-Identifier: Apache-2.0
"""AVIF photographs (AV1 Image File Format 1.1), decoded by Pillow with libavif; they are written anew as PNG."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.photographs.bmff_boxes import check_still_image, read_brands, refuse_several_images
from medhub.science.imaging.photographs.metadata_tags import read_exif_metadata
from medhub.science.imaging.photographs.photograph import Photograph
from medhub.science.imaging.photographs.photograph_format import MetadataTag, PhotographFormat, PhotographMetadata
from medhub.science.imaging.photographs.png_format import PNG, write_png
from medhub.science.imaging.photographs.raster_reader import (
    build_photograph,
    decode_samples,
    open_raster,
    read_orientation,
)
from medhub.science.imaging.photographs.refusal_messages import decoding

_BRANDS = frozenset((b"avif", b"avis"))
_HIGH_BIT_DEPTH = 0x40


def is_avif(data: bytes) -> bool:
    """Whether the brands of a file are those of AVIF."""
    return not _BRANDS.isdisjoint(read_brands(data))


def read_avif(data: bytes, limits: DecodingLimits) -> Photograph:
    """Read an AVIF file of one image with eight bits a sample; see ``PhotographFormat.read``."""
    with decoding("AVIF"):
        properties = check_still_image(data, "AVIF", limits)
    # Third byte of the AV1 codec configuration (av1C).
    if any(len(content) > 2 and content[2] & _HIGH_BIT_DEPTH for content in properties.get(b"av1C", ())):
        raise Unacceptable(
            "The samples of this AVIF file have 10 or 12 bits, of which only 8 can be read. Save it with 8 bits a "
            "sample, or as a PNG or TIFF file with 16.",
            reason="unsupported",
        )
    with open_raster(data, "AVIF", limits) as image:
        if getattr(image, "n_frames", 1) > 1:
            raise refuse_several_images("AVIF")
        # Pillow reports the rotation and mirroring of the file as an EXIF orientation.
        orientation = read_orientation(image)
        samples = decode_samples(image, data, "AVIF")
    return build_photograph("AVIF", samples, orientation, lossy=True)


def read_avif_metadata(data: bytes) -> PhotographMetadata:
    """List the EXIF tags of an AVIF file and whether it has XMP, and its color profile."""
    tags, color_profile = read_exif_metadata(data)
    with Image.open(BytesIO(data), formats=("AVIF",)) as image:
        tags += [MetadataTag("AVIF", "XMP", "")] if image.info.get("xmp") else []
    return PhotographMetadata(tags, color_profile)


AVIF = PhotographFormat(
    name="AVIF",
    media_type="image/avif",
    extensions=(".avif",),
    matches=is_avif,
    read=read_avif,
    read_metadata=read_avif_metadata,
    write=write_png,
    rewritten_as=PNG,
)
