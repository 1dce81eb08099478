# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.science.optional_packages import need

need("torch")

import torch  # noqa: E402

from medhub.science.learning import image_augmentation  # noqa: E402
from medhub.science.learning.image_augmentation import apply, draw, mix, vary  # noqa: E402
from medhub.science.learning.recipe import Augmentation  # noqa: E402

EVERYTHING = Augmentation(
    stain=0.05, blur_share=0.5, sharpen_share=0.5, grey_share=0.3, erasing_share=0.5, small_share=0.5, jpeg_share=0.5
)
NOTHING = Augmentation(
    rotation_degrees=0,
    flips="none",
    zoom=0,
    aspect=0,
    shift=0,
    gain=0,
    contrast=0,
    brightness=0,
    saturation=0,
    small_share=0,
    noise_share=0,
    jpeg_share=0,
)


def _images() -> torch.Tensor:
    return torch.rand(16, 3, 48, 48, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("augmentation", [Augmentation(), EVERYTHING])
def test_variations_keep_shape_and_range_and_differ(augmentation: Augmentation) -> None:
    images = _images()
    varied = vary(images, augmentation, torch.Generator().manual_seed(2))
    assert varied.shape == images.shape
    assert varied.min() >= 0
    assert varied.max() <= 1
    assert ((varied - images).abs().mean((1, 2, 3)) > 0.01).all()


def test_without_any_variation_images_stay_as_they_are() -> None:
    images = _images()
    torch.testing.assert_close(vary(images, NOTHING, torch.Generator().manual_seed(2)), images, rtol=0, atol=1e-5)


def test_the_same_seed_varies_the_same_way() -> None:
    first, second = (vary(_images(), EVERYTHING, torch.Generator().manual_seed(5)) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_a_batch_that_is_shared_out_is_varied_as_one() -> None:
    images = _images()
    draws = draw(16, EVERYTHING, torch.Generator().manual_seed(6))
    full = apply(images, EVERYTHING, draws)
    half = apply(images[8:], EVERYTHING, {name: value[8:] for name, value in draws.items()})
    torch.testing.assert_close(full[8:], half, rtol=0, atol=1e-6)


def test_what_is_given_is_left_as_it_is() -> None:
    images = _images()
    unchanged = images.clone()
    vary(images, EVERYTHING, torch.Generator().manual_seed(3))
    torch.testing.assert_close(images, unchanged, rtol=0, atol=0)


def test_a_heart_stays_on_its_side() -> None:
    left = torch.zeros(64, 3, 32, 32)
    left[:, :, :, :16] = 1
    upright = NOTHING.model_copy(update={"rotation_degrees": 8.0, "shift": 0.05})
    varied = vary(left, upright, torch.Generator().manual_seed(0))
    assert (varied[..., :16].mean((1, 2, 3)) > varied[..., 16:].mean((1, 2, 3))).all()
    mirrored = vary(left, NOTHING.model_copy(update={"flips": "horizontal"}), torch.Generator().manual_seed(0))
    assert 10 < int((mirrored[:, 0, 0, 0] > 0.5).sum()) < 54


def test_staining_changes_colors_and_not_what_is_white() -> None:
    image = torch.ones(8, 3, 8, 8)
    image[:, :, :4] = torch.tensor([0.55, 0.35, 0.65])[:, None, None]
    varied = vary(image, NOTHING.model_copy(update={"stain": 0.2}), torch.Generator().manual_seed(0))
    assert (varied[:, :, :4] - image[:, :, :4]).abs().mean() > 0.005
    assert (varied[:, :, 4:] - 1).abs().mean() < 0.02


def test_pairs_are_mixed_and_their_targets_with_them() -> None:
    draws = draw(8, Augmentation(mixup=0.4), torch.Generator().manual_seed(1))
    targets = torch.eye(8)
    mixed = mix(targets, draws)
    torch.testing.assert_close(mixed.sum(1), torch.ones(8))
    assert (torch.diagonal(mixed) >= 0.5).all()
    assert (mixed[0, 1] + mixed[0, 0]) == pytest.approx(1)
    torch.testing.assert_close(mix(targets, draw(8, Augmentation(), torch.Generator())), targets)


def test_a_round_cell_in_the_middle_stays_a_round_cell_near_the_middle() -> None:
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    disc = (((row - 31.5) ** 2 + (column - 31.5) ** 2) < 15**2).float().expand(32, 3, 64, 64)
    moved = image_augmentation._move(disc, Augmentation(), draw(32, Augmentation(), torch.Generator().manual_seed(4)))
    area = moved[:, 0].sum((1, 2)) / disc[:, 0].sum((1, 2))
    assert area.min() > 0.6
    assert area.max() < 1.6
    weight = moved[:, 0]
    for axis in (row, column):
        center = (weight * axis).sum((1, 2)) / weight.sum((1, 2))
        assert (center - 31.5).abs().max() < 5
