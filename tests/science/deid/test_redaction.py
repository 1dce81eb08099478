# SPDX-License-Identifier: Apache-2.0
"""Boxes are made black in every kind of pixels that is read, and no other pixel changes."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import DataElement, Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

from medhub.science import pixel_decoders
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.deid import pixel_cleaning
from medhub.science.deid.frame_layouts import FrameResult
from medhub.science.deid.pixel_cleaning import blacken
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.rendering.frames import read_frame, read_stored
from tests.science.imaging.datasets import dataset_of, file_of
from tests.science.imaging.encoded_frames import COMPRESSED, compressed_file, rle_frame
from tests.science.imaging.pictures import CONTEXT, LIMITS

pixel_decoders.register()
ROWS, COLUMNS = 40, 48
BOX = (5, 4, 20, 15)
INSIDE = np.zeros((ROWS, COLUMNS), bool)
INSIDE[4:15, 5:20] = True


def noise(shape: tuple[int, ...], bits: int, *, signed: bool = False) -> NDArray[Any]:
    dtype = f"{'i' if signed else 'u'}{1 if bits <= 8 else 2 if bits <= 16 else 4}"
    low = -(2 ** (bits - 1)) if signed else 0
    return (np.random.default_rng(bits).integers(0, 2**bits, shape) + low).astype(dtype)


def check(data: bytes) -> Dataset:
    """Blacken a box in the last of the frames, and return the new file."""
    stored = prepare_arrival(data, context=CONTEXT, limits=LIMITS).dicom
    frames = int(dcmread(BytesIO(stored)).get("NumberOfFrames", 1) or 1)
    dicom = blacken(stored, {frames - 1: [BOX]})
    for number in range(frames):
        before, after = read_stored(stored, number)[0], read_stored(dicom, number)[0]
        changed = INSIDE if number == frames - 1 else np.zeros_like(INSIDE)
        assert np.array_equal(before[~changed], after[~changed])
        assert len(np.unique(after[changed].reshape(-1, *after.shape[2:]), axis=0)) == (1 if changed.any() else 0)
    picture = read_frame(dicom, frames - 1)
    assert set(np.unique(picture[INSIDE])) == {0}
    return dcmread(BytesIO(dicom))


def combinations(syntaxes: list[UID], *, signs: tuple[bool, ...]) -> list[tuple[UID, int, bool]]:
    """The depths and signs that each syntax can have; JPEG with loss has eight or twelve bits without a sign."""
    deepest = {JPEGBaseline8Bit: 8, JPEGExtended12Bit: 12}
    return [
        (syntax, bits, signed)
        for syntax in syntaxes
        for bits in (8, 12, 16)
        for signed in signs
        if bits <= deepest.get(syntax, 16) and not (signed and syntax in deepest)
    ]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("syntax", "bits", "signed"),
    combinations([ExplicitVRLittleEndian, ExplicitVRBigEndian, *COMPRESSED], signs=(False, True)),
    ids=str,
)
def test_gray(syntax: UID, bits: int, signed: bool, photometric: str) -> None:
    frames = noise((2, ROWS, COLUMNS), bits, signed=signed)
    more: dict[str, Any] = {"PhotometricInterpretation": photometric, "BitsStored": bits, "HighBit": bits - 1}
    if syntax in COMPRESSED:
        data = compressed_file(frames, syntax, bits, **more)
    else:
        data = file_of(dataset_of(frames, frames=2, **more))
        if syntax == ExplicitVRBigEndian:
            dataset = dataset_of(frames.astype(frames.dtype.newbyteorder(">")), frames=2, **more)
            data = file_of(dataset, syntax)
    check(data)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize(
    ("syntax", "bits"),
    [pair[:2] for pair in combinations([ExplicitVRLittleEndian, *COMPRESSED], signs=(False,))],
    ids=str,
)
def test_colors(syntax: UID, photometric: str, bits: int) -> None:
    frames = noise((2, ROWS, COLUMNS, 3), bits)
    more: dict[str, Any] = {"PhotometricInterpretation": photometric, "BitsStored": bits, "HighBit": bits - 1}
    if syntax in COMPRESSED:
        check(compressed_file(frames, syntax, bits, **more))
        return
    check(file_of(dataset_of(frames, frames=2, **more)))
    planes = np.ascontiguousarray(np.moveaxis(frames, -1, 1))
    dataset = dataset_of(frames, frames=2, **more, PlanarConfiguration=1)
    dataset["PixelData"].value = planes.tobytes()
    assert check(file_of(dataset)).PlanarConfiguration == 1


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_PARTIAL_422"])
def test_subsampled_colors_are_stored_as_rgb(photometric: str) -> None:
    values = np.random.default_rng(4).integers(16, 236, (2, ROWS, COLUMNS // 2, 4)).astype(np.uint8)
    dataset = dataset_of(np.zeros((2, ROWS, COLUMNS, 3), np.uint8), frames=2, PhotometricInterpretation=photometric)
    dataset["PixelData"].value = values.tobytes()
    cleaned = check(file_of(dataset))
    assert (cleaned.PhotometricInterpretation, cleaned.PlanarConfiguration) == ("RGB", 0)
    assert len(cleaned.PixelData) == 2 * ROWS * COLUMNS * 3


def test_untouched_frames_of_color_rle_keep_their_bytes() -> None:
    frames = noise((2, ROWS, COLUMNS, 3), 8)
    data = compressed_file(frames, RLELossless, 8, PhotometricInterpretation="YBR_FULL")
    cleaned = check(data)
    assert cleaned.PhotometricInterpretation == "YBR_FULL"
    assert rle_frame(frames[0]) in cleaned.PixelData
    assert rle_frame(frames[1]) not in cleaned.PixelData


def test_palette_colors() -> None:
    frame = noise((ROWS, COLUMNS), 8)
    palette: dict[str, Any] = {}
    for color in ("Red", "Green", "Blue"):
        palette[f"{color}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        palette[f"{color}PaletteColorLookupTableData"] = bytes(reversed(range(256)))
    data = file_of(dataset_of(frame, PhotometricInterpretation="PALETTE COLOR", **palette))
    check(data)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_single_bits(photometric: str) -> None:
    bits = np.random.default_rng(5).integers(0, 2, (3, ROWS, COLUMNS)).astype(np.uint8)
    dataset = dataset_of(
        bits, frames=3, BitsAllocated=1, BitsStored=1, HighBit=0, PhotometricInterpretation=photometric
    )
    dataset["PixelData"].value = np.packbits(bits, bitorder="little").tobytes()
    check(file_of(dataset))


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_floating_point_values(keyword: str, dtype: str) -> None:
    values = np.random.default_rng(6).normal(size=(ROWS, COLUMNS)).astype(dtype)
    dataset = dataset_of(np.zeros((ROWS, COLUMNS), np.uint8), BitsAllocated=8 * values.dtype.itemsize)
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        del dataset[name]
    dataset.add(DataElement(keyword, "OF" if dtype == "<f4" else "OD", values.tobytes()))
    check(file_of(dataset))


def test_wide_values() -> None:
    for signed in (False, True):
        frames = noise((2, ROWS, COLUMNS), 32, signed=signed)
        check(file_of(dataset_of(frames, frames=2)))
        check(compressed_file(frames, RLELossless, 32))


def test_a_color_jpeg_of_subsampled_components() -> None:
    out = BytesIO()
    Image.fromarray(noise((ROWS, COLUMNS, 3), 8)).save(out, "JPEG", quality=90, subsampling="4:2:2")
    dataset = dataset_of(np.zeros((ROWS, COLUMNS, 3), np.uint8), PhotometricInterpretation="YBR_FULL_422")
    dataset["PixelData"] = DataElement("PixelData", "OB", encapsulate([out.getvalue()]))
    assert check(file_of(dataset, JPEGBaseline8Bit)).PhotometricInterpretation == "RGB"


def test_a_file_that_cannot_be_blackened_waits_with_its_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise Unacceptable("It cannot be blackened.", reason="unsupported")

    monkeypatch.setattr(pixel_cleaning, "redact", refuse)
    frame = FrameResult(INSIDE.copy(), [BOX], [(30, 30, 35, 35)])
    check = pixel_cleaning._redact_frames(b"", [frame], "")
    assert (check.boxes, check.allowed) == (((1, *BOX),), ((1, 30, 30, 35, 35),))
    assert check.doubt == "It cannot be blackened."
