# SPDX-License-Identifier: Apache-2.0
"""Rendered pixels against pydicom's own functions, on files made here and on pydicom's samples."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from medhub.errors import Invalid
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.rendering import frames as frames_module
from medhub.science.imaging.rendering.frames import jpeg_frame, read_frame
from tests.science.imaging.datasets import dataset_of, file_of, ramp
from tests.science.imaging.pictures import CONTEXT, LIMITS, cells, encode

SAMPLES = Path(pydicom.data.__file__).parent / "test_files"


def stored(dataset: Dataset) -> bytes:
    return prepare_arrival(file_of(dataset), context=CONTEXT, limits=LIMITS).dicom


def shown(dataset: Dataset, **options: Any) -> NDArray[np.uint8]:
    picture = read_frame(stored(dataset), **options)
    assert (picture[..., 0] == picture[..., 1]).all()
    return picture[..., 0]


def by_pydicom(dataset: Dataset, index: int = 0) -> NDArray[np.float64]:
    """Grey levels 0 to 255 by pydicom's functions, each applied to the whole frame."""
    pixels = pixel_array(dataset, index=index)
    measured = apply_modality_lut(pixels, dataset)
    values = apply_voi_lut(measured, dataset)
    signed = dataset.PixelRepresentation == 1
    low, high = (-(2 ** (dataset.BitsStored - 1)), 2 ** (dataset.BitsStored - 1) - 1) if signed else (0, 0)
    if not signed:
        high = 2**dataset.BitsStored - 1
    if dataset.get("ModalityLUTSequence"):
        low, high = 0, 2 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    elif "RescaleSlope" in dataset:
        low, high = (end * dataset.RescaleSlope + dataset.RescaleIntercept for end in (low, high))
    if dataset.get("VOILUTSequence"):
        low, high = 0, 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif "WindowCenter" not in dataset:
        low, high = measured.min(), measured.max()
    shares = np.clip((values.astype(np.float64) - low) / max(high - low, 1), 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shares = 1 - shares
    return np.asarray(shares * 255)


def assert_same(dataset: Dataset) -> None:
    data = BytesIO(file_of(dataset))
    assert np.abs(shown(dataset) - by_pydicom(dcmread(data))).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", [(400, 300), (40.5, 1), (0, 2000), (-100, 10), (1e6, 5)])
@pytest.mark.parametrize("rescale", [None, (1, -1024), (0.25, 3.5), (-2, 100)])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_windows_agree(
    photometric: str, window: tuple[float, float], rescale: tuple[float, float] | None, dtype: type
) -> None:
    pixels: NDArray[Any] = ramp(24, 32, np.int16).astype(dtype)
    if dtype == np.int16:
        pixels = (pixels - 300).astype(np.int16)
    dataset = dataset_of(pixels, WindowCenter=window[0], WindowWidth=window[1], PhotometricInterpretation=photometric)
    if rescale:
        dataset.RescaleSlope, dataset.RescaleIntercept = rescale
    if rescale and rescale[0] < 0:
        # pydicom puts the range of a falling transform upside down; this is the text of PS3.3, C.11.2.1.2.1.
        measured = pixels.astype(np.float64) * rescale[0] + rescale[1]
        center, width = window[0] - 0.5, window[1] - 1
        share = (measured - center) / max(width, 1e-9) + 0.5
        share = np.where(measured <= center - width / 2, 0, np.where(measured > center + width / 2, 1, share))
        expected = 255 * (1 - share if photometric == "MONOCHROME1" else share)
        assert np.abs(shown(dataset) - expected).max() <= 0.5 + 1e-6
    else:
        assert_same(dataset)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window_functions_agree(function: str) -> None:
    assert_same(dataset_of(ramp(24, 32, np.uint16), WindowCenter=300, WindowWidth=200, VOILUTFunction=function))


def table(first: int, values: list[int], bits: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item.LUTData = struct.pack(f"<{len(values)}H", *values)
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "OW"
    return item


def test_tables_of_interest_and_modality_agree() -> None:
    pixels = ramp(24, 32, np.uint16)
    assert_same(dataset_of(pixels, VOILUTSequence=[table(100, list(range(0, 4000, 10)), 12)]))
    modality = table(50, [n * 3 for n in range(600)], 16)
    modality.ModalityLUTType = "US"
    assert_same(dataset_of(pixels, ModalityLUTSequence=[modality], WindowCenter=700, WindowWidth=500))


def test_a_window_that_is_asked_for_takes_the_place_of_the_one_of_the_file() -> None:
    pixels = ramp(24, 32, np.uint16)
    dataset = dataset_of(pixels, WindowCenter=10, WindowWidth=10, RescaleSlope=1, RescaleIntercept=-100)
    other = dataset_of(pixels, WindowCenter=200, WindowWidth=300, RescaleSlope=1, RescaleIntercept=-100)
    assert np.array_equal(shown(dataset, window=(200, 300)), shown(other))


def test_without_a_window_the_values_of_the_frame_span_the_grey_levels() -> None:
    pixels = (ramp(24, 32, np.int16) + 1000).astype(np.int16)
    assert_same(dataset_of(pixels))
    padded = pixels.copy()
    padded[0] = -2000
    picture = shown(dataset_of(padded, PixelPaddingValue=-2000))
    assert picture[1, 0] == 0
    assert picture[-1, -1] == 255


def test_eight_bits_without_a_window_are_shown_as_they_are() -> None:
    pixels = (ramp() // 4 + 30).astype(np.uint8)
    assert np.array_equal(shown(dataset_of(pixels)), pixels)
    assert np.array_equal(shown(dataset_of(pixels, PhotometricInterpretation="MONOCHROME1")), 255 - pixels)


def test_the_window_of_a_frame_comes_before_the_one_of_the_file() -> None:
    pixels = np.stack([ramp(24, 32, np.uint16)] * 2)
    groups = []
    for center in (100, 600):
        window, group = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = center, 100
        group.FrameVOILUTSequence = [window]
        groups.append(group)
    dataset = dataset_of(pixels, frames=2, PerFrameFunctionalGroupsSequence=groups)
    dicom = stored(dataset)
    for number, center in enumerate((100, 600)):
        single = dataset_of(pixels[0], WindowCenter=center, WindowWidth=100)
        assert np.array_equal(read_frame(dicom, number)[..., 0], shown(single))


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_agree(bits: int) -> None:
    values = np.random.default_rng(2).integers(0, 2**bits, (3, 256))
    dataset = dataset_of(ramp(), PhotometricInterpretation="PALETTE COLOR")
    for color, entries in zip(("Red", "Green", "Blue"), values, strict=True):
        dataset[f"{color}PaletteColorLookupTableDescriptor"] = pydicom.DataElement(
            f"{color}PaletteColorLookupTableDescriptor", "US", [256, 0, bits]
        )
        setattr(dataset, f"{color}PaletteColorLookupTableData", entries.astype(f"<u{bits // 8}").tobytes())
    expected = apply_color_lut(ramp(), dataset) >> (bits - 8)
    assert np.array_equal(read_frame(stored(dataset)), expected)


def test_colors_of_every_arrangement_are_read() -> None:
    pixels = cells(24, 32)
    assert np.array_equal(read_frame(stored(dataset_of(pixels))), pixels)
    planes = dataset_of(pixels, PlanarConfiguration=1)
    planes["PixelData"].value = pixels.transpose(2, 0, 1).tobytes()
    assert np.array_equal(read_frame(stored(planes)), pixels)
    deep = dataset_of(pixels.astype(np.uint16) << 4, BitsStored=12, HighBit=11)
    assert np.array_equal(read_frame(stored(deep)), pixels)
    luminance = dataset_of(pixels, PhotometricInterpretation="YBR_FULL")
    expected = pixel_array(dcmread(BytesIO(file_of(luminance))))
    assert np.array_equal(read_frame(stored(luminance)), expected)


def test_only_the_frame_that_is_asked_for_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [cells(seed=number) for number in range(5)]
    streams = [encode(picture, "JPEG", quality=95, subsampling=0) for picture in pictures]
    dataset = dataset_of(np.stack(pictures), frames=5, PhotometricInterpretation="YBR_FULL")
    dataset["PixelData"].value = encapsulate(streams)
    dicom = prepare_arrival(file_of(dataset, JPEGBaseline8Bit), context=CONTEXT, limits=LIMITS).dicom
    opened: list[bytes] = []
    decode = frames_module._decode_jpeg

    def watched(data: bytes, header: Dataset) -> NDArray[np.uint8]:
        opened.append(data)
        return decode(data, header)

    monkeypatch.setattr(frames_module, "_decode_jpeg", watched)
    picture = read_frame(dicom, 3)
    assert len(opened) == 1
    assert np.abs(picture.astype(int) - pictures[3]).mean() < 3


def test_a_frame_that_is_not_there_is_said_so() -> None:
    dicom = stored(dataset_of(ramp()))
    for number in (-1, 1, 99):
        with pytest.raises(Invalid, match="1 frames"):
            read_frame(dicom, number)


@pytest.mark.parametrize("data", [b"", b"DICM", bytes(500), file_of(dataset_of(ramp()))[:300]])
def test_what_is_no_stored_file_is_refused(data: bytes) -> None:
    with pytest.raises(Unacceptable):
        read_frame(data)


def test_a_decoder_that_panics_is_answered() -> None:
    # Runs of more bytes than the picture has overrun the buffer of the decoder, which is written in Rust.
    runs = b"\x81\x07" * 20
    frame = struct.pack("<16I", 2, 64, 64 + len(runs), *[0] * 13) + runs + runs
    dataset = dataset_of(ramp(dtype=np.uint16))
    dataset["PixelData"].value = encapsulate([frame])
    with pytest.raises(Unacceptable) as caught:
        prepare_arrival(file_of(dataset, RLELossless), context=CONTEXT, limits=LIMITS)
    assert caught.value.reason == "damaged"


def test_a_received_jpeg_with_a_window_is_no_photograph_to_be_handed_out() -> None:
    grey = dataset_of(ramp(32, 48), WindowCenter=50, WindowWidth=20, SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.4")
    grey["PixelData"].value = encapsulate([encode(ramp(32, 48), "JPEG")])
    dicom = prepare_arrival(file_of(grey, JPEGBaseline8Bit), context=CONTEXT, limits=LIMITS).dicom
    assert jpeg_frame(dicom) is None


GREY = [
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_jp2klossless.dcm",
    "JPEG2000.dcm",
    "JPGExtended.dcm",
    "image_dfl.dcm",
    "rtdose_1frame.dcm",
]
COLOR = ["SC_rgb_small_odd.dcm", "SC_rgb_rle_2frame.dcm", "examples_rgb_color.dcm", "SC_rgb_rle_16bit.dcm"]
LOSSY_COLOR = ["SC_rgb_jpeg_dcmtk.dcm", "SC_jpeg_no_color_transform.dcm", "examples_ybr_color.dcm"]


@pytest.mark.parametrize("name", GREY)
def test_samples_in_grey_agree_with_pydicom(name: str) -> None:
    path = SAMPLES / name
    prepared = prepare_arrival(path.read_bytes(), context=CONTEXT, limits=LIMITS)
    expected = by_pydicom(dcmread(path))
    assert np.abs(read_frame(prepared.dicom)[..., 0] - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("name", COLOR + LOSSY_COLOR)
def test_samples_in_color_agree_with_pydicom(name: str) -> None:
    path = SAMPLES / name
    dataset = dcmread(path)
    prepared = prepare_arrival(path.read_bytes(), context=CONTEXT, limits=LIMITS)
    for frame in {0, prepared.frames - 1}:
        expected = pixel_array(dataset, index=frame) >> (dataset.BitsStored - 8)
        difference = np.abs(read_frame(prepared.dicom, frame).astype(int) - expected)
        # Decoders of lossy JPEG may round by a step or two; a wrong color space is far away.
        assert difference.max() <= (3 if name in LOSSY_COLOR else 0)
