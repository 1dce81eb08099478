# SPDX-License-Identifier: Apache-2.0
"""Overlays in the bits above the stored ones do not survive in any transfer syntax, and no value changes."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import imagecodecs
import jpeg_ls  # type: ignore[import-untyped]
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom import DataElement, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from medhub.science import pixel_decoders
from medhub.science.arrivals.cleaned_image import CleanedImage
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.deid.file_cleaning import clean_file
from medhub.science.deid.profile import default_profile
from medhub.science.imaging.codecs import unused_bits
from medhub.science.imaging.codecs.codestreams import JPEG2000_SYNTAXES
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.stored_pixels import clean_pixels, put_pixels
from medhub.science.imaging.rendering.frames import read_frame, read_stored
from tests.science.imaging.datasets import dataset_of, file_of
from tests.science.imaging.encoded_frames import LOSSLESS_SYNTAXES, compressed_file, encode_frame
from tests.science.imaging.pictures import CONTEXT, LIMITS

pixel_decoders.register()
ROWS, COLUMNS = 40, 96


def prepare(data: bytes) -> CleanedImage:
    return prepare_arrival(data, context=CONTEXT, limits=LIMITS)


def name_in_pixels() -> NDArray[np.bool_]:
    picture = Image.new("1", (COLUMNS, ROWS))
    ImageDraw.Draw(picture).text((4, 10), "KOWALSKI J", fill=1)
    return np.asarray(picture)


def values(stored: int, *, signed: bool, samples: int = 1, dtype: str = "2") -> NDArray[Any]:
    shape = (ROWS, COLUMNS) if samples == 1 else (ROWS, COLUMNS, samples)
    low = -(2 ** (stored - 1)) if signed else 0
    generator = np.random.default_rng(stored)
    return (generator.integers(0, 2**stored, shape) + low).astype(f"{'i' if signed else 'u'}{dtype}")


def drawn_over(pixels: NDArray[Any], bit: int) -> NDArray[Any]:
    name = name_in_pixels()
    flipped = pixels ^ pixels.dtype.type(np.array(1 << bit, np.uint64).astype(pixels.dtype))
    return np.where(name if pixels.ndim == 2 else name[:, :, None], flipped, pixels)


def with_overlay(data: bytes, bit: int) -> bytes:
    dataset = dcmread(BytesIO(data))
    for element, vr, value in (
        (0x0010, "US", ROWS),
        (0x0011, "US", COLUMNS),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0100, "US", dataset.BitsAllocated),
        (0x0102, "US", bit),
    ):
        dataset.add_new(0x60020000 | element, vr, value)
    return file_of(dataset, UID(dataset.file_meta.TransferSyntaxUID))


def stored_cells(dicom: bytes) -> NDArray[Any]:
    """The integers of a file with all their bits, by pydicom."""
    return pixel_array(BytesIO(dicom), raw=True, correct_unused_bits=False)


CASES = [(12, False, 15), (12, True, 15), (12, False, 12), (10, True, 13), (8, False, 9), (8, True, 15)]


@pytest.mark.parametrize(("stored", "signed", "bit"), CASES)
@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES, ids=lambda syntax: str(syntax))
def test_a_name_above_the_stored_bits_is_cleared(syntax: UID, stored: int, signed: bool, bit: int) -> None:
    pixels = values(stored, signed=signed)
    frames = np.stack([pixels, drawn_over(pixels, bit), pixels])
    data = with_overlay(compressed_file(frames, syntax, stored), bit)
    received_frames = list(generate_frames(dcmread(BytesIO(data)).PixelData, number_of_frames=3))

    prepared = prepare(data)

    cleaned = dcmread(BytesIO(prepared.dicom))
    assert prepared.transfer_syntax_uid == syntax
    assert "cleared" in prepared.notes[0]
    assert np.array_equal(stored_cells(prepared.dicom), np.stack([pixels] * 3))
    assert not cleaned.group_dataset(0x6002)
    assert [line.done for line in prepared.manifest if line.path == "(6002,0102)"] == ["removed"]
    cleaned_frames = list(generate_frames(cleaned.PixelData, number_of_frames=3))
    assert cleaned_frames[1] != received_frames[1]
    assert np.array_equal(stored_cells(data)[0], pixels)
    if syntax not in JPEG2000_SYNTAXES:
        assert (cleaned_frames[0], cleaned_frames[2]) == (received_frames[0], received_frames[2])
    assert np.array_equal(stored_cells(clean_file(data, default_profile(), bytes(16)).data), np.stack([pixels] * 3))
    # A file that was stored before shows the image only.
    for frame in range(3):
        assert np.array_equal(read_stored(data, frame)[0], pixels)
        assert np.array_equal(read_frame(data, frame), read_frame(prepared.dicom, 0))


@pytest.mark.parametrize("color_transform", [False, True])
@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES, ids=lambda syntax: str(syntax))
def test_colors_are_cleared(syntax: UID, color_transform: bool) -> None:
    pixels = values(12, signed=False, samples=3)
    hidden = drawn_over(pixels, 14)
    prepared = prepare(compressed_file(hidden[None], syntax, 12, color_transform=color_transform))
    assert np.array_equal(stored_cells(prepared.dicom), pixels)
    assert np.array_equal(read_stored(prepared.dicom)[0], pixels)


# The encoders of the tests write no small frames of the other syntaxes.
SMALL_FRAMES = [
    syntax
    for syntax in LOSSLESS_SYNTAXES
    if syntax not in (JPEG2000, JPEG2000Lossless, JPEGLSLossless, JPEGLSNearLossless)
]


@pytest.mark.parametrize("syntax", SMALL_FRAMES, ids=str)
def test_small_frames_are_cleared(syntax: UID) -> None:
    for shape in ((1, 1), (1, 9), (7, 2)):
        pixels = np.full(shape, 77, np.uint16)
        prepared = prepare(compressed_file((pixels | np.uint16(0x8000))[None], syntax, 12))
        assert np.array_equal(stored_cells(prepared.dicom), pixels)


def test_small_frames_of_jpeg_2000_are_cleared() -> None:
    for shape in ((1, 1), (1, 9), (7, 2)):
        pixels = np.full(shape, 77, np.uint16)
        stream = imagecodecs.jpeg2k_encode(pixels | np.uint16(0x8000), 0, codecformat="j2k", resolutions=1)
        dataset = dataset_of(pixels, BitsStored=12, HighBit=11)
        dataset["PixelData"] = DataElement("PixelData", "OB", encapsulate([bytes(stream)]))
        prepared = prepare(file_of(dataset, JPEG2000Lossless))
        assert np.array_equal(stored_cells(prepared.dicom), pixels)


@pytest.mark.parametrize("signed", [False, True])
def test_wide_cells_are_cleared(signed: bool) -> None:
    pixels = values(20, signed=signed, dtype="4")
    for bit in (20, 24, 31):
        prepared = prepare(compressed_file(drawn_over(pixels, bit)[None], RLELossless, 20))
        assert np.array_equal(stored_cells(prepared.dicom), pixels)
        assert prepared.notes


@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES, ids=lambda syntax: str(syntax))
def test_a_clean_frame_keeps_its_bytes(syntax: UID) -> None:
    pixels = values(12, signed=False)
    prepared = prepare(compressed_file(pixels[None], syntax, 12))
    assert prepared.notes == ()
    assert np.array_equal(stored_cells(prepared.dicom), pixels)
    if syntax not in JPEG2000_SYNTAXES:
        stream = encode_frame(pixels, syntax, 16)
        assert next(generate_frames(dcmread(BytesIO(prepared.dicom)).PixelData, number_of_frames=1))[:-1] in (
            stream,
            stream[:-1],
        )


@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES, ids=lambda syntax: str(syntax))
def test_nothing_is_decoded_where_every_bit_is_stored(syntax: UID, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_decoded", "_rle_plane"):
        monkeypatch.setattr(unused_bits, name, lambda *_: pytest.fail("a frame was decoded"))
    prepare(compressed_file(values(16, signed=False)[None], syntax, 16))
    prepare(compressed_file(values(8, signed=False, dtype="1")[None], syntax, 8))


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless])
def test_a_stream_of_the_stored_bits_is_not_decoded(syntax: UID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unused_bits, "_decoded", lambda *_: pytest.fail("a frame was decoded"))
    for signed in (False, True):
        pixels = values(12, signed=signed)
        prepared = prepare(compressed_file(pixels[None], syntax, 12, stream_bits=12))
        assert np.array_equal(read_stored(prepared.dicom)[0], pixels)


def lossy_files() -> dict[str, bytes]:
    hidden = drawn_over(values(12, signed=False), 15)
    near = bytes(jpeg_ls.encode_array(hidden, lossy_error=2))
    wavelet = bytes(imagecodecs.jpeg2k_encode(hidden, 60, reversible=False, codecformat="j2k"))
    extended = encode_frame(drawn_over(values(10, signed=False), 11), JPEGExtended12Bit, 12)
    files = {}
    for name, stream, syntax, stored in (
        ("JPEG-LS near lossless", near, JPEGLSNearLossless, 12),
        ("JPEG 2000 with loss", wavelet, JPEG2000, 12),
        ("JPEG Extended", extended, JPEGExtended12Bit, 10),
    ):
        dataset = dataset_of(hidden, BitsStored=stored, HighBit=stored - 1)
        dataset["PixelData"] = DataElement("PixelData", "OB", encapsulate([stream]))
        files[name] = file_of(dataset, syntax)
    return files


@pytest.mark.parametrize("name", lossy_files())
def test_lossy_frames_with_bits_above_the_stored_ones_are_refused(name: str) -> None:
    with pytest.raises(Unacceptable, match="compressed with loss, and its values have more bits"):
        prepare(lossy_files()[name])


def test_damaged_frames_are_refused() -> None:
    generator = np.random.default_rng(3)
    for syntax in LOSSLESS_SYNTAXES:
        data = compressed_file(drawn_over(values(12, signed=True), 15)[None], syntax, 12)
        start = data.find(b"\xfe\xff\x00\xe0", data.find(b"\xfe\xff\x00\xe0") + 4) + 8
        for _ in range(8):
            damaged = bytearray(data)
            for at in generator.integers(start, len(data) - 8, 6):
                damaged[at] = generator.integers(256)
            try:
                prepared = prepare(bytes(damaged))
            except Unacceptable:
                continue
            assert read_frame(prepared.dicom).shape == (ROWS, COLUMNS, 3)
            cells = stored_cells(prepared.dicom)
            assert cells.max() < 2**11
            assert cells.min() >= -(2**11)


def test_overlays_with_their_own_data_stay_where_the_profile_keeps_them() -> None:
    dataset = dataset_of(values(12, signed=False), BitsStored=12, HighBit=11)
    dataset.add_new(0x60000010, "US", ROWS)
    dataset.add_new(0x60020010, "US", ROWS)
    dataset.add_new(0x60003000, "OW", bytes(480))
    pixels = clean_pixels(dataset, ExplicitVRLittleEndian)
    assert [int(tag) for tag in put_pixels(dataset, pixels)] == [0x60020010]
    assert 0x60000010 in dataset
