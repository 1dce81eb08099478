# SPDX-License-Identifier: Apache-2.0
"""Steps that the raster formats share: opening within the limits, decoding every sample, building the photograph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable, refuse_oversized
from medhub.science.imaging.photographs.color_conversion import (
    COLOR_NOTE,
    UNREADABLE_PROFILE_NOTE,
    changes_colors,
    color_profile_of,
    convert_printing_colors,
    to_srgb,
)
from medhub.science.imaging.photographs.deep_color import read_deep
from medhub.science.imaging.photographs.photograph import Photograph, small, turn
from medhub.science.imaging.photographs.refusal_messages import damaged, decoding

TRANSPARENCY_NOTE = "Transparent parts were laid on white."
TURNED_NOTE = "The picture was turned the right way up, as its file says; no pixel value changed."
CMYK_NOTE = "Printing colors (CMYK) were converted to red, green and blue without a color profile."


class DecodedSamples(NamedTuple):
    """The samples of an image.

    Attributes
    ----------
    pixels
        Array of shape (rows, columns) or (rows, columns, 3), uint8 or uint16.
    bits
        Bits of a sample that are used, 8 to 16.
    exact
        Whether every sample of the file is kept exactly.
    notes
        What was changed, one sentence each.
    source_profile
        The color profile from which colors were converted to sRGB.
    """

    pixels: NDArray[Any]
    bits: int
    exact: bool
    notes: tuple[str, ...] = ()
    source_profile: bytes | None = None


@contextmanager
def open_raster(
    data: bytes, format_name: str, limits: DecodingLimits, *, decoder: str | None = None
) -> Iterator[Image.Image]:
    """Open an image without decoding it, and refuse it if it is too large.

    Parameters
    ----------
    data
        The received bytes.
    format_name
        As messages name the format.
    limits
        The largest accepted image.
    decoder
        Pillow's name of the format, where it is another.

    Raises
    ------
    Unacceptable
        For an oversized image, and for whatever the decoder raises on bad bytes within the context.
    """
    with decoding(format_name), Image.open(BytesIO(data), formats=(decoder or format_name,)) as image:
        refuse_oversized(image.height, image.width, limits)
        yield image


def read_orientation(image: Image.Image) -> int:
    """Read the EXIF orientation, 1 to 8; 1 where there is none."""
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def build_photograph(
    format_name: str, samples: DecodedSamples, orientation: int = 1, *, lossy: bool, already_turned: bool = False
) -> Photograph:
    """Turn decoded samples the right way up and add the preview.

    Parameters
    ----------
    format_name
        As messages name the format.
    samples
        The samples as decoded.
    orientation
        EXIF orientation of the file, 1 to 8.
    lossy
        Whether the file had been compressed with loss.
    already_turned
        Whether the decoder has turned the samples by itself.

    Raises
    ------
    Unacceptable
        When the array is no picture.
    """
    pixels, notes = samples.pixels, samples.notes
    if (pixels.ndim == 2 and not pixels.size) or pixels.ndim not in (2, 3):
        raise damaged(format_name)
    if orientation != 1:
        if not already_turned:
            pixels = turn(pixels, orientation)
        notes += (TURNED_NOTE,)
    preview = small(pixels, samples.bits)
    return Photograph(
        format_name, pixels, None, preview, samples.bits, samples.exact, lossy, notes, samples.source_profile
    )


def convert_colors(samples: DecodedSamples, profile: bytes | None) -> DecodedSamples:
    """Convert decoded samples to sRGB, if the color profile of their file is another."""
    changes = changes_colors(profile, "L" if samples.pixels.ndim == 2 else "RGB")
    if changes is None:
        return samples._replace(notes=(*samples.notes, UNREADABLE_PROFILE_NOTE))
    if not changes or profile is None:
        return samples
    pixels = to_srgb(samples.pixels, profile, samples.bits)
    return DecodedSamples(pixels, samples.bits, False, (*samples.notes, COLOR_NOTE), profile)


def decode_samples(
    image: Image.Image,
    data: bytes,
    format_name: str,
    *,
    profile: bytes | None = None,
    bits: int | None = None,
    scaled: bool = False,
) -> DecodedSamples:
    """Decode an opened image into grey or RGB samples of sRGB, of which none is rounded.

    Parameters
    ----------
    image
        The image, opened and not yet decoded.
    data
        The bytes that it was opened from.
    format_name
        As messages name the format.
    profile
        Its color profile, where Pillow does not return it.
    bits
        Bits that are used of samples of 16, where the file says it.
    scaled
        Whether a correct writer scales such samples to all 16 bits.

    Raises
    ------
    Unacceptable
        When the samples have 32 bits, or colors that cannot be read.
    """
    # Pillow decodes a PNG to read its EXIF block, and cannot read that of a TIFF once it is decoded.
    if format_name != "PNG":
        profile = color_profile_of(image, profile)
    if image.mode == "CMYK" and profile is not None and changes_colors(profile, "CMYK"):
        return DecodedSamples(convert_printing_colors(image, profile), 8, False, (COLOR_NOTE,), profile)
    samples = _decode_stored(image, data, format_name, bits, scaled)
    return convert_colors(samples, color_profile_of(image, profile) if format_name == "PNG" else profile)


def _decode_stored(image: Image.Image, data: bytes, format_name: str, bits: int | None, scaled: bool) -> DecodedSamples:
    """Decode an opened image into grey or RGB samples as they are stored; see ``decode_samples``."""
    deep = read_deep(image, data, format_name)
    if deep is not None:
        samples, exact = deep
        notes = () if exact else (TRANSPARENCY_NOTE,)
        # The file says how many bits are used, never its brightest sample: a dim image is dim.
        if bits is None or not 8 < bits < 16 or int(samples.max()) >= 2**bits:
            bits = 16
        elif scaled and not (samples & (2 ** (16 - bits) - 1)).any():
            bits = 16  # scaled samples of a dim image have no bits below the significant ones
        return DecodedSamples(samples, bits, exact, notes)
    mode = image.mode
    if mode in ("I", "F"):
        raise Unacceptable(
            f"The samples of this {format_name} file have 32 bits; at most 16 are accepted. Save it with 8 or 16 bits "
            "a sample.",
            reason="unsupported",
        )
    if mode in ("RGBA", "RGBa", "LA", "La", "PA") or image.has_transparency_data:
        pixels, opaque = _flatten(image)
        return DecodedSamples(pixels, 8, opaque, () if opaque else (TRANSPARENCY_NOTE,))
    if mode in ("1", "L"):
        return DecodedSamples(np.asarray(image.convert("L")), 8, True)
    if mode == "RGB":
        return DecodedSamples(np.asarray(image), 8, True)
    if mode in ("RGBX", "P"):
        return DecodedSamples(np.asarray(image.convert("RGB")), 8, True)
    if mode in ("CMYK", "YCbCr"):
        return DecodedSamples(np.asarray(image.convert("RGB")), 8, False, (CMYK_NOTE,) if mode == "CMYK" else ())
    raise Unacceptable(
        f"The colors of this {format_name} file ({mode}) cannot be read. Save it in red, green and blue.",
        reason="unsupported",
    )


def _flatten(image: Image.Image) -> tuple[NDArray[np.uint8], bool]:
    """Lay transparent parts on white, and return whether the image was opaque; colors under them are not kept."""
    mode = "L" if image.mode in ("LA", "La", "L") else "RGB"
    layered = image.convert("LA" if mode == "L" else "RGBA")
    alpha = layered.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return np.asarray(layered.convert(mode)), True
    background = Image.new(mode, image.size, "white")
    background.paste(layered.convert(mode), mask=alpha)
    return np.asarray(background), False


def save_raster(samples: NDArray[Any], encoder: str, color_profile: bytes | None = None, **options: Any) -> bytes:
    """Write samples with Pillow: grey of up to 16 bits or RGB of eight bits, and a color profile if one is passed."""
    out = BytesIO()
    if color_profile:
        options["icc_profile"] = color_profile
    Image.fromarray(np.ascontiguousarray(samples)).save(out, encoder, **options)
    return out.getvalue()
