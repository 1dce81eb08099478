# SPDX-License-Identifier: Apache-2.0
"""The EXIF and TIFF tags of photographs, listed by name (EXIF 2.32; TIFF 6.0)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any

from PIL import ExifTags, Image

from medhub.science.imaging.photographs.photograph_format import MetadataTag, PhotographMetadata

_EXIF_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop, ExifTags.IFD.IFD1)
# Tags that describe the layout of samples in a TIFF file; it is written anew, so that they are no metadata.
_TIFF_LAYOUT = frozenset(
    [254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 283, 284, 290, 296, 317, 320, 322, 323]
) | frozenset([324, 325, 338, 339, 347, 529, 530, 531, 532, 34675])


def read_exif_metadata(data: bytes) -> PhotographMetadata:
    """List the EXIF tags of a file that Pillow opens, and its color profile."""
    with Image.open(BytesIO(data)) as image:
        return PhotographMetadata(list(list_exif_tags(image.getexif())), image.info.get("icc_profile"))


def read_tiff_metadata(data: bytes) -> PhotographMetadata:
    """List the tags of a TIFF file that say more than how its samples lie, and its color profile."""
    with Image.open(BytesIO(data), formats=("TIFF",)) as image:
        root = image.tag_v2.items()  # type: ignore[attr-defined]
        tags = list(_name_tags("TIFF", ((tag, value) for tag, value in root if tag not in _TIFF_LAYOUT)))
        exif = image.getexif()
        for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            tags += _directory_tags(exif, directory)
        return PhotographMetadata(tags, image.info.get("icc_profile"))


def list_exif_tags(exif: Image.Exif) -> Iterator[MetadataTag]:
    """List the tags of EXIF data in all directories."""
    yield from _name_tags("EXIF", exif.items())
    for directory in _EXIF_DIRECTORIES:
        yield from _directory_tags(exif, directory)


def _directory_tags(exif: Image.Exif, directory: ExifTags.IFD) -> list[MetadataTag]:
    names = ExifTags.GPSTAGS if directory == ExifTags.IFD.GPSInfo else ExifTags.TAGS
    tags: list[MetadataTag] = []
    with suppress(KeyError, ValueError, TypeError):
        block = "EXIF thumbnail" if directory == ExifTags.IFD.IFD1 else "EXIF"
        tags.extend(_name_tags(block, exif.get_ifd(directory).items(), names))
    return tags


def _name_tags(
    block: str, entries: Iterable[tuple[int, Any]], names: dict[int, str] = ExifTags.TAGS
) -> Iterator[MetadataTag]:
    for tag, value in entries:
        yield MetadataTag(block, names.get(tag, f"{tag:#06x}"), value)
