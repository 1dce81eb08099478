# SPDX-License-Identifier: Apache-2.0
"""Variations of a cell image that leave its label as it is.

A cell has no upright position, so any turn and mirror image is another cell of its kind. Size, place, color (stain,
lamp, camera) and sharpness vary between laboratories, within limits: color and size also tell classes apart.
"""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

ZOOM = 0.15
ASPECT = 0.10
SHIFT = 0.06
GAIN = 0.08
CONTRAST = 0.20
BRIGHTNESS = 0.08
SATURATION = 0.25
SMALL_SHARE = 0.3
SMALLEST = 0.35
NOISE_SHARE = 0.2
NOISE = 0.03
JPEG_SHARE = 0.3
JPEG_QUALITY = (30, 95)


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
    """Send some images through what files go through: made small, noisy, compressed as JPEG."""
    count, _, height, width = images.shape
    images = images.clone()
    for index in _some(count, SMALL_SHARE, generator):
        factor = float(_between(1, SMALLEST, 1, generator))
        size = (max(1, round(height * factor)), max(1, round(width * factor)))
        small = functional.interpolate(images[index : index + 1], size, mode="bilinear", antialias=True)
        images[index] = functional.interpolate(small, (height, width), mode="bilinear")[0]
    for index in _some(count, NOISE_SHARE, generator):
        strength = _between(1, 0, NOISE, generator)
        images[index] += strength * torch.randn(images[index].shape, generator=generator)
    for index in _some(count, JPEG_SHARE, generator):
        images[index] = _recompressed(images[index], int(_between(1, *JPEG_QUALITY, generator)))
    return images


def _recompressed(image: Tensor, quality: int) -> Tensor:
    buffer = io.BytesIO()
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as again:
        return torch.from_numpy(np.asarray(again).copy()).permute(2, 0, 1).float() / 255


def _some(count: int, share: float, generator: torch.Generator) -> list[int]:
    chosen: list[int] = torch.nonzero(torch.rand(count, generator=generator) < share).flatten().tolist()
    return chosen


def _between(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) * (high - low) + low
