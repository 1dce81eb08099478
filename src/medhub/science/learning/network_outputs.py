# SPDX-License-Identifier: Apache-2.0
"""Outputs of a network for images: logits and pooled features; and augmentation of images."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medhub.science.inference.preprocessing import Preprocessing
from medhub.science.learning import image_augmentation
from medhub.science.learning.network import Network
from medhub.science.learning.recipe import Augmentation


def predict(
    network: Network, images: NDArray[np.uint8], preprocessing: Preprocessing, batch_size: int = 32
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Run a network on images without augmentation.

    Parameters
    ----------
    network
        Any; put into evaluation mode.
    images
        N x S x S x 3, uint8.
    preprocessing
        Its normalization is applied.
    batch_size
        Images at a time.

    Returns
    -------
    tuple[NDArray[np.float64], list[NDArray[np.float64]]]
        Logits, N x C, and the pooled feature maps from shallow to deep, each N x D.
    """
    network.eval()
    device = next(network.parameters()).device
    logits: list[Tensor] = []
    pooled: list[tuple[Tensor, ...]] = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            maps = network.maps(normalize_batch(to_batch(images[start : start + batch_size]), preprocessing).to(device))
            means = tuple(feature_map.mean((2, 3)) for feature_map in maps)
            logits.append(network.head(means[-1]).cpu())
            pooled.append(tuple(mean.cpu() for mean in means))
    return (
        torch.cat(logits).double().numpy(),
        [torch.cat(layer).double().numpy() for layer in zip(*pooled, strict=True)],
    )


def pool_features(network: Network, images: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float64]:
    """Compute the mean of the last map of each image, N x D."""
    return predict(network, images, preprocessing)[1][-1]


def vary_images(
    images: NDArray[np.uint8], augmentation: Augmentation, generator: torch.Generator, batch_size: int = 64
) -> NDArray[np.uint8]:
    """Vary images as in training; N x S x S x 3, uint8."""
    varied = np.empty_like(images)
    for first in range(0, len(images), batch_size):
        batch = image_augmentation.vary(to_batch(images[first : first + batch_size]), augmentation, generator)
        varied[first : first + batch_size] = (batch * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return varied


def to_batch(images: NDArray[np.uint8]) -> Tensor:
    """Turn N x S x S x 3 (0..255) into N x 3 x S x S (0..1)."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def normalize_batch(batch: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Normalize values of 0..1 by the mean and the standard deviation of a preprocessing."""
    mean = torch.tensor(preprocessing.mean).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std).view(1, 3, 1, 1)
    return ((batch * 255 - mean) / std).contiguous(memory_format=torch.channels_last)
