# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from tests.science.optional_packages import need

need("torch", "onnx")

import torch  # noqa: E402

from medhub.science.learning.dataset import ImageSet  # noqa: E402
from medhub.science.learning.novelty import Novelty, fit_gaussians, shape_limits  # noqa: E402
from medhub.science.learning.out_of_distribution import generate_images  # noqa: E402


def _clusters(chance: np.random.Generator, n: int = 900, d: int = 12) -> tuple[np.ndarray, np.ndarray]:
    targets = np.arange(n) % 3
    spread = np.linspace(0.2, 3, d)
    return chance.normal(size=(n, d)) * spread + targets[:, None] * 20, targets


def test_with_all_directions_kept_it_is_the_mahalanobis_distance() -> None:
    features, targets = _clusters(np.random.default_rng(0))
    gaussians = fit_gaussians(features, targets, components=11)  # one direction less: the rest is that direction
    means = np.stack([features[targets == label].mean(0) for label in range(3)])
    centered = features - means[targets]
    inverse = np.linalg.inv(centered.T @ centered / (len(features) - 3))
    apart = features[:20, None] - means[None]
    expected = np.sqrt(np.einsum("ncd,de,nce->nc", apart, inverse, apart).min(1) / 12)
    np.testing.assert_allclose(gaussians.distances(features[:20]), expected, rtol=1e-6)


def test_the_graph_computes_the_same_in_units_of_its_scales() -> None:
    chance = np.random.default_rng(1)
    features, targets = _clusters(chance)
    other, _ = _clusters(chance, d=5)
    depths = [fit_gaussians(features, targets, 4), fit_gaussians(other, targets, 2)]
    scales = [0.8, 1.7]
    novelty = Novelty(depths, scales)
    distances = novelty((torch.from_numpy(features).float(), torch.from_numpy(other).float())).numpy()
    expected = np.maximum(depths[0].distances(features) / 0.8, depths[1].distances(other) / 1.7)
    np.testing.assert_allclose(distances, expected, rtol=2e-3)


def test_images_may_be_longer_than_those_that_were_learned_from_by_half() -> None:
    images, targets = np.zeros((2, 8, 8, 3), np.uint8), np.zeros(2, np.int64)
    assert shape_limits(ImageSet(images, targets, np.array([0.9, 1.2]))) == (0.6, 1.8)
    assert shape_limits(ImageSet(images, targets)) is None


def test_what_lies_between_and_beyond_the_clusters_is_far() -> None:
    features, targets = _clusters(np.random.default_rng(2))
    gaussians = fit_gaussians(features, targets, 6)
    inside = np.quantile(gaussians.distances(features), 0.99)
    between, beyond = np.full((1, 12), 10.0), np.full((1, 12), 80.0)
    assert gaussians.distances(between)[0] > 2 * inside
    assert gaussians.distances(beyond)[0] > 2 * inside


def test_features_that_never_change_do_not_divide_by_zero() -> None:
    features, targets = _clusters(np.random.default_rng(3))
    features[:, 5] = 1.0
    assert np.isfinite(fit_gaussians(features, targets, 12).distances(features)).all()


def test_generated_strangers_are_the_same_every_time() -> None:
    first, second = generate_images(2), generate_images(2)
    assert len(first) == 7
    for name, images in first.items():
        for item, other in zip(images, second[name], strict=True):
            assert item.dtype == np.uint8
            assert item.shape == (256, 256, 3)
            np.testing.assert_array_equal(item, other)
