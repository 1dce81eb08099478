# SPDX-License-Identifier: Apache-2.0
"""Out-of-distribution images, from files and generated, on which the abstention of a classifier is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medhub.errors import Invalid
from medhub.science.learning.recipe import OutOfDistributionRecipe

SIDE = 256
GENERATED_SEED = 42
_TILE = 448

Picture = NDArray[np.uint8]


def read_matching_images(folder: Path, recipe: OutOfDistributionRecipe) -> Iterator[Picture]:
    """Read the images of one kind, complete or as tiles.

    Parameters
    ----------
    folder
        Folder that the pattern is relative to.
    recipe
        Pattern of the files, and whether they are cut into tiles.

    Yields
    ------
    Picture
        Height x width x 3, RGB.

    Raises
    ------
    Invalid
        No file matches the pattern.
    """
    paths = sorted(folder.glob(recipe.pattern))
    if not paths:
        raise Invalid(f'No file matches "{recipe.pattern}".')
    for path in paths:
        with Image.open(path) as opened:  # not decode_photograph: the files may be slides
            image = np.asarray(opened.convert("RGB"))
        if recipe.tiles:
            yield from _tiles(image)
        else:
            yield image


def generate_images(count: int, seed: int = GENERATED_SEED) -> dict[str, list[Picture]]:
    """Generate synthetic images without content.

    Parameters
    ----------
    count
        Number of images of each kind.
    seed
        Seed of the random numbers.

    Returns
    -------
    dict[str, list[Picture]]
        Images by kind, each 256 x 256 x 3.
    """
    chance = np.random.default_rng(seed)
    return {name: [draw(chance) for _ in range(count)] for name, draw in _KINDS.items()}


def _tiles(image: Picture) -> Iterator[Picture]:
    height, width = image.shape[:2]
    for top in range(0, height - _TILE + 1, _TILE):
        for left in range(0, width - _TILE + 1, _TILE):
            yield image[top : top + _TILE, left : left + _TILE]


def _plain(chance: np.random.Generator) -> Picture:
    color = chance.choice([0, 255], 3) if chance.random() < 0.3 else chance.integers(0, 256, 3)
    return np.broadcast_to(color.astype(np.uint8), (SIDE, SIDE, 3)).copy()


def _noise(chance: np.random.Generator) -> Picture:
    if chance.random() < 0.5:
        return chance.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    return _bytes(chance.normal(chance.uniform(60, 200, 3), chance.uniform(10, 60), (SIDE, SIDE, 3)))


def _gradient(chance: np.random.Generator) -> Picture:
    y, x = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)
    angle = chance.uniform(0, 2 * np.pi)
    position = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.5
    if chance.random() < 0.4:
        position = np.hypot(x - chance.uniform(0, 1), y - chance.uniform(0, 1))
    first, last = chance.uniform(0, 255, (2, 3))
    return _bytes(first + (last - first) * position[..., None])


def _stripes(chance: np.random.Generator) -> Picture:
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    period = chance.uniform(4, 80)
    wave = np.sin(2 * np.pi * x / period + chance.uniform(0, 6))
    if chance.random() < 0.5:
        wave = wave * np.sin(2 * np.pi * y / period)
    first, last = chance.uniform(0, 255, (2, 3))
    return _bytes(np.where(wave[..., None] > 0, first, last))


def _clouds(chance: np.random.Generator) -> Picture:
    """Draw 1/f noise, whose spectrum is like that of photographs (Field 1987)."""
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None])
    frequency[0, 0] = 1
    fall = frequency ** -chance.uniform(0.8, 1.6)
    channels = [np.fft.ifft2(np.fft.fft2(chance.normal(size=(SIDE, SIDE))) * fall).real for _ in range(3)]
    mixed = np.stack(channels, -1) @ (np.eye(3) + chance.uniform(0, 1, (3, 3)))
    return _bytes(chance.uniform(60, 200, 3) + mixed / mixed.std() * chance.uniform(20, 60))


def _shapes(chance: np.random.Generator) -> Picture:
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    picture = np.broadcast_to(chance.uniform(0, 255, 3), (SIDE, SIDE, 3)).copy()
    for _ in range(int(chance.integers(2, 30))):
        left, top = chance.uniform(0, SIDE, 2)
        wide, high = chance.uniform(8, 90, 2)
        inside = (np.abs(x - left) < wide / 2) & (np.abs(y - top) < high / 2)
        if chance.random() < 0.5:
            inside = ((x - left) / wide) ** 2 + ((y - top) / high) ** 2 < 0.25
        picture[inside] = chance.uniform(0, 255, 3)
    return _bytes(picture)


def _screen(chance: np.random.Generator) -> Picture:
    """Draw lines of small marks, dark on light or light on dark, like the text of a page or a screen."""
    coarse = (chance.random((SIDE // 4, SIDE // 4)) < 0.45).astype(np.uint8) * 255
    coarse[chance.integers(0, 3) :: 3] = 0
    large = np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.NEAREST)).astype(float) / 255
    ink, paper = chance.uniform(0, 90, 3), chance.uniform(200, 255, 3)
    if chance.random() < 0.3:
        ink, paper = paper, ink
    return _bytes(paper + (ink - paper) * large[..., None])


def _bytes(values: NDArray[np.float64]) -> Picture:
    return np.clip(values, 0, 255).astype(np.uint8)


_KINDS: dict[str, Callable[[np.random.Generator], Picture]] = {
    "one color": _plain,
    "noise": _noise,
    "gradients": _gradient,
    "stripes and checks": _stripes,
    "clouds (1/f noise)": _clouds,
    "shapes": _shapes,
    "lines of marks": _screen,
}
