# SPDX-License-Identifier: Apache-2.0
"""HEIC photographs (HEIF with HEVC, ISO/IEC 23008-12), decoded by libheif; they are written anew as PNG."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable, refuse_oversized
from medhub.science.imaging.photographs.bmff_boxes import (
    check_still_image,
    is_turned,
    read_brands,
    refuse_several_images,
)
from medhub.science.imaging.photographs.bmff_metadata import hide_metadata, read_metadata_items
from medhub.science.imaging.photographs.deep_color import lay_on_white
from medhub.science.imaging.photographs.metadata_tags import list_exif_tags
from medhub.science.imaging.photographs.photograph import Photograph
from medhub.science.imaging.photographs.photograph_format import MetadataTag, PhotographFormat, PhotographMetadata
from medhub.science.imaging.photographs.png_format import PNG, write_png
from medhub.science.imaging.photographs.raster_reader import (
    TRANSPARENCY_NOTE,
    TURNED_NOTE,
    DecodedSamples,
    build_photograph,
    convert_colors,
    decode_samples,
)
from medhub.science.imaging.photographs.refusal_messages import decoding

# pi-heif is libheif with its decoder (LGPL); pillow-heif bundles the encoder x265 (GPL) as well.
try:
    import pi_heif
except ImportError:  # there is no wheel for this platform
    pi_heif = None

_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_OTHER_BRANDS = frozenset((b"avif", b"avis"))


def is_heic(data: bytes) -> bool:
    """Whether the brands of a file are those of HEIF, and not of AVIF."""
    brands = frozenset(read_brands(data))
    return bool(brands & _BRANDS) and not brands & _OTHER_BRANDS


def read_heic(data: bytes, limits: DecodingLimits) -> Photograph:
    """Read a HEIC file of one image; see ``PhotographFormat.read``.

    The decoder applies the rotation and mirroring of the file; an EXIF orientation only repeats them (ISO/IEC 23008-12,
    annex A) and is ignored. Samples of more than eight bits are stored in the upper bits of sixteen.
    """
    with decoding("HEIC"):
        properties = check_still_image(data, "HEIC", limits)
        file = _open_heic(data)
        if len(file) > 1:
            raise refuse_several_images("HEIC")
        refuse_oversized(file.size[1], file.size[0], limits)
        samples = _decode(file, data)
        samples = convert_colors(samples, file.info.get("icc_profile"))
    if is_turned(properties):
        samples = samples._replace(notes=(*samples.notes, TURNED_NOTE))
    return build_photograph("HEIC", samples, lossy=True)


def _open_heic(data: bytes) -> Any:
    if pi_heif is None:
        raise Unacceptable(
            "HEIC files cannot be read here, because pi-heif is not installed. Save it as a JPEG or PNG file.",
            reason="unsupported",
        )
    return pi_heif.open_heif(hide_metadata(data, "HEIC"), convert_hdr_to_8bit=False)


def _decode(file: Any, data: bytes) -> DecodedSamples:
    # A copy, because the memory of the decoder is freed with the file.
    pixels = np.array(file)
    if pixels.dtype == np.uint8:
        return decode_samples(Image.fromarray(pixels), data, "HEIC")
    notes = (f"Its samples of {file.info['bit_depth']} bits are stored in the upper bits of 16.",)
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return DecodedSamples(pixels, 16, True, notes)
    flat, opaque = lay_on_white(pixels[..., :-1].squeeze(), pixels[..., -1])
    return DecodedSamples(flat, 16, opaque, notes if opaque else (*notes, TRANSPARENCY_NOTE))


def read_heic_metadata(data: bytes) -> PhotographMetadata:
    """List the EXIF tags and the further items of a HEIC file, and its color profile."""
    tags: list[MetadataTag] = []
    for item in read_metadata_items(data, "HEIC"):
        if item.type == "Exif":
            exif = Image.Exif()
            # Its first four bytes are an offset to the TIFF header.
            exif.load(b"Exif\0\0" + item.content[4 + int.from_bytes(item.content[:4], "big") :])
            tags += list_exif_tags(exif)
        else:
            tags.append(MetadataTag("HEIC", "XMP" if item.type == "mime" else "metadata", ""))
    info = _open_heic(data).info
    images = (("thumbnails", "thumbnail"), ("depth_images", "depth image"), ("aux", "auxiliary image"))
    tags += [MetadataTag("HEIC", name, "") for key, name in images if info.get(key)]
    return PhotographMetadata(tags, info.get("icc_profile"))


HEIC = PhotographFormat(
    name="HEIC",
    media_type="image/heic",
    extensions=(".heic", ".heif"),
    matches=is_heic,
    read=read_heic,
    read_metadata=read_heic_metadata,
    write=write_png,
    rewritten_as=PNG,
)
