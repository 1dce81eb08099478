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
        apart = features[:, None, :] - self.means[None]
        along = apart @ self.axes
        square = ((along / self.spreads) ** 2).sum(-1)
        square += ((apart**2).sum(-1) - (along**2).sum(-1)).clip(0) / self.rest**2
        nearest: NDArray[np.float64] = np.sqrt(square.min(1) / features.shape[1])
        return nearest


def fit_gaussians(features: NDArray[np.float64], targets: NDArray[np.int64], components: int) -> Gaussians:
    """Fit the Gaussians of one depth.

    Parameters
    ----------
    features
        N x D.
    targets
        N label indices.
    components
        Most directions that get a spread of their own.

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
    kept = min(components, len(values) - 1)
    rest = max(float(values[kept:].mean()), float(values[0]) * 1e-6, 1e-12)
    return Gaussians(means, vectors[:, :kept], np.sqrt(np.maximum(values[:kept], rest)), float(np.sqrt(rest)))


class Novelty(nn.Module):
    """The same distance in torch, for the exported graph: the greatest over the depths, each in units of its scale."""

    def __init__(self, depths: list[Gaussians], scales: list[float]) -> None:
        super().__init__()
        self.depths = len(depths)
        for index, (gaussians, scale) in enumerate(zip(depths, scales, strict=True)):
            # Whitened once here: in the graph it is one small product and a sum of squares for each depth.
            center = gaussians.means.mean(0)
            unit = np.sqrt(gaussians.means.shape[1]) * scale
            parts = {
                "center": center,
                "means": gaussians.means - center,
                "axes": gaussians.axes,
                "weights": 1 / (gaussians.spreads * unit) ** 2 - 1 / (gaussians.rest * unit) ** 2,
                "rest": np.array(1 / (gaussians.rest * unit) ** 2),
            }
            for name, value in parts.items():
                self.register_buffer(f"{name}{index}", torch.from_numpy(np.array(value, np.float32)))

    def forward(self, pooled: tuple[Tensor, ...]) -> Tensor:
        """Map pooled features, each N x D, to N distances."""
        found = []
        for index, features in enumerate(pooled):
            center, means, axes, weights, rest = (
                getattr(self, f"{name}{index}") for name in ("center", "means", "axes", "weights", "rest")
            )
            apart = (features - center).unsqueeze(1) - means
            along = apart @ axes
            square = (along * along * weights).sum(-1) + (apart * apart).sum(-1) * rest
            found.append(square.clamp_min(0).amin(1))
        return torch.stack(found).amax(0).sqrt()
