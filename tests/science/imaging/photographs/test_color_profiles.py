# SPDX-License-Identifier: Apache-2.0
"""Photographs with a color profile look and are classified as their sRGB twins."""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from medhub.science.arrivals.cleaned_image import CleanedImage
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.arrivals.transient_decoding import decode_photograph
from medhub.science.deid.file_cleaning import clean_file
from medhub.science.deid.profile import find_profile
from medhub.science.imaging.photographs.color_conversion import COLOR_NOTE, adobe_rgb_profile, changes_colors
from medhub.science.imaging.rendering.frames import read_frame
from tests.science.imaging.pictures import CONTEXT, LIMITS, cells, deep_png, encode, png_chunk

SRGB = ImageCms.createProfile("sRGB")
D65 = [0.3127, 0.3290, 1.0]
PRIMARIES = {
    "Display P3": ([0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1], 2.2),
    "Adobe RGB": ([0.64, 0.33, 1, 0.21, 0.71, 1, 0.15, 0.06, 1], 563 / 256),
    "ProPhoto": ([0.7347, 0.2653, 1, 0.1596, 0.8404, 1, 0.0366, 0.0001, 1], 1.8),
}
WIDE = {
    name: bytes(imagecodecs.cms_profile("rgb", whitepoint=D65, primaries=primaries, gamma=gamma))
    for name, (primaries, gamma) in PRIMARIES.items()
}


def prepare(data: bytes) -> CleanedImage:
    return prepare_arrival(data, context=CONTEXT, limits=LIMITS)


def twin(pixels: NDArray[np.uint8], profile: bytes) -> NDArray[np.int64]:
    """The picture in sRGB, by LittleCMS."""
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    converted = ImageCms.profileToProfile(Image.fromarray(pixels), source, SRGB)
    return np.asarray(converted).astype(np.int64)


FORMS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "PNG": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("form", FORMS)
def test_colors_are_converted_to_srgb(form: str, name: str) -> None:
    data = encode(cells(), form, icc_profile=WIDE[name], **FORMS[form])
    with Image.open(BytesIO(data)) as image:
        wanted = twin(np.asarray(image.convert("RGB")), WIDE[name])
    prepared = prepare(data)
    assert np.abs(read_frame(prepared.dicom).astype(int) - wanted).max() <= 1
    assert np.abs(decode_photograph(data, LIMITS).astype(int) - wanted).max() <= 1
    assert COLOR_NOTE in prepared.notes
    assert not prepared.lossless


@pytest.mark.parametrize("form", FORMS)
def test_a_profile_of_srgb_changes_nothing(form: str) -> None:
    for profile in (ImageCms.ImageCmsProfile(SRGB).tobytes(), bytes(imagecodecs.cms_profile("srgb"))):
        with_profile = prepare(encode(cells(), form, icc_profile=profile, **FORMS[form]))
        without = prepare(encode(cells(), form, **FORMS[form]))
        assert with_profile.notes == without.notes == ()
        assert np.array_equal(read_frame(with_profile.dicom), read_frame(without.dicom))
        assert with_profile.transfer_syntax_uid == without.transfer_syntax_uid


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("named", [(2, None), (0xFFFF, "R03")])
def test_adobe_rgb_that_only_exif_names_is_converted(form: str, named: tuple[int, str | None]) -> None:
    block = Image.Exif()
    space, index = named
    block.get_ifd(ExifTags.IFD.Exif)[0xA001] = space
    if index:
        block.get_ifd(ExifTags.IFD.Exif)[0xA005] = {1: index}
    data = encode(cells(), form, exif=block.tobytes(), **FORMS[form])
    with Image.open(BytesIO(data)) as image:
        wanted = twin(np.asarray(image.convert("RGB")), adobe_rgb_profile())
    prepared = prepare(data)
    assert COLOR_NOTE in prepared.notes
    assert np.abs(read_frame(prepared.dicom).astype(int) - wanted).max() <= 1


def test_exif_of_srgb_changes_nothing() -> None:
    block = Image.Exif()
    block.get_ifd(ExifTags.IFD.Exif)[0xA001] = 1
    assert prepare(encode(cells(), "JPEG", exif=block)).notes == ()


def test_sixteen_bits_are_converted_as_eight() -> None:
    profile = WIDE["Display P3"]
    data = deep_png(cells().astype(np.uint16) * 257)
    chunk = png_chunk(b"iCCP", b"p\x00\x00" + zlib.compress(profile))
    prepared = prepare(data[:33] + chunk + data[33:])
    assert prepared.bits == 16
    assert np.abs(read_frame(prepared.dicom).astype(int) - twin(cells(), profile)).max() <= 1


def test_a_damaged_profile_is_noted() -> None:
    prepared = prepare(encode(cells(), "PNG", icc_profile=b"no profile" * 30))
    assert "cannot be read" in prepared.notes[0]
    assert np.array_equal(read_frame(prepared.dicom), cells())
    assert changes_colors(b"") is None
    assert changes_colors(WIDE["Display P3"], "L") is False


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_cleaned_photograph_shows_the_same_colors(form: str) -> None:
    profile = WIDE["Display P3"]
    data = encode(cells(), form, icc_profile=profile, **FORMS[form])
    result = clean_file(data, find_profile("research-max-utility"), bytes(16))
    cleaned = result.data or result.doubtful
    with Image.open(BytesIO(data)) as image:
        wanted = twin(np.asarray(image.convert("RGB")), profile)
    assert np.abs(decode_photograph(cleaned, LIMITS).astype(int) - wanted).max() <= 1


def test_a_cleaned_photograph_keeps_adobe_rgb_that_only_exif_names() -> None:
    block = Image.Exif()
    block.get_ifd(ExifTags.IFD.Exif)[0xA001] = 2
    data = encode(cells(), "JPEG", exif=block, **FORMS["JPEG"])
    result = clean_file(data, find_profile("research-max-utility"), bytes(16))
    before, after = decode_photograph(data, LIMITS), decode_photograph(result.data or result.doubtful, LIMITS)
    assert np.abs(before.astype(int) - after).max() <= 1
