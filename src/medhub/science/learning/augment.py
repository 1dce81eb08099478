# SPDX-License-Identifier: Apache-2.0
"""Variations of a cell image that leave its label as it is.

A cell has no upright position, so any turn and mirror image is another cell of its kind. Size, place, color (stain,
lamp, camera) and sharpness vary between laboratories, within limits: color and size also tell classes apart.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

ZOOM = 0.15
ASPECT = 0.10
SHIFT = 0.06
GAIN = 0.08
CONTRAST = 0.20
BRIGHTNESS = 0.08
SATURATION = 0.25
BLUR_SHARE = 0.25
NOISE_SHARE = 0.25
NOISE = 0.03


def vary(images: Tensor, generator: torch.Generator) -> Tensor:
    """Vary a batch.

    Parameters
    ----------
    images
        N x 3 x S x S, 0..1.
    generator
        Where chance comes from.

    Returns
    -------
    Tensor
        N x 3 x S x S, 0..1.
    """
    return degrade(recolor(move(images, generator), generator), generator).clamp(0, 1)


def move(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn by any angle, mirror, zoom, stretch and shift; what comes from outside is the image reflected."""
    count = len(images)
    angle = _between(count, -math.pi, math.pi, generator)
    zoom = torch.exp(_between(count, -ZOOM, ZOOM, generator))
    aspect = torch.exp(_between(count, -ASPECT, ASPECT, generator))
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0] = cosine * zoom * aspect * mirror
    matrix[:, 0, 1] = -sine * zoom * aspect
    matrix[:, 1, 0] = sine * zoom / aspect * mirror
    matrix[:, 1, 1] = cosine * zoom / aspect
    matrix[:, 0, 2] = _between(count, -SHIFT, SHIFT, generator)
    matrix[:, 1, 2] = _between(count, -SHIFT, SHIFT, generator)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def recolor(images: Tensor, generator: torch.Generator) -> Tensor:
    """Vary gain of each channel, contrast, brightness and saturation."""
    count = len(images)
    images = images * torch.exp(_between(count * 3, -GAIN, GAIN, generator)).view(count, 3, 1, 1)
    contrast = torch.exp(_between(count, -CONTRAST, CONTRAST, generator)).view(-1, 1, 1, 1)
    brightness = _between(count, -BRIGHTNESS, BRIGHTNESS, generator).view(-1, 1, 1, 1)
    middle = images.mean((1, 2, 3), keepdim=True)
    images = (images - middle) * contrast + middle + brightness
    saturation = torch.exp(_between(count, -SATURATION, SATURATION, generator)).view(-1, 1, 1, 1)
    grey = images.mean(1, keepdim=True)
    return grey + (images - grey) * saturation


def degrade(images: Tensor, generator: torch.Generator) -> Tensor:
    """Take sharpness from some images, as a small or recompressed file has lost it, and add noise to some."""
    count, _, height, width = images.shape
    images = images.clone()
    for index in torch.nonzero(torch.rand(count, generator=generator) < BLUR_SHARE).flatten().tolist():
        factor = float(_between(1, 0.3, 0.9, generator))
        size = (max(1, round(height * factor)), max(1, round(width * factor)))
        small = functional.interpolate(images[index : index + 1], size, mode="bilinear", antialias=True)
        images[index] = functional.interpolate(small, (height, width), mode="bilinear")[0]
    chosen = (torch.rand(count, generator=generator) < NOISE_SHARE).view(-1, 1, 1, 1)
    strength = _between(count, 0, NOISE, generator).view(-1, 1, 1, 1)
    return images + chosen * strength * torch.randn(images.shape, generator=generator)


def _between(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) * (high - low) + low
