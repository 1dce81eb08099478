# SPDX-License-Identifier: Apache-2.0
"""Evidence maps made visible: colors over an image that show what spoke for the label."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medhub.errors import Invalid

# The path of the colors through OKLCh: lightness grows evenly from first to last, so that equal steps of evidence look
# equal, also printed grey and to eyes that do not tell red from green.
_LIGHTNESS = (0.22, 0.93)
_HUE_DEGREES = (-60.0, 105.0)  # violet, over red and orange, to yellow
_CHROMA = (0.09, 0.17, 0.19, 0.17, 0.15)


@cache
def color_table() -> NDArray[np.uint8]:
    """Compute the 256 colors that evidence is shown in.

    Returns
    -------
    NDArray[np.uint8]
        256 x 3, sRGB; lightness (OKLab, Ottosson 2020) grows evenly.
    """
    position = np.linspace(0, 1, 256)
    lightness = np.interp(position, (0, 1), _LIGHTNESS)
    hue = np.deg2rad(np.interp(position, (0, 1), _HUE_DEGREES))
    chroma = np.interp(position, np.linspace(0, 1, len(_CHROMA)), _CHROMA)
    # Colors that sRGB cannot show are drawn towards grey at the same lightness until it can.
    for _ in range(60):
        linear = _linear_rgb(lightness, chroma * np.cos(hue), chroma * np.sin(hue))
        outside = ((linear < 0) | (linear > 1)).any(axis=1)
        if not outside.any():
            break
        chroma = np.where(outside, chroma * 0.96, chroma)
    linear = np.clip(linear, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    table = np.round(encoded * 255).astype(np.uint8)
    table.setflags(write=False)
    return table


def colorize(evidence: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
    """Make a picture of an evidence map that can be laid over the image.

    Parameters
    ----------
    evidence
        h x w, 0..1.
    height, width
        Size of the picture in pixels.

    Returns
    -------
    NDArray[np.uint8]
        Height x width x 4, RGBA (not premultiplied): color and opacity both grow with the evidence, so that the image
        stays visible where nothing speaks for the label.

    Raises
    ------
    Invalid
        The map is not two-dimensional, or the size is not positive.
    """
    strength = np.round(_enlarge(evidence, height, width) * 255).astype(np.uint8)
    return np.dstack((color_table()[strength], strength))


def overlay(image: NDArray[np.uint8], evidence: NDArray[np.float32], opacity: float = 0.45) -> NDArray[np.uint8]:
    """Lay an evidence map over its image.

    Parameters
    ----------
    image
        Height x width x 3, uint8, RGB.
    evidence
        h x w, 0..1.
    opacity
        Opacity where the evidence is greatest, 0..1.

    Returns
    -------
    NDArray[np.uint8]
        Height x width x 3.

    Raises
    ------
    Invalid
        The opacity is not in 0..1, or the map is not two-dimensional.
    """
    if not 0 <= opacity <= 1:
        raise Invalid(f"An opacity lies from 0 to 1; this one is {opacity:g}.", field="opacity")
    colors = colorize(evidence, image.shape[0], image.shape[1])
    weight = colors[..., 3:].astype(np.float32) * np.float32(opacity / 255)
    mixed = image * (1 - weight) + colors[..., :3] * weight
    return np.round(mixed).astype(np.uint8)


def _enlarge(evidence: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    if evidence.ndim != 2 or 0 in evidence.shape or height < 1 or width < 1:
        raise Invalid("An evidence map has two axes, and its picture has a size.", shape=list(evidence.shape))
    small = Image.fromarray(np.ascontiguousarray(evidence, np.float32))
    large = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    clipped: NDArray[np.float32] = np.clip(large, 0, 1)
    return clipped


def _linear_rgb(lightness: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    # https://bottosson.github.io/posts/oklab/ (public domain), OKLab to linear sRGB.
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return np.stack(
        (
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ),
        axis=1,
    )
