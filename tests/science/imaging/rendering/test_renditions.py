# SPDX-License-Identifier: Apache-2.0
"""Pictures for screens, and originals to be handed out."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.imaging.codecs.jpeg import clean_jpeg
from medhub.science.imaging.rendering.frames import read_frame
from medhub.science.imaging.rendering.renditions import MEDIA_TYPES, Form, original, render, render_file
from tests.science.imaging.pictures import CONTEXT, LIMITS, cells, decoded, encode, exif


def stored(data: bytes) -> bytes:
    return prepare_arrival(data, context=CONTEXT, limits=LIMITS).dicom


@pytest.mark.parametrize("form", ["webp", "jpeg", "png"])
def test_a_rendition_has_the_size_and_form_that_were_asked_for(form: Form) -> None:
    with Image.open(BytesIO(render(cells(300, 400), 128, form))) as image:
        assert image.size == (128, 96)
        assert Image.MIME[image.format or ""] == MEDIA_TYPES[form]


def test_a_rendition_is_never_larger_than_the_image() -> None:
    picture = cells(60, 80)
    assert np.array_equal(decoded(render(picture, 4_000, "png")), picture)


def test_a_thin_image_keeps_at_least_one_pixel() -> None:
    with Image.open(BytesIO(render(np.zeros((2, 3_000, 3), np.uint8), 100))) as image:
        assert image.size == (100, 1)


@pytest.mark.parametrize("size", [64, 100, 256, 512, 600, 2_000])
def test_the_short_way_of_a_jpeg_shows_the_same_picture(size: int) -> None:
    dicom = stored(encode(cells(480, 640), "JPEG", quality=92))
    from_scaled_jpeg = decoded(render_file(dicom, size, "png"))
    from_all_pixels = decoded(render(read_frame(dicom), size, "png"))
    assert from_scaled_jpeg.shape == from_all_pixels.shape
    assert np.abs(from_scaled_jpeg.astype(int) - from_all_pixels).mean() < 3


def test_a_jpeg_that_came_upright_is_handed_out_as_it_came() -> None:
    data = encode(cells(), "JPEG", comment=b"CANARY")
    out, media_type = original(stored(data))
    assert (out, media_type) == (clean_jpeg(data).data, "image/jpeg")


@pytest.mark.parametrize("options", [{"form": "PNG"}, {"form": "BMP"}, {"form": "JPEG", "progressive": True}])
def test_every_other_photograph_is_handed_out_as_a_png_of_the_same_pixels(options: dict[str, object]) -> None:
    data = encode(cells(), str(options.pop("form")), **options)
    out, media_type = original(stored(data))
    assert media_type == "image/png"
    assert np.array_equal(decoded(out), decoded(data))


def test_a_turned_photograph_is_handed_out_upright() -> None:
    out, _ = original(stored(encode(cells(), "PNG", exif=exif(6))))
    assert np.array_equal(decoded(out), np.rot90(cells(), -1))
