# SPDX-License-Identifier: Apache-2.0
"""TIFF photographs of one page; they are always written anew, because any tag may hold text."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from imagecodecs import tiff_decode
from numpy.typing import NDArray
from PIL import Image

from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable, refuse_oversized
from medhub.science.imaging.photographs.color_conversion import color_profile_of
from medhub.science.imaging.photographs.deep_color import lay_on_white, write_deep
from medhub.science.imaging.photographs.metadata_tags import read_tiff_metadata
from medhub.science.imaging.photographs.photograph import Photograph
from medhub.science.imaging.photographs.photograph_format import PhotographFormat, starts_with
from medhub.science.imaging.photographs.raster_reader import (
    TRANSPARENCY_NOTE,
    DecodedSamples,
    build_photograph,
    convert_colors,
    decode_samples,
    open_raster,
    read_orientation,
    save_raster,
)
from medhub.science.imaging.photographs.refusal_messages import decoding
from medhub.science.imaging.photographs.tiff_pages import TiffPageTags, read_pages, refuse_sample_format

_SIGNATURES = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_LOSSY_COMPRESSIONS = ("jpeg", "tiff_jpeg", "webp")
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_MAX_COMPARED_PAGES = 4
_COMPARED_SIZE = (48, 48)
_MAX_LEVEL_DIFFERENCE = 8.0


def read_tiff(data: bytes, limits: DecodingLimits) -> Photograph:
    """Read a TIFF file of one page; see ``PhotographFormat.read``."""
    pages = read_pages(data, limits.max_frames)
    page = _choose_page(data, pages, limits)
    refuse_oversized(page.rows, page.columns, limits)
    refuse_sample_format(page)
    # Pillow reads no BigTIFF of the other byte order, and not every file of 16 bits rightly.
    if data[:4] == b"MM\x00+" or page.bits == 16:
        with decoding("TIFF"):
            samples = _decode_by_libtiff(data, page)
        return build_photograph("TIFF", samples, page.orientation, lossy=False)
    with open_raster(data, "TIFF", limits) as image:
        image.seek(page.number)
        lossy = image.info.get("compression", "") in _LOSSY_COMPRESSIONS
        # Pillow turns a TIFF while it decodes it, and forgets its orientation.
        orientation = read_orientation(image)
        samples = decode_samples(image, data, "TIFF", bits=page.used_bits)
    return build_photograph("TIFF", samples, orientation, lossy=lossy, already_turned=True)


def _choose_page(data: bytes, pages: list[TiffPageTags], limits: DecodingLimits) -> TiffPageTags:
    """Choose the page of a TIFF; reduced copies of the same page do not count, wherever they are."""
    full = [page for page in pages if not page.reduced] or pages[:1]
    if len(full) == 1:
        return full[0]
    largest = max(full, key=lambda page: page.rows * page.columns)
    if len(full) <= _MAX_COMPARED_PAGES and all(
        page is largest or _is_reduced_copy(data, page, largest, limits) for page in full
    ):
        return largest
    raise Unacceptable(
        "This TIFF file has several pages. Save each page that matters as a separate file.", reason="unsupported"
    )


def _is_reduced_copy(data: bytes, page: TiffPageTags, largest: TiffPageTags, limits: DecodingLimits) -> bool:
    """Whether a smaller page that no tag marks shows the same picture."""
    proportion = page.columns * largest.rows / max(1, page.rows * largest.columns)
    if page.columns * 2 > largest.columns or not 0.97 < proportion < 1.03:
        return False
    refuse_oversized(largest.rows, largest.columns, limits)
    try:
        with Image.open(BytesIO(data), formats=("TIFF",)) as image:
            pictures = []
            for number in (page.number, largest.number):
                image.seek(number)
                pictures.append(np.asarray(image.convert("L").resize(_COMPARED_SIZE), np.float64))
    except Exception:  # what cannot be compared is another picture
        return False
    return bool(np.abs(pictures[0] - pictures[1]).mean() < _MAX_LEVEL_DIFFERENCE)


def _decode_by_libtiff(data: bytes, page: TiffPageTags) -> DecodedSamples:
    """Decode a page as its tags say: planes apart, white as zero, either byte order."""
    pixels = np.asarray(tiff_decode(data, index=page.number))
    shape = (page.rows, page.columns)
    if page.samples > 1 and pixels.shape == (page.samples, *shape):
        pixels = np.moveaxis(pixels, 0, -1)
    wanted = shape if page.samples == 1 else (*shape, page.samples)
    colors = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3}.get(page.photometric)
    if pixels.shape != wanted or pixels.dtype not in (np.uint8, np.uint16) or colors is None or page.samples < colors:
        raise Unacceptable(
            "The colors of this TIFF file cannot be read. Save it in red, green and blue.", reason="unsupported"
        )
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    bits = 8 if pixels.dtype == np.uint8 else page.used_bits
    if bits < 16 and pixels.dtype == np.uint16 and int(pixels.max()) >= 2**bits:
        bits = 16
    notes: tuple[str, ...] = ()
    exact = True
    channels = pixels if pixels.ndim == 3 else pixels[..., None]
    samples = channels[..., :colors].squeeze(-1) if colors == 1 else channels[..., :3]
    if page.photometric == _WHITE_IS_ZERO:
        samples = samples.dtype.type(2**bits - 1) - samples
    if page.samples > colors and page.extra_samples and page.samples in (2, 4):
        alpha = channels[..., colors]
        full = samples.dtype.type(np.iinfo(samples.dtype).max)
        if not bool((alpha == full).all()):
            deep = 257 if samples.dtype == np.uint8 else 1
            flat, _ = lay_on_white(samples.astype(np.uint16) * deep, alpha.astype(np.uint16) * deep)
            samples, exact, notes = (flat // deep).astype(samples.dtype), False, (TRANSPARENCY_NOTE,)
            bits = 8 if deep > 1 else 16
    decoded = DecodedSamples(np.ascontiguousarray(samples), bits, exact, notes)
    try:
        with Image.open(BytesIO(data), formats=("TIFF",)) as image:
            image.seek(page.number)
            profile = color_profile_of(image)
    except Exception:  # Pillow opens not every file that libtiff decodes
        profile = None
    return convert_colors(decoded, profile)


def write_tiff(samples: NDArray[Any], color_profile: bytes | None) -> bytes:
    """Write samples without loss; see ``PhotographFormat.write``."""
    if samples.dtype == np.uint16 and samples.ndim == 3:
        return write_deep(samples, ".tif", _SIGNATURES)
    return save_raster(samples, "TIFF", color_profile, compression="tiff_adobe_deflate")


TIFF = PhotographFormat(
    name="TIFF",
    media_type="image/tiff",
    extensions=(".tif", ".tiff"),
    matches=starts_with(*_SIGNATURES),
    read=read_tiff,
    read_metadata=read_tiff_metadata,
    write=write_tiff,
)
