# SPDX-License-Identifier: Apache-2.0
"""HEIC and AVIF photographs: read the right way up, written anew without metadata, refused with a reason."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image
from pydicom import dcmread

from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.deid.file_cleaning import clean_file
from medhub.science.deid.profile import Pixels, Profile
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.photographs import heic_format
from medhub.science.imaging.photographs.format_registry import (
    ACCEPTED_FORMATS,
    FORMATS,
    PHOTOGRAPH_EXTENSIONS,
    identify_format,
    read_photograph,
)
from medhub.science.imaging.rendering.frames import read_frame
from tests.science.imaging.photographs.make_heic_files import FOLDER, SECRET, gradient
from tests.science.imaging.pictures import CONTEXT, LIMITS

KEY = b"a key of sixteen bytes or more"
PROFILE = Profile(name="plain", title="Plain", version=1, pixels=Pixels(also_reconstructed=False))


def heic(name: str) -> bytes:
    return (FOLDER / f"{name}.heic").read_bytes()


def avif(pixels: NDArray[Any] | None = None, **options: Any) -> bytes:
    out = BytesIO()
    Image.fromarray(gradient() if pixels is None else pixels).save(out, "AVIF", quality=95, **options)
    return out.getvalue()


def avif_with_metadata(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = SECRET
    exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = SECRET
    return avif(exif=exif, xmp=f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a>{SECRET}</a></x:xmpmeta>".encode())


FILES = {"HEIC": heic("metadata"), "AVIF": avif_with_metadata()}


def refusal(data: bytes, limits: DecodingLimits = LIMITS) -> Unacceptable:
    with pytest.raises(Unacceptable) as caught:
        read_photograph(data, limits)
    assert caught.value.message.endswith(".")
    return caught.value


def with_size(data: bytes, columns: int, rows: int) -> bytes:
    """The file with another size in its header (ispe)."""
    position = data.index(b"ispe") + 8
    return data[:position] + columns.to_bytes(4, "big") + rows.to_bytes(4, "big") + data[position + 8 :]


def with_rotation(data: bytes, quarter_turns: int) -> bytes:
    """A HEIC whose color property has become a rotation (irot)."""
    position = data.index(b"colr")
    length = int.from_bytes(data[position - 4 : position], "big") - 4
    box = b"irot" + bytes((quarter_turns,))
    return data[:position] + box + bytes(length - len(box)) + data[position + length :]


def test_a_heic_without_loss_is_read_exactly() -> None:
    photograph = read_photograph(heic("metadata"), LIMITS)
    assert photograph.kind == "HEIC"
    assert photograph.notes == ()
    assert photograph.pixels is not None
    assert np.array_equal(photograph.pixels, gradient())


@pytest.mark.parametrize("data", [heic("lossy"), avif()], ids=["HEIC", "AVIF"])
def test_pixels_are_those_of_the_file(data: bytes) -> None:
    photograph = read_photograph(data, LIMITS)
    assert photograph.lossy
    assert photograph.bits == 8
    assert np.abs(np.asarray(photograph.pixels, int) - gradient()).mean() < 3


def test_grey_files_have_one_sample() -> None:
    for data in (heic("grey"), avif(gradient()[..., 0])):
        pixels = np.asarray(read_photograph(data, LIMITS).pixels, int)
        assert np.abs((pixels if pixels.ndim == 2 else pixels[..., 0]) - gradient()[..., 0]).mean() < 3
    assert np.asarray(read_photograph(heic("grey"), LIMITS).pixels).ndim == 2


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_a_heic_is_turned_as_its_file_says(quarter_turns: int) -> None:
    photograph = read_photograph(with_rotation(heic("square"), quarter_turns), LIMITS)
    assert photograph.pixels is not None
    assert np.array_equal(photograph.pixels, np.rot90(gradient(64), quarter_turns))
    assert bool(photograph.notes) is (quarter_turns > 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_avif_is_turned_as_its_file_says(orientation: int) -> None:
    turned = read_photograph(avif_with_metadata(orientation), LIMITS)
    jpeg = BytesIO()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(gradient()).save(jpeg, "PNG", exif=exif)
    expected = np.asarray(read_photograph(jpeg.getvalue(), LIMITS).pixels, int)
    assert np.asarray(turned.pixels).shape == expected.shape
    assert np.abs(np.asarray(turned.pixels, int) - expected).mean() < 3


def test_transparent_parts_lie_on_white() -> None:
    alpha = np.dstack([gradient(), gradient()[..., 0]])
    for data in (heic("alpha"), avif(alpha)):
        photograph = read_photograph(data, LIMITS)
        pixels = np.asarray(photograph.pixels)
        assert pixels.shape == (48, 64, 3)
        assert pixels[:, 0].min() > 250
        assert not photograph.exact
        assert any("white" in note for note in photograph.notes)


def test_a_heic_of_ten_bits_keeps_them() -> None:
    photograph = read_photograph(heic("ten_bits"), LIMITS)
    assert photograph.pixels is not None
    assert photograph.pixels.dtype == np.uint16
    assert photograph.bits == 16
    assert not (photograph.pixels & 0x3F).any()
    assert len(np.unique(photograph.pixels)) > 256
    assert np.abs(photograph.pixels / 256 - gradient()).max() < 2
    assert any("10 bits" in note for note in photograph.notes)
    stored = prepare_arrival(heic("ten_bits"), context=CONTEXT, limits=LIMITS)
    assert (stored.bits, stored.samples) == (16, 3)


def test_an_avif_of_ten_bits_is_refused() -> None:
    data = bytearray(avif())
    data[data.index(b"av1C") + 6] |= 0x40
    refused = refusal(bytes(data))
    assert refused.reason == "unsupported"
    assert "10 or 12 bits" in refused.message


def test_high_dynamic_range_is_refused() -> None:
    for transfer in (16, 18):
        refused = refusal(heic("metadata").replace(b"nclx\0\1\0\x0d", b"nclx\0\1\0" + bytes((transfer,))))
        assert refused.reason == "unsupported"
        assert "high dynamic range" in refused.message


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_off_is_refused(name: str) -> None:
    data = FILES[name]
    for length in (20, 40, 200, len(data) // 2, len(data) - 1):
        assert refusal(data[:length]).reason == "truncated"


@pytest.mark.parametrize("name", FILES)
def test_a_size_beyond_the_limit_is_refused_before_pixels_are_decoded(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heic_format, "_open_heic", None)
    refused = refusal(with_size(FILES[name], 60_000, 50_000))
    assert refused.reason == "too-many-pixels"
    assert "60,000 x 50,000" in refused.message
    assert refusal(FILES[name], DecodingLimits(max_pixels=1_000)).reason == "too-many-pixels"
    assert refusal(with_size(FILES[name], 0, 50)).reason == "damaged"


def test_several_images_are_refused() -> None:
    moving = avif(save_all=True, append_images=[Image.fromarray(gradient()[::-1])])
    for data in (heic("burst"), moving):
        refused = refusal(data)
        assert refused.reason == "animated"
        assert "burst" in refused.message
    assert refusal(FILES["HEIC"].replace(b"ftypheix", b"ftyphevc")).reason == "animated"


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_refused_and_nothing_else_is_raised(name: str) -> None:
    generator = np.random.default_rng(7)
    for _ in range(60):
        data = bytearray(FILES[name])
        for position in generator.integers(0, len(data), 8):
            data[position] = generator.integers(0, 256)
        cleaned = clean_file(bytes(data), PROFILE, KEY)
        assert cleaned.outcome == "cleaned" or cleaned.reason.endswith(".")
        assert "cannot be read (" not in cleaned.reason
        assert SECRET.encode() not in cleaned.data


@pytest.mark.parametrize("name", FILES)
def test_the_cleaned_file_is_a_png_without_metadata(name: str) -> None:
    cleaned = clean_file(FILES[name], PROFILE, KEY)
    assert cleaned.outcome == "cleaned", cleaned.reason
    assert cleaned.suffix == ".png"
    assert SECRET.encode() not in cleaned.data
    with Image.open(BytesIO(cleaned.data), formats=("PNG",)) as image:
        assert not image.getexif()
        assert set(image.info) <= {"icc_profile", "gamma", "srgb"}
        assert np.array_equal(np.asarray(image), np.asarray(read_photograph(FILES[name], LIMITS).pixels))
    done = {(action.name, action.done) for action in cleaned.actions}
    assert {("Artist", "removed"), ("GPSLatitudeRef", "removed"), (f"{name} XMP", "removed")} <= done
    assert (f"{name} file", "replaced") in done
    assert SECRET not in repr(cleaned.actions)


@pytest.mark.parametrize("name", FILES)
def test_the_stored_object_shows_the_picture_and_no_metadata(name: str) -> None:
    stored = prepare_arrival(FILES[name], context=CONTEXT, limits=LIMITS)
    assert stored.kind == "photograph"
    assert SECRET.encode() not in stored.dicom
    assert np.array_equal(read_frame(stored.dicom), np.asarray(read_photograph(FILES[name], LIMITS).pixels))
    assert dcmread(BytesIO(stored.dicom)).LossyImageCompression == "01"


def test_without_the_decoder_a_heic_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heic_format, "pi_heif", None)
    assert "pi-heif" in refusal(FILES["HEIC"]).message


def test_each_format_is_described_once() -> None:
    assert [entry.name for entry in FORMATS] == ["JPEG", "PNG", "TIFF", "BMP", "WebP", "HEIC", "AVIF"]
    assert ACCEPTED_FORMATS == "JPEG, PNG, TIFF, BMP, WebP, HEIC, AVIF and DICOM"
    assert {".heic", ".heif", ".avif", ".jpg", ".jpeg"} <= PHOTOGRAPH_EXTENSIONS
    for attribute in ("name", "media_type", "extension"):
        assert len({getattr(entry, attribute) for entry in FORMATS}) == len(FORMATS)
    pixels = gradient()
    for entry in FORMATS:
        written = entry.write(pixels, None)
        assert identify_format(written) is (entry.rewritten_as or entry)
        assert np.array_equal(np.asarray(read_photograph(written, LIMITS).pixels), pixels)
