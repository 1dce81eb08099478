# SPDX-License-Identifier: Apache-2.0
"""A circle is shown as a circle where pixels are not square, and boxes are drawn in stored pixels."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset

from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.imaging.rendering.frame_views import View, render_view
from medhub.science.imaging.rendering.frames import read_frame
from medhub.science.imaging.rendering.pixel_aspect import pixel_aspect, square_size
from medhub.science.imaging.rendering.renditions import render_file
from tests.science.imaging.datasets import dataset_of, file_of
from tests.science.imaging.pictures import CONTEXT, LIMITS

CASES: list[tuple[dict[str, Any], float]] = [
    ({"PixelSpacing": ["1.0", "0.5"]}, 2.0),
    ({"PixelSpacing": ["0.5", "1.0"]}, 0.5),
    ({"ImagerPixelSpacing": ["0.3", "0.1"]}, 3.0),
    ({"NominalScannedPixelSpacing": ["0.1", "0.4"]}, 0.25),
    ({"PixelAspectRatio": ["2", "1"]}, 2.0),
    ({"PixelSpacing": ["0.5", "0.5"], "PixelAspectRatio": ["2", "1"]}, 1.0),
    ({"PixelSpacing": ["0.143", "0.14300001"]}, 1.0),
    ({"PixelSpacing": ["0", "0.5"], "PixelAspectRatio": ["3", "2"]}, 1.5),
    ({"PixelSpacing": ["-1", "0.5"]}, 1.0),
    ({"PixelSpacing": None}, 1.0),
    ({"PixelAspectRatio": ["1", "0"]}, 1.0),
    ({}, 1.0),
]


def ellipse(rows: int, columns: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A disc as wide as the frame and as high."""
    y, x = np.mgrid[:rows, :columns]
    inside = ((y + 0.5) / rows - 0.5) ** 2 + ((x + 0.5) / columns - 0.5) ** 2 < 0.16
    return np.where(inside, 220, 20).astype(np.uint8)


def assert_circle(picture: bytes, size: tuple[int, int]) -> None:
    with Image.open(BytesIO(picture)) as image:
        assert image.size == size
        bright = np.asarray(image.convert("L")) > 120
    height, width = bright.any(axis=1).sum(), bright.any(axis=0).sum()
    assert abs(height - width) <= 4


@pytest.mark.parametrize(("attributes", "aspect"), CASES)
def test_a_circle_is_a_circle(attributes: dict[str, Any], aspect: float) -> None:
    columns = 96
    rows = round(columns / aspect)
    dicom = file_of(dataset_of(ellipse(rows, columns), **attributes))
    size = (columns, columns) if aspect >= 1 else (rows, rows)
    assert_circle(render_file(dicom, 2048, "png"), size)
    assert_circle(render_view(dicom, 0, View(form="png")), size)
    assert_circle(render_file(dicom, 50, "png"), (50, 50))
    assert_circle(prepare_arrival(dicom, context=CONTEXT, limits=LIMITS).thumbnail, (min(size[0], 256),) * 2)
    assert read_frame(dicom).shape == (rows, columns, 3)
    with Image.open(BytesIO(render_file(dicom, 2048, "png", square=False))) as stored:
        assert stored.size == (columns, rows)


def test_each_frame_has_its_own_measures() -> None:
    dataset = dataset_of(np.stack([ellipse(32, 64)] * 3), frames=3)
    groups = []
    for spacing in (["1", "0.5"], ["1", "1"], None):
        measures, group = Dataset(), Dataset()
        if spacing:
            measures.PixelSpacing = spacing
            group.PixelMeasuresSequence = [measures]
        groups.append(group)
    shared, measures = Dataset(), Dataset()
    measures.PixelSpacing = ["1", "4"]
    shared.PixelMeasuresSequence = [measures]
    dataset.PerFrameFunctionalGroupsSequence, dataset.SharedFunctionalGroupsSequence = groups, [shared]
    assert [pixel_aspect(dataset, frame) for frame in range(3)] == [2.0, 1.0, 0.25]


def test_a_hostile_spacing_does_not_ask_for_memory() -> None:
    assert square_size((4000, 4000), 1e9) == (1, 4000)
    assert square_size((4000, 4000), 1e-9) == (4000, 1)
    assert square_size((100, 100), 10.0) == (100, 1000)


def test_a_region_is_given_in_stored_pixels() -> None:
    dicom = file_of(dataset_of(ellipse(32, 64), PixelSpacing=["1", "0.5"]))
    view = View(form="png", left=16, top=8, region_width=32, region_height=16)
    with Image.open(BytesIO(render_view(dicom, 0, view))) as image:
        assert image.size == (32, 32)
    with Image.open(BytesIO(render_view(dicom, 0, View(form="png", across=100, down=50)))) as image:
        assert image.size == (50, 50)
