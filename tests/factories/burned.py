# SPDX-License-Identifier: Apache-2.0
"""Images with text burned in, as scanners, consoles and label printers do it, and the pixels of each line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIZES = ((512, 512), (640, 480), (800, 600), (1024, 768), (1024, 1024))
BACKGROUNDS = ("black", "speckle", "tissue", "banner")
FAMILIES = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSerif", "STIXGeneral", "DejaVuSans-Oblique")
TURNS = (0, 0, 0, 0, 0, 0, 90, 270, 6, -9, 14)
SURNAMES = ("KOWALSKA", "Nguyen", "OKAFOR", "Lindqvist", "MARTINEZ", "Abdullah", "Tanaka", "ROSSI", "Haddad", "Murphy")
GIVEN = ("ANNA", "Peter", "MARIA", "Ibrahim", "JANE", "Sven", "Yuki", "LUCA", "Fatima", "Tom")
HOSPITALS = ("St. Mary Hospital", "KLINIKUM NORD", "City General", "Mercy Clinic 4B", "UNIVERSITY HOSPITAL OSLO")
HARMLESS = {
    "DX": ("L", "R", "AP", "PA ERECT", "PORTABLE", "SUPINE", "LATERAL", "LEFT", "120 kV", "2.5 mAs"),
    "US": ("12.4 cm", "Gain 45", "MI 1.2", "TIS 0.8", "Freq 5.0 MHz", "30 Hz", "Depth 16 cm", "DR 60", "Dist 4.21 cm"),
    "XC": ("10 mm", "x40", "1 cm"),
}


@dataclass(frozen=True)
class BurnedLine:
    """A line of burned-in text.

    Attributes
    ----------
    ink
        H x W, true where it changes the image.
    """

    text: str
    identifies: bool
    ink: NDArray[np.bool_]
    size: int
    contrast: int
    turn: int


@dataclass(frozen=True)
class BurnedImage:
    """An image with burned-in text.

    Attributes
    ----------
    image
        H x W or H x W x 3, uint8.
    """

    image: NDArray[np.uint8]
    lines: tuple[BurnedLine, ...]
    background: str
    modality: str


def make_burned_image(seed: int, *, identifiers: bool = True, size: tuple[int, int] | None = None) -> BurnedImage:
    """Make an image with burned-in text.

    Parameters
    ----------
    seed
        Which picture.
    identifiers
        Whether some of the writing says who somebody is; else all of it is harmless.
    size
        Width and height; drawn if not given.
    """
    random = np.random.default_rng(seed)
    width, height = size or SIZES[random.integers(len(SIZES))]
    background = BACKGROUNDS[seed % len(BACKGROUNDS)]
    modality = {"black": "DX", "speckle": "US", "tissue": "DX", "banner": "XC"}[background]
    values = _background(background, width, height, random)
    taken = np.zeros((height, width), bool)
    wanted = [(_identifier(random), True) for _ in range(random.integers(2, 6))] if identifiers else []
    terms = HARMLESS[modality]
    wanted += [(terms[random.integers(len(terms))], False) for _ in range(random.integers(1, 4))]
    lines = []
    for text, identifies in wanted:
        line = _write(values, taken, text, identifies, background, random)
        if line is not None:
            lines.append(line)
    image = np.clip(values, 0, 255).astype(np.uint8)
    if background == "banner":  # a color picture
        image = np.stack([image, np.clip(values * 0.93, 0, 255).astype(np.uint8), image], -1)
    return BurnedImage(image, tuple(lines), background, modality)


def write_line(values: NDArray[np.float64], text: str, at: tuple[int, int], size: int, level: float) -> None:
    """Write a line into an image (H x W), its upper left corner at x, y."""
    picture = Image.new("L", (values.shape[1], values.shape[0]))
    ImageDraw.Draw(picture).text(at, text, fill=255, font=_font("DejaVuSans", size))
    drawn = np.asarray(picture, np.float64) / 255
    values[:] = values * (1 - drawn) + level * drawn


def _identifier(random: np.random.Generator) -> str:
    surname, given = SURNAMES[random.integers(len(SURNAMES))], GIVEN[random.integers(len(GIVEN))]
    day, month, year = random.integers(1, 29), random.integers(1, 13), random.integers(1925, 2024)
    number = int(random.integers(10**6, 10**9))
    forms = (
        f"{surname}^{given}",
        f"{surname}, {given}",
        f"Name: {given} {surname}",
        f"ID {number}",
        f"MRN{number}",
        f"{day:02d}.{month:02d}.{year}",
        f"DOB {year}-{month:02d}-{day:02d}",
        f"{month:02d}/{day:02d}/{year}",
        f"Acc# A{number}",
        HOSPITALS[random.integers(len(HOSPITALS))],
        f"Dr. {surname}",
        surname,
    )
    return forms[random.integers(len(forms))]


def _background(kind: str, width: int, height: int, random: np.random.Generator) -> NDArray[np.float64]:
    y, x = np.mgrid[0:height, 0:width]
    away = np.hypot((x - width / 2) / (0.36 * width), (y - height / 2) / (0.36 * height))
    if kind == "speckle":
        grain = random.rayleigh(1.0, (height, width))
        soft = _smooth(random, width, height, 40)
        within = (away < 1) & (y > height * 0.12)
        return np.where(within, 22 * grain * (0.5 + soft), 0.0)
    if kind == "tissue":
        return 40 + 130 * _smooth(random, width, height, 60) + random.normal(0, 3, (height, width))
    if kind == "banner":
        values = 215 + 12 * _smooth(random, width, height, 30) + random.normal(0, 2, (height, width))
        values[: height // 8] = 245
        cells = np.hypot(x % 90 - 45, y % 90 - 45) < 20
        values[cells & (y > height // 5)] -= 60
        return np.asarray(values)
    return np.where(away < 1, 150 * np.clip(1 - away, 0, 1) * (0.4 + _smooth(random, width, height, 30)), 0.0)


def _smooth(random: np.random.Generator, width: int, height: int, step: int) -> NDArray[np.float64]:
    """Smooth noise, H x W, 0..1."""
    coarse = random.random((height // step + 2, width // step + 2))
    picture = Image.fromarray((coarse * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture, np.float64) / 255


@cache
def _font(family: str, size: int) -> ImageFont.FreeTypeFont:
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise RuntimeError("matplotlib, whose fonts are written with, is missing (the extra train)")
    return ImageFont.truetype(Path(spec.origin).parent / "mpl-data/fonts/ttf" / f"{family}.ttf", size)


def _write(
    values: NDArray[np.float64],
    taken: NDArray[np.bool_],
    text: str,
    identifies: bool,
    background: str,
    random: np.random.Generator,
) -> BurnedLine | None:
    """Write a line into a free area; ``None`` if there is none."""
    height, width = values.shape
    size, turn = int(random.integers(10, 41)), TURNS[random.integers(len(TURNS))]
    font = _font(FAMILIES[random.integers(len(FAMILIES))], size)
    left, top, right, bottom = font.getbbox(text)
    word = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(word).text((2 - left, 2 - top), text, fill=255, font=font)
    if turn:
        word = word.rotate(turn, Image.Resampling.BICUBIC, expand=True)
    if random.random() < 0.15:
        word = word.filter(ImageFilter.GaussianBlur(0.6))
    drawn = np.asarray(word, np.float64) / 255
    rows, columns = drawn.shape
    if rows >= height or columns >= width:
        return None
    for _ in range(40):
        y, x = int(random.integers(0, height - rows)), int(random.integers(0, width - columns))
        region = (slice(y, y + rows), slice(x, x + columns))
        if not taken[max(0, y - 6) : y + rows + 6, max(0, x - 6) : x + columns + 6].any():
            break
    else:
        return None
    under = values[region]
    ink = drawn > 0.35
    level, contrast = _level(under[ink], background, random)
    values[region] = under * (1 - drawn) + level * drawn
    taken[region] = True
    mask = np.zeros((height, width), bool)
    mask[region] = ink
    return BurnedLine(text, identifies, mask, size, contrast, turn)


def _level(under: NDArray[np.float64], background: str, random: np.random.Generator) -> tuple[float, int]:
    """Gray level of a text, and its contrast with its surroundings."""
    if background == "banner":
        contrast = int(random.integers(40, 180))
        return float(np.percentile(under, 5)) - contrast, contrast
    brightest = float(np.percentile(under, 95))
    least = 12 if brightest < 4 else 45
    contrast = int(random.integers(least, max(least + 1, 256 - int(brightest))))
    return min(255.0, brightest + contrast), contrast
