# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from tests.science.parts import need

need("torch", "onnx")

import torch  # noqa: E402

from medhub.science.learning.augment import move, vary  # noqa: E402


def _images() -> torch.Tensor:
    return torch.rand(16, 3, 48, 48, generator=torch.Generator().manual_seed(1))


def test_variations_keep_shape_and_range_and_differ() -> None:
    images = _images()
    varied = vary(images, torch.Generator().manual_seed(2))
    assert varied.shape == images.shape
    assert varied.min() >= 0
    assert varied.max() <= 1
    assert ((varied - images).abs().mean((1, 2, 3)) > 0.01).all()


def test_the_same_seed_varies_the_same_way() -> None:
    first, second = (vary(_images(), torch.Generator().manual_seed(5)) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_what_is_given_is_left_as_it_is() -> None:
    images = _images()
    kept = images.clone()
    vary(images, torch.Generator().manual_seed(3))
    torch.testing.assert_close(images, kept, rtol=0, atol=0)


def test_a_round_cell_in_the_middle_stays_a_round_cell_near_the_middle() -> None:
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    disc = (((row - 31.5) ** 2 + (column - 31.5) ** 2) < 15**2).float().expand(32, 3, 64, 64)
    moved = move(disc, torch.Generator().manual_seed(4))
    area = moved[:, 0].sum((1, 2)) / disc[:, 0].sum((1, 2))
    assert area.min() > 0.6
    assert area.max() < 1.6
    weight = moved[:, 0]
    for axis in (row, column):
        center = (weight * axis).sum((1, 2)) / weight.sum((1, 2))
        assert (center - 31.5).abs().max() < 5
