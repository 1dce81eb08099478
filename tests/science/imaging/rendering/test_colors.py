# SPDX-License-Identifier: Apache-2.0
"""Colors are what the stream and the dataset mean together, in pictures, frames and metadata alike."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import DataElement, dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import (
    JPEG2000,
    UID,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from medhub.science.arrivals.cleaned_image import CleanedImage
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.rendering.dicomweb_payloads import describe, explicit, values
from medhub.science.imaging.rendering.frames import read_frame
from tests.science.imaging.datasets import dataset_of, file_of
from tests.science.imaging.encoded_frames import encode_frame
from tests.science.imaging.pictures import CONTEXT, LIMITS


def prepare(data: bytes) -> CleanedImage:
    return prepare_arrival(data, context=CONTEXT, limits=LIMITS)


def quarters(dtype: str = "u1", unit: int = 1) -> NDArray[Any]:
    picture = np.zeros((48, 64, 3), dtype)
    picture[:24, :32], picture[:24, 32:] = (200 * unit, 30 * unit, 30 * unit), (30 * unit, 200 * unit, 30 * unit)
    picture[24:, :32], picture[24:, 32:] = (30 * unit, 30 * unit, 200 * unit), (180 * unit, 180 * unit, 60 * unit)
    return picture


def packed(stream: bytes, syntax: UID, photometric: str, pixels: NDArray[Any] | None = None, **more: Any) -> bytes:
    dataset = dataset_of(quarters() if pixels is None else pixels, PhotometricInterpretation=photometric, **more)
    dataset["PixelData"] = DataElement("PixelData", "OB", encapsulate([stream]))
    return file_of(dataset, syntax)


def to_ybr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return convert_color_space(pixels, "RGB", "YBR_FULL")


def assert_shows(data: bytes, wanted: NDArray[Any], *, within: int = 1) -> CleanedImage:
    prepared = prepare(data)
    for dicom in (prepared.dicom, data):
        assert np.abs(read_frame(dicom).astype(int) - wanted).max() <= within
    return prepared


@pytest.mark.parametrize("declared", ["RGB", "YBR_RCT", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEG2000, HTJ2KLossless])
def test_a_transform_of_jpeg_2000_is_undone_once(syntax: UID, declared: str) -> None:
    stream = encode_frame(quarters(), syntax, 8, color_transform=True)
    prepared = assert_shows(packed(stream, syntax, declared), quarters(), within=0)
    meaning = dcmread(BytesIO(prepared.dicom)).PhotometricInterpretation
    assert meaning == ("YBR_RCT" if declared.startswith("YBR") else "RGB")
    assert bool(prepared.notes) == declared.startswith("YBR_FULL")


def test_a_lossy_transform_of_jpeg_2000_is_named() -> None:
    stream = imagecodecs.jpeg2k_encode(quarters(), 60, codecformat="j2k", reversible=False, mct=True)
    prepared = assert_shows(packed(bytes(stream), JPEG2000, "YBR_FULL"), quarters(), within=3)
    assert dcmread(BytesIO(prepared.dicom)).PhotometricInterpretation == "YBR_ICT"


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, HTJ2KLossless, JPEGLSLossless, JPEGLosslessSV1, RLELossless])
def test_color_differences_without_a_transform_are_converted(syntax: UID) -> None:
    data = packed(encode_frame(to_ybr(quarters()), syntax, 8), syntax, "YBR_FULL")
    assert assert_shows(data, quarters()).notes == ()


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_color_differences_of_more_than_eight_bits_are_converted(bits: int) -> None:
    scale = 2 ** (bits - 8)
    deep = (to_ybr(quarters()).astype(np.uint16)) * scale
    dataset = dataset_of(deep, PhotometricInterpretation="YBR_FULL", BitsStored=bits, HighBit=bits - 1)
    assert_shows(file_of(dataset), quarters(), within=2)


def test_color_differences_of_television_are_converted() -> None:
    matrix = np.array([[0.2568, 0.5041, 0.0979], [-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]])
    ybr = np.rint(quarters() @ matrix.T + (16, 128, 128)).astype(np.uint8)
    pairs = np.stack([ybr[:, ::2, 0], ybr[:, 1::2, 0], ybr[:, ::2, 1], ybr[:, ::2, 2]], axis=-1)
    dataset = dataset_of(quarters(), PhotometricInterpretation="YBR_PARTIAL_422")
    dataset["PixelData"].value = pairs.tobytes()
    assert_shows(file_of(dataset), quarters(), within=2)


@pytest.mark.parametrize("transform", [1, 2, 3])
def test_the_color_transform_of_jpeg_ls_is_kept(transform: int) -> None:
    red, green, blue = np.moveaxis(quarters().astype(int), -1, 0)
    # The transforms of Hewlett-Packard's LOCO-I coder, as CharLS undoes them.
    first = {
        1: (red - green + 128, green, blue - green + 128),
        2: (red - green + 128, green, blue - ((red + green) >> 1) + 128),
    }.get(transform)
    if first is None:
        two, three = blue - green + 128, red - green + 128
        two, three = two % 256, three % 256
        first = (green + ((two + three) >> 2) - 64, two, three)
    mixed = np.stack(first, axis=-1).astype(np.uint8)
    stream = encode_frame(mixed, JPEGLSLossless, 8)
    marked = stream[:2] + b"\xff\xe8\x00\x07mrfx" + bytes([transform]) + stream[2:]
    prepared = assert_shows(packed(marked, JPEGLSLossless, "RGB"), quarters(), within=0)
    assert b"mrfx" in prepared.dicom
    other = stream[:2] + b"\xff\xe8\x00\x10mrfx KOWALSKI^" + stream[2:]
    assert b"KOWALSKI" not in prepare(packed(other, JPEGLSLossless, "RGB")).dicom


@pytest.mark.parametrize("photometric", ["HSV", "CMYK", "MONOCHROME2", "YBR_PARTIAL_420"])
def test_three_samples_of_another_meaning_are_refused(photometric: str) -> None:
    with pytest.raises(Unacceptable, match="do not fit or are not read"):
        prepare(file_of(dataset_of(quarters(), PhotometricInterpretation=photometric)))
    with pytest.raises(Unacceptable, match="do not fit or are not read"):
        prepare(file_of(dataset_of(quarters()[:, :, 0], PhotometricInterpretation="RGB")))


def jpeg(**options: Any) -> bytes:
    out = BytesIO()
    Image.fromarray(quarters()).save(out, "JPEG", quality=95, **options)
    return out.getvalue()


def color_files() -> dict[str, bytes]:
    ybr = to_ybr(quarters())
    deep = encode_frame(quarters("u2", 16), JPEG2000Lossless, 12, color_transform=True)
    transformed = encode_frame(quarters(), JPEG2000Lossless, 8, color_transform=True)
    return {
        "JPEG 4:2:2": packed(jpeg(subsampling="4:2:2"), JPEGBaseline8Bit, "YBR_FULL_422"),
        "JPEG 4:4:4": packed(jpeg(subsampling="4:4:4"), JPEGBaseline8Bit, "YBR_FULL"),
        "JPEG RGB": packed(jpeg(keep_rgb=True), JPEGBaseline8Bit, "RGB"),
        "JPEG 2000": packed(transformed, JPEG2000Lossless, "YBR_RCT"),
        "JPEG 2000 of 12 bits": packed(
            deep, JPEG2000Lossless, "YBR_RCT", quarters("u2", 16), BitsStored=12, HighBit=11
        ),
        "JPEG 2000 without a transform": packed(encode_frame(ybr, JPEG2000Lossless, 8), JPEG2000Lossless, "YBR_FULL"),
        "JPEG-LS": packed(encode_frame(ybr, JPEGLSLossless, 8), JPEGLSLossless, "YBR_FULL"),
        "JPEG lossless": packed(encode_frame(ybr, JPEGLosslessSV1, 8), JPEGLosslessSV1, "YBR_FULL_422"),
        "RLE": packed(encode_frame(ybr, RLELossless, 8), RLELossless, "YBR_FULL", PlanarConfiguration=1),
    }


@pytest.mark.parametrize("name", color_files())
def test_frames_files_and_metadata_agree(name: str) -> None:
    stored = prepare(color_files()[name]).dicom
    described = json.loads(describe([stored], ["OB"])[0])
    dataset = dcmread(BytesIO(explicit(stored)))
    raw = values(stored, 0, "raw")
    assert raw == dataset.PixelData
    assert described["00280004"]["Value"] == [dataset.PhotometricInterpretation]
    assert described["00280006"]["Value"] == [dataset.PlanarConfiguration] == [0]
    dtype = "<u2" if dataset.BitsAllocated == 16 else "u1"
    pixels = (np.frombuffer(raw, dtype) >> (dataset.BitsStored - 8)).astype(np.uint8).reshape(48, 64, 3)
    if dataset.PhotometricInterpretation != "RGB":
        pixels = convert_color_space(pixels, dataset.PhotometricInterpretation, "RGB")
    assert np.abs(pixels.astype(int) - read_frame(stored)).max() <= 1
    picture = np.asarray(Image.open(BytesIO(values(stored, 0, "png")))) if dtype == "u1" else read_frame(stored)
    assert np.abs(picture.astype(int) - read_frame(stored)).max() <= 1


def test_gray_frames_and_files_agree() -> None:
    gray = np.random.default_rng(1).integers(0, 256, (48, 64)).astype(np.uint8)
    out = BytesIO()
    Image.fromarray(gray).save(out, "JPEG", quality=80)
    stored = prepare(packed(out.getvalue(), JPEGBaseline8Bit, "MONOCHROME2", gray)).dicom
    assert values(stored, 0, "raw") == dcmread(BytesIO(explicit(stored))).PixelData
    described = json.loads(describe([stored], ["OB"])[0])
    assert described["00280004"]["Value"] == ["MONOCHROME2"]
