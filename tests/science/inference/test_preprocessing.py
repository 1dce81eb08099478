# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medhub.errors import Invalid
from medhub.science.inference.preprocessing import Preprocessing, normalize, prepare, resize

PREPROCESSING = Preprocessing(size=64, mean=(127.5, 100, 50), std=(127.5, 50, 25))


def test_values_are_scaled_channel_by_channel() -> None:
    image = np.broadcast_to(np.array([255, 150, 0], np.uint8), (10, 20, 3)).copy()
    prepared = prepare(image, PREPROCESSING)
    assert prepared.shape == (1, 3, 64, 64)
    assert prepared.dtype == np.float32
    assert prepared.flags.c_contiguous
    np.testing.assert_allclose(prepared[0].reshape(3, -1).T, [[1.0, 1.0, -2.0]] * 4096, rtol=1e-6)


def test_the_whole_image_becomes_the_square() -> None:
    image = np.zeros((40, 120, 3), np.uint8)
    image[:, :60] = (255, 0, 0)
    image[:, 60:] = (0, 255, 0)
    small = resize(image, PREPROCESSING)
    assert (small[:, :30, 0] > 250).all()
    assert (small[:, 34:, 1] > 250).all()


def test_an_image_of_the_right_size_is_not_touched() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    np.testing.assert_array_equal(resize(image, PREPROCESSING), image)


def test_shrinking_averages_what_it_leaves_out() -> None:
    # Single pixels of a checkerboard must become grey, not black or white by chance.
    board = (np.indices((640, 640)).sum(0) % 2 * 255).astype(np.uint8)
    small = resize(np.repeat(board[..., None], 3, 2), PREPROCESSING).astype(int)
    assert abs(small[4:-4, 4:-4] - 127).max() <= 3


def test_an_enlarged_image_prepares_to_almost_the_same() -> None:
    smooth = np.linspace(0, 255, 64)[None, :, None] * np.ones((64, 1, 3))
    image = smooth.astype(np.uint8)
    large = np.asarray(Image.fromarray(image).resize((512, 512), Image.Resampling.BICUBIC))
    assert np.abs(resize(large, PREPROCESSING).astype(int) - image).max() <= 3


def test_a_batch_is_normalized_like_single_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    together = normalize(images, PREPROCESSING)
    for index in range(3):
        np.testing.assert_array_equal(together[index], prepare(images[index], PREPROCESSING)[0])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.uint16),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_anything_but_rgb_of_8_bits_is_refused(image: np.ndarray) -> None:
    with pytest.raises(Invalid):
        prepare(image, PREPROCESSING)
