# SPDX-License-Identifier: Apache-2.0
"""The novelty score: Mahalanobis distance of the features of an image to those of the training data.

After Lee et al., "A simple unified framework for detecting out-of-distribution samples and adversarial attacks"
(NeurIPS 2018): class-conditional Gaussians with a shared covariance, for the features of several depths of the network.
Each covariance is a probabilistic PCA model (Tipping & Bishop 1999): the leading principal components and one variance
for the rest, which is well conditioned with few images and small in the exported graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medhub.science.inference.preprocessing import Preprocessing
from medhub.science.learning.dataset import ImageSet
from medhub.science.learning.network import Network
from medhub.science.learning.network_outputs import predict, vary_images
from medhub.science.learning.recipe import Augmentation, NoveltyRecipe

METHOD = (
    "Mahalanobis distance of the pooled feature maps of several depths to the nearest label "
    "(Lee et al., NeurIPS 2018), one covariance for all labels kept as {components} principal components and a rest "
    "(Tipping & Bishop 1999); each depth in units of its scale on the validation part, the greatest counts"
)
BASIS = (
    "{share:g} % of the validation images lie below the limit, taken as they are and varied {passes} times each as "
    "files of users vary: turned, zoomed, recolored, made small, noisy, compressed. No image of a stranger had a part "
    "in it."
)
SMALLEST_SPREAD = 1e-3
SMALLEST_SCALE = 0.1
# The aspect ratio of an image may exceed those of the training images by this factor.
SLACK = 1.5


@dataclass(frozen=True)
class Gaussians:
    """Class-conditional Gaussians with a shared covariance, for the features of one depth.

    Attributes
    ----------
    means
        C x D, the mean of each label.
    axes
        D x K, the leading principal components.
    spreads
        K, standard deviations along the components.
    rest
        Standard deviation along the other directions.
    """

    means: NDArray[np.float64]
    axes: NDArray[np.float64]
    spreads: NDArray[np.float64]
    rest: float

    def distances(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the Mahalanobis distance of features, N x D, to the nearest mean, divided by the square root of D."""
        deviations = features[:, None, :] - self.means[None]
        projections = deviations @ self.axes
        residuals = deviations - projections @ self.axes.T
        square = ((projections / self.spreads) ** 2).sum(-1) + ((residuals / self.rest) ** 2).sum(-1)
        nearest: NDArray[np.float64] = np.sqrt(square.min(1) / features.shape[1])
        return nearest


def fit_gaussians(
    features: NDArray[np.float64], targets: NDArray[np.int64], components: int, smallest: float = SMALLEST_SPREAD
) -> Gaussians:
    """Fit the Gaussians of one depth.

    Parameters
    ----------
    features
        N x D.
    targets
        N label indices.
    components
        Largest number of principal components.
    smallest
        Smallest standard deviation, relative to the root mean square of the features.

    Returns
    -------
    Gaussians
    """
    classes = int(targets.max()) + 1
    means = np.stack([features[targets == label].mean(0) for label in range(classes)])
    centered = features - means[targets]
    covariance = centered.T @ centered / max(1, len(features) - classes)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    rank = min(components, len(values) - 1)
    # Smaller standard deviations are rounding errors of 32-bit numbers, not properties of images.
    floor = max(smallest**2 * float((features**2).mean()), 1e-12)
    rest = max(float(values[rank:].mean()), floor)
    return Gaussians(means, vectors[:, :rank], np.sqrt(np.maximum(values[:rank], floor)), float(np.sqrt(rest)))


def shape_limits(images: ImageSet) -> tuple[float, float] | None:
    """Compute the range of accepted aspect ratios, width by height; none if those of the training images are unknown.

    Images are resized to a square, so an image that is much longer than all training images is distorted: a strip of a
    smear looks like a cell.
    """
    if images.shapes is None or not len(images.shapes):
        return None
    return round(float(images.shapes.min()) / SLACK, 4), round(float(images.shapes.max()) * SLACK, 4)


def fit_novelty(
    network: Network,
    recipe: NoveltyRecipe,
    augmentation: Augmentation,
    preprocessing: Preprocessing,
    learn: ImageSet,
    validate: ImageSet,
    seed: int,
    smallest: float = SMALLEST_SPREAD,
) -> tuple[Novelty, float]:
    """Fit the novelty score on the training part, and its limit on the validation part.

    Parameters
    ----------
    network
        The trained network.
    recipe
        Number of components and of augmented copies, and the quantile of the limit.
    augmentation
        Augmentation of the copies; mixup and erasing are not applied.
    preprocessing
        The classifier's preprocessing.
    learn, validate
        Training and validation images.
    seed
        Seed of the augmentation.
    smallest
        See ``fit_gaussians``.

    Returns
    -------
    tuple[Novelty, float]
        The novelty score, and the limit above which an image is novel.
    """
    generator = torch.Generator().manual_seed(seed)
    unmixed = augmentation.model_copy(update={"mixup": 0.0, "erasing_share": 0.0})
    learned, held_out = (
        _pool_features(network, recipe.passes, unmixed, preprocessing, images, generator)
        for images in (learn, validate)
    )
    targets = np.tile(learn.targets, recipe.passes + 1)
    depths = [fit_gaussians(features, targets, recipe.components, smallest) for features in learned]
    scales = [
        # About 1 for informative features; much smaller values are rounding errors of 32-bit numbers.
        max(float(np.quantile(gaussians.distances(features), recipe.quantile)), SMALLEST_SCALE)
        for gaussians, features in zip(depths, held_out, strict=True)
    ]
    novelty = Novelty(depths, scales).eval()
    with torch.inference_mode():
        distances = novelty(tuple(torch.from_numpy(features.astype(np.float32)) for features in held_out))
    return novelty, max(float(np.quantile(distances.numpy(), recipe.quantile)), 1e-6)


def _pool_features(
    network: Network,
    passes: int,
    augmentation: Augmentation,
    preprocessing: Preprocessing,
    images: ImageSet,
    generator: torch.Generator,
) -> list[NDArray[np.float64]]:
    features = [predict(network, images.images, preprocessing)[1]]
    for _ in range(passes):
        features.append(predict(network, vary_images(images.images, augmentation, generator), preprocessing)[1])
    return [np.concatenate(depth) for depth in zip(*features, strict=True)]


class Novelty(nn.Module):
    """The novelty score in torch, for the exported graph: the maximum over the depths, each divided by its scale."""

    def __init__(self, depths: list[Gaussians], scales: list[float]) -> None:
        super().__init__()
        self.depths = len(depths)
        for index, (gaussians, scale) in enumerate(zip(depths, scales, strict=True)):
            center = gaussians.means.mean(0)
            unit = np.sqrt(gaussians.means.shape[1]) * scale
            parts = {
                "center": center,
                "means": gaussians.means - center,
                "axes": gaussians.axes,
                "along": 1 / (gaussians.spreads * unit),
                "beside": np.array(1 / (gaussians.rest * unit)),
            }
            for name, value in parts.items():
                self.register_buffer(f"{name}{index}", torch.from_numpy(np.array(value, np.float32)))

    def forward(self, pooled: tuple[Tensor, ...]) -> Tensor:
        """Compute N novelty scores of pooled features, N x D for each depth."""
        squares = []
        for index, features in enumerate(pooled):
            center, means, axes, per_axis, per_rest = (
                getattr(self, f"{name}{index}") for name in ("center", "means", "axes", "along", "beside")
            )
            deviations = (features - center).unsqueeze(1) - means
            projections = deviations @ axes
            residuals = (deviations - projections @ axes.T) * per_rest
            square = (projections * per_axis).square().sum(-1) + residuals.square().sum(-1)
            squares.append(square.amin(1))
        return torch.stack(squares).amax(0).sqrt()
