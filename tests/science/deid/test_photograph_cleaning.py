# SPDX-License-Identifier: Apache-2.0
"""De-identification of photographs: metadata are removed, text is blackened, other pixels stay."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from medhub.science.deid.cleaning_result import Result
from medhub.science.deid.color_profiles import clean_color_profile
from medhub.science.deid.file_cleaning import clean_file, clean_object
from medhub.science.deid.profile import Pixels, Profile
from medhub.science.deid.pseudonym import Pseudonym
from medhub.science.imaging.decoding_limits import DecodingLimits
from tests.factories.burned import write_line

KEY = b"a key of sixteen bytes or more"
PROFILE = Profile(name="plain", title="Plain", version=1)
SECRET = "Zebrowska"
XMP = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a>{SECRET}</a></x:xmpmeta>".encode()


def _picture(text: str = "") -> NDArray[np.uint8]:
    """A color gradient, 240 x 320, with an optional line of text."""
    y, x = np.mgrid[0:240, 0:320]
    grey = 90.0 + x / 4
    if text:
        write_line(grey, text, (20, 12), 22, 250)
    return np.stack([grey, grey * 0.8, 60 + y / 3 + (grey - 90 - x / 4)], -1).clip(0, 255).astype(np.uint8)


def _exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = SECRET
    exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.BodySerialNumber] = SECRET
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = SECRET
    return exif


def _profile_of_colors() -> bytes:
    icc = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = icc.find(b"mluc") + 28  # its description, in two bytes a letter
    icc[at : at + 2 * len(SECRET)] = SECRET.encode("utf-16-be")
    return bytes(icc)


def _file(kind: str, pixels: NDArray[Any], *, orientation: int = 1) -> bytes:
    """A file of this format with a secret in all of its metadata."""
    out = BytesIO()
    image = Image.fromarray(pixels)
    options: dict[str, Any] = {}
    if kind in ("JPEG", "PNG", "WebP", "TIFF"):
        options = {"exif": _exif(orientation), "icc_profile": _profile_of_colors()}
    if kind in ("JPEG", "WebP"):
        options |= {"xmp": XMP, "quality": 90}
    if kind == "JPEG":
        options |= {"comment": SECRET}
    if kind == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("Author", SECRET)
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
        options |= {"pnginfo": texts}
    image.save(out, "WEBP" if kind == "WebP" else kind, **options)
    return out.getvalue() + SECRET.encode()


def _shown(data: bytes) -> NDArray[np.uint8]:
    with Image.open(BytesIO(data)) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1)
        pixels = np.asarray(image.convert("RGB"))
    return np.rot90(pixels, {1: 0, 6: -1, 3: 2, 8: 1}[turned])


def _lists_without_secret(result: Result, *words: str) -> bool:
    paths = [action.path for action in result.actions]
    return all(word in paths for word in words) and SECRET not in json.dumps(result.as_json("in", "out"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WebP"])
def test_metadata_go_and_the_picture_stays_in_a_file_of_its_kind(kind: str) -> None:
    data = _file(kind, _picture())
    result = clean_file(data, PROFILE, KEY)
    assert (result.outcome, result.reason, result.boxes) == ("cleaned", "", ())
    with Image.open(BytesIO(result.data)) as image:
        assert image.format == kind.upper()
        for form in (SECRET.encode(), SECRET.encode("utf-16-be"), SECRET.encode("utf-16-le")):
            assert form not in result.data
            assert form not in image.info.get("icc_profile", b"")
        if kind != "BMP":
            assert ImageCms.ImageCmsProfile(BytesIO(image.info["icc_profile"])).profile.xcolor_space.strip() == "RGB"
            assert _lists_without_secret(result, "ICC profile")
            assert _lists_without_secret(result, "TIFF Artist" if kind == "TIFF" else "EXIF Artist")
        if kind not in ("BMP", "TIFF"):
            assert _lists_without_secret(result, "EXIF GPSLatitudeRef", "EXIF BodySerialNumber")
    assert np.array_equal(_shown(result.data), _shown(data))
    assert SECRET not in result.output_path[-1]
    assert clean_file(data, PROFILE, KEY).output_path == result.output_path
    assert clean_file(data, PROFILE, KEY[::-1]).output_path != result.output_path


def test_a_jpeg_keeps_its_scan_byte_for_byte_and_its_orientation() -> None:
    data = _file("JPEG", _picture(), orientation=6)
    result = clean_file(data, PROFILE, KEY)
    scan = data[data.find(b"\xff\xda") : data.rfind(b"\xff\xd9")]
    assert len(scan) > 1000
    assert scan in result.data
    assert _shown(result.data).shape == (320, 240, 3)
    assert _lists_without_secret(result, "JPEG XMP", "JPEG comment", "after the end", "EXIF Artist")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WebP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_writing_becomes_black_and_no_other_pixel_changes(kind: str, orientation: int) -> None:
    upright = _picture("Kowalska, Anna")
    lying = np.ascontiguousarray(np.rot90(upright)) if orientation == 6 and kind != "BMP" else upright
    data = _file(kind, lying, orientation=orientation)
    result = clean_file(data, PROFILE, KEY)
    assert (result.outcome, result.suffix) == ("cleaned", ".png" if kind == "JPEG" else f".{result.suffix[1:]}")
    before = upright if kind != "JPEG" and kind != "WebP" else _shown(data)
    after = _shown(result.data)
    (box,) = {(x0, y0, x1, y1) for _, x0, y0, x1, y1 in result.boxes}
    x0, y0, x1, y1 = box
    assert (after[16:36, 24:180] == 0).all()
    outside = np.ones(after.shape[:2], bool)
    outside[y0:y1, x0:x1] = False
    assert np.array_equal(before[outside], after[outside])
    assert _lists_without_secret(result, "pixels")
    assert SECRET.encode() not in result.data


def test_a_name_that_a_camera_noted_does_not_stay_in_the_picture() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Long"
    for noted, boxes in ((None, 0), (exif, 1)):
        out = BytesIO()
        Image.fromarray(_picture("LONG")).save(out, "PNG", **({"exif": noted} if noted else {}))
        result = clean_file(out.getvalue(), PROFILE, KEY)
        assert len(result.boxes) >= boxes


def test_sixteen_bits_and_what_lies_under_transparent_parts() -> None:
    deep = np.asarray(_picture("Kowalska, Anna")[..., 0], np.uint16) * 200
    out = BytesIO()
    Image.fromarray(deep).save(out, "PNG")
    result = clean_file(out.getvalue(), PROFILE, KEY)
    with Image.open(BytesIO(result.data)) as image:
        after = np.asarray(image)
    assert result.boxes
    assert np.array_equal(after[60:], deep[60:])
    assert not after[16:36, 24:180].any()
    hidden = np.dstack([_picture("Kowalska, Anna"), np.zeros((240, 320), np.uint8)])
    out = BytesIO()
    Image.fromarray(hidden).save(out, "PNG")
    result = clean_file(out.getvalue(), PROFILE, KEY)
    with Image.open(BytesIO(result.data)) as image:
        assert image.mode == "RGB"
        assert (np.asarray(image) == 255).all()


def test_animations_and_files_of_several_pages_wait_with_a_reason() -> None:
    pages = [Image.fromarray(_picture()), Image.fromarray(_picture()[::-1])]
    for kind, word in (("TIFF", "several pages"), ("WEBP", "animation"), ("PNG", "animation"), ("GIF", "animation")):
        out = BytesIO()
        pages[0].save(out, kind, save_all=True, append_images=pages[1:])
        result = clean_file(out.getvalue(), PROFILE, KEY)
        assert (result.outcome, result.data, result.doubtful) == ("quarantined", b"", b"")
        assert word in result.reason


def test_without_cleaning_of_pixels_a_photograph_waits_without_its_metadata() -> None:
    without_pixels = Profile(name="kept", title="Kept", version=1, pixels=Pixels(clean=False))
    somebody = Pseudonym(KEY, "P-KNOWN", -70)
    result = clean_object(_file("JPEG", _picture()), without_pixels, somebody, KEY, DecodingLimits())
    assert "a person must review" in result.reason
    assert result.output_path[0] == "P-KNOWN"
    assert SECRET.encode() not in result.doubtful
    assert result.data == b""


STUMPS = [b"", b"\xff\xd8\xff\xe0 and no more", b"\x89PNG\r\n\x1a\n\0\0", b"RIFF\0\0\0\0WEBP", b"BM", b"II*\0"]


@pytest.mark.parametrize("data", STUMPS)
def test_what_only_begins_as_a_photograph_waits_with_a_reason(data: bytes) -> None:
    result = clean_file(data, PROFILE, KEY)
    assert result.outcome == "quarantined"
    assert len(result.reason) > 20


def test_a_color_profile_of_nonsense_goes() -> None:
    icc = _profile_of_colors()
    clean = clean_color_profile(icc)
    assert clean is not None
    assert clean_color_profile(clean) == clean
    for bad in (b"", icc[:100], icc[:300], b"\0" * 200, icc[:128] + b"\xff" * 200):
        assert clean_color_profile(bad) is None


def test_a_profile_may_hold_photographs_for_a_person_who_knows_a_face() -> None:
    held = Profile(name="held", title="Held", version=1, pixels=Pixels(faces="hold"))
    result = clean_file(_file("JPEG", _picture()), held, KEY)
    assert (result.outcome, result.data) == ("quarantined", b"")
    assert "face" in result.reason
