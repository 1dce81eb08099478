# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from medhub.errors import Invalid
from medhub.science.inference.explanation import color_table, colorize, overlay


def _oklab_lightness(colors: NDArray[np.uint8]) -> NDArray[np.float64]:
    encoded = colors / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    cones = linear @ np.array(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    lightness: NDArray[np.float64] = np.cbrt(cones) @ np.array([0.2104542553, 0.7936177850, -0.0040720468])
    return lightness


def test_equal_steps_of_evidence_are_equal_steps_of_lightness() -> None:
    steps = np.diff(_oklab_lightness(color_table())[::15])
    assert color_table().shape == (256, 3)
    assert steps.min() > 0
    assert steps.max() / steps.min() < 1.25


def test_nothing_is_laid_over_where_there_is_no_evidence() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    np.testing.assert_array_equal(overlay(image, np.zeros((7, 7), np.float32), 1.0), image)
    np.testing.assert_array_equal(overlay(image, np.ones((7, 7), np.float32), 0.0), image)


def test_full_evidence_at_full_opacity_is_the_last_color() -> None:
    image = np.zeros((30, 30, 3), np.uint8)
    picture = overlay(image, np.ones((3, 3), np.float32), 1.0)
    np.testing.assert_array_equal(picture, np.broadcast_to(color_table()[255], picture.shape))


def test_evidence_is_shown_where_it_is() -> None:
    evidence = np.zeros((4, 4), np.float32)
    evidence[0, 3] = 1
    picture = colorize(evidence, 80, 120)
    assert picture.shape == (80, 120, 4)
    assert picture.dtype == np.uint8
    row, column = np.unravel_index(picture[..., 3].argmax(), (80, 120))
    assert row < 20
    assert column >= 90
    assert picture[60:, :60, 3].max() == 0


def test_the_image_shows_through_half_opacity() -> None:
    image = np.full((10, 10, 3), 200, np.uint8)
    picture = overlay(image, np.ones((2, 2), np.float32), 0.5).astype(int)
    expected = (200 + color_table()[255].astype(int)) / 2
    assert np.abs(picture - expected).max() <= 1


@pytest.mark.parametrize("opacity", [-0.1, 1.1])
def test_an_opacity_outside_its_range_is_refused(opacity: float) -> None:
    with pytest.raises(Invalid):
        overlay(np.zeros((4, 4, 3), np.uint8), np.zeros((2, 2), np.float32), opacity)


def test_a_map_with_other_axes_is_refused() -> None:
    with pytest.raises(Invalid):
        colorize(np.zeros((2, 2, 2), np.float32), 10, 10)
