# SPDX-License-Identifier: Apache-2.0
"""TIFF files of microscopes and scanners: planes, byte orders, white as zero, thumbnails, signs."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from medhub.science.arrivals.cleaned_image import CleanedImage
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.rendering.frames import read_frame
from tests.science.imaging.pictures import CONTEXT, LIMITS, cells

SIXTEEN = cells().astype(np.uint16) * 257


def prepare(data: bytes) -> CleanedImage:
    return prepare_arrival(data, context=CONTEXT, limits=LIMITS)


def tiff_file(pixels: NDArray[Any], *, order: str = "<", big: bool = False, **tags: int) -> bytes:
    """A TIFF or BigTIFF of one page by hand; three samples last in the array are planes apart with ``planar=2``."""
    rows, columns = pixels.shape[:2]
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    planar = tags.pop("planar", 1)
    planes = np.moveaxis(pixels, -1, 0) if planar == 2 else pixels[None]
    strips = [plane.astype(plane.dtype.newbyteorder(order)).tobytes() for plane in planes]
    offset_type, head = (16, 16) if big else (4, 8)
    code = "Q" if big else "I"
    entries: dict[int, tuple[int, tuple[int, ...]]] = {
        256: (3, (columns,)),
        257: (3, (rows,)),
        258: (3, (8 * pixels.dtype.itemsize,) * samples),
        259: (3, (1,)),
        262: (3, (2 if samples == 3 else 1,)),
        273: (offset_type, ()),
        277: (3, (samples,)),
        278: (3, (rows,)),
        279: (offset_type, tuple(map(len, strips))),
        284: (3, (planar,)),
    }
    for name, value in tags.items():
        entries[int(name.removeprefix("tag"))] = (3, (value,))
    starts = [head + sum(map(len, strips[:number])) for number in range(len(strips))]
    entries[273] = (offset_type, tuple(starts))
    extra_at = head + sum(map(len, strips))
    extra = b""
    directory = struct.pack(order + ("Q" if big else "H"), len(entries))
    field_bytes = 8 if big else 4
    for tag, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}{ {3: 'H', 4: 'I', 16: 'Q'}[kind] }", *values)
        if len(packed) > field_bytes:
            field = struct.pack(order + code, extra_at + len(extra))
            extra += packed
        else:
            field = packed.ljust(field_bytes, b"\x00")
        directory += struct.pack(order + "HH" + code, tag, kind, len(values)) + field
    directory += struct.pack(order + code, 0)
    mark = b"II" if order == "<" else b"MM"
    first = extra_at + len(extra)
    header = mark + (struct.pack(order + "HHHQ", 43, 8, 0, first) if big else struct.pack(order + "HI", 42, first))
    return header + b"".join(strips) + extra + directory


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [1, 2])
def test_colors_of_sixteen_bits_are_read(planar: int, order: str, big: bool) -> None:
    prepared = prepare(tiff_file(SIXTEEN, order=order, big=big, planar=planar))
    assert (prepared.bits, prepared.samples) == (16, 3)
    assert np.array_equal(read_frame(prepared.dicom), cells())


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [1, 2])
def test_colors_of_eight_bits_are_read(planar: int, order: str, big: bool) -> None:
    assert np.array_equal(read_frame(prepare(tiff_file(cells(), order=order, big=big, planar=planar)).dicom), cells())


@pytest.mark.parametrize("order", ["<", ">"])
def test_white_as_zero_is_turned_round(order: str) -> None:
    gray = SIXTEEN[..., 0]
    for pixels in (gray, cells()[..., 0]):
        inverted = np.iinfo(pixels.dtype).max - pixels
        shown = read_frame(prepare(tiff_file(inverted.astype(pixels.dtype), order=order, tag262=0)).dicom)
        assert np.array_equal(shown[..., 0], cells()[..., 0])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("dtype", "kind", "words"), [("i2", 2, "signed"), ("f4", 3, "floating"), ("u4", 1, "32 bits")])
def test_other_samples_are_refused_with_the_true_reason(dtype: str, kind: int, words: str, order: str) -> None:
    with pytest.raises(Unacceptable, match=words):
        prepare(tiff_file(np.ones((20, 30), dtype), order=order, tag339=kind))


def pages(*pictures: NDArray[np.uint8], **options: Any) -> bytes:
    out = BytesIO()
    first, *others = [Image.fromarray(picture) for picture in pictures]
    first.save(out, "TIFF", save_all=True, append_images=others, **options)
    return out.getvalue()


def reduced(picture: NDArray[np.uint8], factor: int = 4) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(picture).reduce(factor))


def test_a_thumbnail_before_or_after_the_page_does_not_count() -> None:
    for data in (pages(reduced(cells()), cells()), pages(cells(), reduced(cells()))):
        assert np.array_equal(read_frame(prepare(data).dicom), cells())


def test_pages_of_other_pictures_are_refused() -> None:
    for data in (pages(cells(), cells(seed=2)), pages(reduced(cells(seed=2)), cells())):
        with pytest.raises(Unacceptable, match="several pages"):
            prepare(data)


def test_damaged_directories_are_refused() -> None:
    data = tiff_file(SIXTEEN)
    generator = np.random.default_rng(1)
    for _ in range(100):
        damaged = bytearray(data)
        for at in (*generator.integers(len(data) - 170, len(data), 3), *generator.integers(0, 8, 1)):
            damaged[at] = generator.integers(256)
        try:
            prepared = prepare(bytes(damaged))
        except Unacceptable:
            continue
        assert prepared.rows > 0
