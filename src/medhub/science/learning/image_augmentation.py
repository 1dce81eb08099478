# SPDX-License-Identifier: Apache-2.0
"""Image augmentation: random changes that keep the label, within the limits of the recipe.

Cells have no upright position, so rotations and reflections keep the label. Size, position, color (stain, lamp, camera)
and sharpness vary between laboratories, but color and size also distinguish labels, so these changes are limited.

Random numbers are drawn for a complete batch and applied to any part of it, so that several processes that share a
batch change each image like a single process.
"""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from medhub.science.learning.recipe import Augmentation

Draws = dict[str, Tensor]

# Optical densities of hematoxylin, eosin and DAB in red, green and blue (Ruifrok & Johnston 2001, table 1).
_STAINS = torch.tensor([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])


def vary(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Augment a batch.

    Parameters
    ----------
    images
        N x 3 x S x S, 0..1.
    augmentation
        Limits of the changes.
    generator
        Source of random numbers.

    Returns
    -------
    Tensor
        N x 3 x S x S, 0..1.
    """
    return apply(images, augmentation, draw(len(images), augmentation, generator))


def draw(count: int, augmentation: Augmentation, generator: torch.Generator) -> Draws:
    """Draw the random numbers for ``count`` images; each entry has one row per image, so that it can be divided."""

    def between(low: float, high: float, columns: int = 1) -> Tensor:
        drawn = torch.rand(count, columns, generator=generator) * (high - low) + low
        return drawn[:, 0] if columns == 1 else drawn

    def about(most: float, columns: int = 1) -> Tensor:
        return between(-most, most, columns)

    a = augmentation
    turn = a.rotation_degrees / 180 * math.pi
    return {
        "angle": about(turn),
        "zoom": about(a.zoom),
        "aspect": about(a.aspect),
        "shift": about(a.shift, 2),
        "mirror": between(0, 1),
        "upside": between(0, 1),
        "gain": about(a.gain, 3),
        "contrast": about(a.contrast),
        "brightness": about(a.brightness),
        "saturation": about(a.saturation),
        "stain": torch.randn(count, 6, generator=generator) * a.stain,
        "chance": between(0, 1, 7),
        "small": between(a.smallest, 1),
        "blur": between(0, a.blur),
        "sharpen": between(0, a.sharpen),
        "noise": between(0, a.noise),
        "jpeg": between(*a.jpeg_quality),
        "erase": between(0, 1, 4),
        "seed": torch.randint(0, 2**31 - 1, (count,), generator=generator),
        "mix": _mixed(count, a.mixup, generator),
    }


def _mixed(count: int, alpha: float, generator: torch.Generator) -> Tensor:
    """Weight of each image when it is mixed with its neighbor in the pair; at least 1/2."""
    if not alpha:
        return torch.ones(count)
    # numpy draws beta variables without rejection of many candidates for large alpha (unlike Jöhnk 1964).
    seed = int(torch.randint(0, 2**31 - 1, (1,), generator=generator))
    share = np.random.default_rng(seed).beta(alpha, alpha, (count + 1) // 2)
    share = np.maximum(share, 1 - share)
    return torch.from_numpy(np.repeat(share, 2)[:count].astype(np.float32))


def apply(images: Tensor, augmentation: Augmentation, draws: Draws) -> Tensor:
    """Apply drawn changes to images.

    Parameters
    ----------
    images
        N x 3 x S x S, 0..1.
    augmentation
        Limits of the changes.
    draws
        The random numbers of these N images.

    Returns
    -------
    Tensor
        N x 3 x S x S, 0..1.
    """
    moved = _move(images, augmentation, draws)
    return _degrade(_recolor(moved, augmentation, draws), augmentation, draws).clamp(0, 1)


def mix(values: Tensor, draws: Draws) -> Tensor:
    """Mix each image or target with its neighbor in the pair (mixup).

    Parameters
    ----------
    values
        N x ...; N is even if anything is mixed.
    draws
        The random numbers of these N images.

    Returns
    -------
    Tensor
        N x ...
    """
    share = draws["mix"]
    if bool((share == 1).all()):
        return values
    share = share.to(values.dtype).view(-1, *[1] * (values.ndim - 1))
    other = values.view(-1, 2, *values.shape[1:]).flip(1).reshape(values.shape)
    mixed: Tensor = values * share + other * (1 - share)
    return mixed


def _move(images: Tensor, augmentation: Augmentation, draws: Draws) -> Tensor:
    """Rotate, flip, zoom, stretch and shift, with reflection padding."""
    count = len(images)
    zoom, aspect = torch.exp(draws["zoom"]), torch.exp(draws["aspect"])
    mirror = torch.where(draws["mirror"] < (0.0 if augmentation.flips == "none" else 0.5), -1.0, 1.0)
    upside = torch.where(draws["upside"] < (0.5 if augmentation.flips == "both" else 0.0), -1.0, 1.0)
    cosine, sine = torch.cos(draws["angle"]), torch.sin(draws["angle"])
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0] = cosine * zoom * aspect * mirror
    matrix[:, 0, 1] = -sine * zoom * aspect * upside
    matrix[:, 1, 0] = sine * zoom / aspect * mirror
    matrix[:, 1, 1] = cosine * zoom / aspect * upside
    matrix[:, :, 2] = draws["shift"]
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _recolor(images: Tensor, augmentation: Augmentation, draws: Draws) -> Tensor:
    """Change stain, gain of each channel, contrast, brightness and saturation."""
    if augmentation.stain:
        images = _restained(images, draws["stain"])
    images = images * torch.exp(draws["gain"])[:, :, None, None]
    contrast = torch.exp(draws["contrast"]).view(-1, 1, 1, 1)
    middle = images.mean((1, 2, 3), keepdim=True)
    images = (images - middle) * contrast + middle + draws["brightness"].view(-1, 1, 1, 1)
    saturation = torch.exp(draws["saturation"]).view(-1, 1, 1, 1)
    if augmentation.grey_share:
        colorless = draws["chance"][:, 5] < augmentation.grey_share
        saturation = torch.where(colorless.view(-1, 1, 1, 1), 0.0, saturation)
    grey = images.mean(1, keepdim=True)
    return grey + (images - grey) * saturation


def _restained(images: Tensor, drawn: Tensor) -> Tensor:
    """Change the amount of each stain, in optical densities (Tellez et al., IEEE TMI 2018)."""
    stains = _STAINS / _STAINS.norm(dim=1, keepdim=True)
    density = -torch.log((images.clamp(0, 1) * 255 + 1) / 256)
    amounts = torch.einsum("nchw,cs->nshw", density, torch.linalg.inv(stains))
    factor, offset = drawn[:, :3, None, None], drawn[:, 3:, None, None]
    varied = amounts * (1 + factor) + 0.1 * offset
    return (torch.exp(-torch.einsum("nshw,sc->nchw", varied, stains)) * 256 - 1) / 255


def _degrade(images: Tensor, augmentation: Augmentation, draws: Draws) -> Tensor:
    """Degrade some images: downscaling, blur, sharpening, noise, JPEG compression, random erasing."""
    a, chance = augmentation, draws["chance"]
    count, _, height, width = images.shape
    images = images.clone()
    for index in range(count):
        image = images[index : index + 1]
        if chance[index, 0] < a.small_share:
            factor = float(draws["small"][index])
            size = (max(1, round(height * factor)), max(1, round(width * factor)))
            small = functional.interpolate(image, size, mode="bilinear", antialias=True)
            image = functional.interpolate(small, (height, width), mode="bilinear")
        if chance[index, 1] < a.blur_share:
            image = _blurred(image, float(draws["blur"][index]))
        if chance[index, 2] < a.sharpen_share:
            image = image + float(draws["sharpen"][index]) * (image - _blurred(image, 1.0))
        if chance[index, 3] < a.noise_share:
            generator = torch.Generator().manual_seed(int(draws["seed"][index]))
            image = image + draws["noise"][index] * torch.randn(image.shape, generator=generator)
        if chance[index, 4] < a.jpeg_share:
            image = _recompressed(image[0], int(draws["jpeg"][index]))[None]
        if chance[index, 6] < a.erasing_share:
            image = _covered(image, a.erasing, draws["erase"][index], int(draws["seed"][index]))
        images[index] = image[0]
    return images


def _blurred(image: Tensor, sigma: float) -> Tensor:
    if sigma < 0.1:
        return image
    reach = max(1, math.ceil(2.5 * sigma))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (weights / weights.sum()).view(1, 1, 1, -1).expand(3, 1, 1, -1)
    across = functional.conv2d(functional.pad(image, (reach, reach, 0, 0), "replicate"), kernel, groups=3)
    down = functional.pad(across, (0, 0, reach, reach), "replicate")
    return functional.conv2d(down, kernel.transpose(2, 3), groups=3)


def _covered(image: Tensor, most: float, drawn: Tensor, seed: int) -> Tensor:
    """Random erasing (Zhong et al., AAAI 2020)."""
    height, width = image.shape[2:]
    area = float(drawn[0]) * most
    ratio = math.exp((float(drawn[1]) - 0.5) * 2 * math.log(2))
    tall = min(height, max(1, round(height * math.sqrt(area * ratio))))
    wide = min(width, max(1, round(width * math.sqrt(area / ratio))))
    top, left = int(float(drawn[2]) * (height - tall + 1)), int(float(drawn[3]) * (width - wide + 1))
    top, left = min(top, height - tall), min(left, width - wide)
    generator = torch.Generator().manual_seed(seed + 1)
    image = image.clone()
    image[:, :, top : top + tall, left : left + wide] = torch.rand(1, 3, tall, wide, generator=generator)
    return image


def _recompressed(image: Tensor, quality: int) -> Tensor:
    buffer = io.BytesIO()
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as again:
        return torch.from_numpy(np.asarray(again).copy()).permute(2, 0, 1).float() / 255
