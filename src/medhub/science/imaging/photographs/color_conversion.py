# SPDX-License-Identifier: Apache-2.0
"""Colors of a photograph converted from its color profile (ICC.1:2022) to sRGB."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from imagecodecs import cms_profile, cms_transform
from numpy.typing import NDArray
from PIL import Image, ImageCms

COLOR_NOTE = "Its colors were converted from the color profile of the file to sRGB."
UNREADABLE_PROFILE_NOTE = "Its color profile cannot be read; its colors are taken as sRGB."

_LONGEST_PROFILE = 4 * 1024**2
_EXIF_IFD, _INTEROPERABILITY_IFD = 0x8769, 0xA005
_COLOR_SPACE, _INTEROPERABILITY_INDEX = 0xA001, 1
_ADOBE_RGB_PRIMARIES = (0.64, 0.33, 1.0, 0.21, 0.71, 1.0, 0.15, 0.06, 1.0)
_ADOBE_RGB_GAMMA = 563 / 256
# Levels of 256 by which colors of sRGB itself may differ, by rounding and by other writings of the same profile.
_SAME_LEVELS = 1
_STRIP_PIXELS = 4_000_000


@cache
def adobe_rgb_profile() -> bytes:
    """A profile of Adobe RGB (1998), which cameras name in EXIF alone (DCF 2.0, interoperability index R03)."""
    return bytes(
        cms_profile("rgb", whitepoint=[0.3127, 0.3290, 1.0], primaries=_ADOBE_RGB_PRIMARIES, gamma=_ADOBE_RGB_GAMMA)
    )


@cache
def _srgb() -> Any:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def color_profile_of(image: Image.Image, embedded: bytes | None = None) -> bytes | None:
    """Find the color profile of an opened image: the embedded one, or Adobe RGB where EXIF names it.

    Parameters
    ----------
    image
        The opened image, with its EXIF block.
    embedded
        The profile, where the decoder does not return it.

    Returns
    -------
    bytes or None
        ``None`` for sRGB without a profile.
    """
    profile = embedded or image.info.get("icc_profile")
    if profile:
        return bytes(profile)
    try:
        exif = image.getexif()
        named = exif.get_ifd(_EXIF_IFD).get(_COLOR_SPACE)
        interoperability = exif.get_ifd(_INTEROPERABILITY_IFD).get(_INTEROPERABILITY_INDEX)
    except Exception:  # tags of any damage
        return None
    text = interoperability.decode("latin-1") if isinstance(interoperability, bytes) else str(interoperability or "")
    # 2 is what some cameras write for Adobe RGB; the standard's value for all others is 65535, with the index R03.
    return adobe_rgb_profile() if named == 2 or (named == 0xFFFF and text.startswith("R03")) else None


def changes_colors(profile: bytes | None, mode: str = "RGB") -> bool | None:
    """Whether colors under a profile are others than in sRGB.

    Parameters
    ----------
    profile
        The profile, or ``None``.
    mode
        "RGB", "L" or "CMYK", as the samples are.

    Returns
    -------
    bool or None
        ``None`` when the profile cannot be read; ``False`` also for a profile of other samples than these.
    """
    if profile is None:
        return False
    try:
        source = _open(profile)
        if source.profile.xcolor_space.strip() != {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}.get(mode):
            return False
        if mode == "CMYK":
            return True
        levels = np.linspace(0, 255, 9).astype(np.uint8)
        grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3) if mode == "RGB" else levels
        samples = grid if mode == "RGB" else np.arange(256, dtype=np.uint8)[None]
        converted = _convert_eight_bits(samples, source, mode)
        wanted = samples if mode == "RGB" else np.repeat(samples[..., None], 3, axis=2)
        return bool(np.abs(converted.astype(int) - wanted).max() > _SAME_LEVELS)
    except Exception:  # a profile of any damage
        return None


def to_srgb(samples: NDArray[Any], profile: bytes, bits: int = 8) -> NDArray[Any]:
    """Convert samples to sRGB, perceptually where the profile has a table for that.

    Parameters
    ----------
    samples
        Array of shape (rows, columns) or (rows, columns, 3), uint8 or uint16.
    profile
        A profile of which ``changes_colors`` says that it changes them.
    bits
        Bits of a sample that are used.

    Returns
    -------
    ndarray
        Of the same type and shape.
    """
    mode = "L" if samples.ndim == 2 else "RGB"
    if samples.dtype == np.uint8:
        converted = _convert_eight_bits(samples, _open(profile), mode)
        return converted[..., 0].copy() if mode == "L" else converted
    scale = 65535 // (2**bits - 1) if bits < 16 else 1
    space = "gray" if mode == "L" else "rgb"
    target = _srgb().tobytes()
    rows = max(1, _STRIP_PIXELS // samples.shape[1])
    strips = []
    for top in range(0, len(samples), rows):
        strip = (samples[top : top + rows].astype(np.uint32) * scale).astype(np.uint16)
        colors = cms_transform(np.ascontiguousarray(strip), profile, target, colorspace=space, outcolorspace="rgb")
        strips.append(colors[..., 0] if mode == "L" else colors)
    joined: NDArray[Any] = np.concatenate(strips) // scale
    return joined.astype(samples.dtype)


def _open(profile: bytes) -> Any:
    if len(profile) > _LONGEST_PROFILE:
        raise ValueError("the profile is longer than any")
    return ImageCms.ImageCmsProfile(BytesIO(profile))


def _convert_eight_bits(samples: NDArray[np.uint8], source: Any, mode: str) -> NDArray[np.uint8]:
    transform = ImageCms.buildTransform(source, _srgb(), mode, "RGB")
    picture = ImageCms.applyTransform(Image.fromarray(np.ascontiguousarray(samples)), transform)
    return np.asarray(picture)


def convert_printing_colors(image: Image.Image, profile: bytes) -> NDArray[np.uint8]:
    """Convert CMYK to sRGB by its profile."""
    transform = ImageCms.buildTransform(_open(profile), _srgb(), "CMYK", "RGB")
    return np.asarray(ImageCms.applyTransform(image, transform))
