# SPDX-License-Identifier: Apache-2.0
"""How far an image lies from the training data: the Mahalanobis distance of its features to the nearest label.

After Lee et al., "A simple unified framework for detecting out-of-distribution samples and adversarial attacks"
(NeurIPS 2018): a Gaussian for each label with one covariance for all, on several depths of the network. Each covariance
is kept as probabilistic principal components (Tipping & Bishop 1999): the widest directions as they are, the rest as
one variance, so that it is well conditioned with few images and small in the exported graph.
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
# An image may be longer than those that were learned from by half.
SLACK = 1.5


@dataclass(frozen=True)
class Gaussians:
    """Gaussians with one covariance over the features of one depth.

    Attributes
    ----------
    means
        C x D, one for each label.
    axes
        D x K, orthonormal directions.
    spreads
        K, standard deviations along them.
    rest
        Standard deviation along each of the other directions.
    """

    means: NDArray[np.float64]
    axes: NDArray[np.float64]
    spreads: NDArray[np.float64]
    rest: float

    def distances(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the distance of each of N x D features to the nearest mean, divided by the root of D."""
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
        Most directions that get a spread of their own.
    smallest
        Least spread, as a share of the features' size.

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
    # Below this share of the features' size, a spread is the rounding of 32-bit numbers and no property of images.
    floor = max(smallest**2 * float((features**2).mean()), 1e-12)
    rest = max(float(values[rank:].mean()), floor)
    return Gaussians(means, vectors[:, :rank], np.sqrt(np.maximum(values[:rank], floor)), float(np.sqrt(rest)))


def shape_limits(images: ImageSet) -> tuple[float, float] | None:
    """Between which widths by height an image is like those that were learned from; none where that is not known.

    The whole image is stretched to a square, and what is much longer than all that was learned from comes out as
    something else: a strip of a smear looks like a cell.
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
    """Fit the distance on the training part, and find its limit on the validation part.

    Parameters
    ----------
    network
        Trained.
    recipe
        Components, variations and quantile.
    augmentation
        How far images are varied; nothing is mixed or covered here.
    preprocessing
        The classifier's preprocessing.
    learn, validate
        The two parts.
    seed
        Seed of the variations.
    smallest
        Least spread, as a share of the features' size.

    Returns
    -------
    tuple[Novelty, float]
        The distance, and the limit above which an image counts as novel.
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
        # About 1 for features that tell images apart; far below, they differ by the rounding of 32-bit numbers.
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
    """The same distance in torch, for the exported graph: the greatest over the depths, each in units of its scale."""

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
        """Map pooled features, each N x D, to N distances."""
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
