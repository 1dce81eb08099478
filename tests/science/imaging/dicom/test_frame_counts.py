# SPDX-License-Identifier: Apache-2.0
"""No frame is lost without a word: too many frames, wrong offset tables, and fragments of frames."""

from __future__ import annotations

import struct
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, dcmread
from pydicom.encaps import encapsulate, encapsulate_extended, fragment_frame, itemize_fragment
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from medhub.science import pixel_decoders
from medhub.science.arrivals.cleaned_image import CleanedImage
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.deid.file_cleaning import clean_file
from medhub.science.deid.profile import default_profile, find_profile
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.rendering.frames import read_stored
from tests.science.imaging.datasets import dataset_of, file_of
from tests.science.imaging.encoded_frames import encode_frame
from tests.science.imaging.pictures import CONTEXT, LIMITS

pixel_decoders.register()
SYNTAXES = [RLELossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless]


def prepare(data: bytes, limits: DecodingLimits = LIMITS) -> CleanedImage:
    return prepare_arrival(data, context=CONTEXT, limits=limits)


def frames_of(count: int) -> NDArray[np.uint8]:
    return np.stack([np.full((32, 40), 40 * number, np.uint8) for number in range(1, count + 1)])


def dataset_with(value: bytes, frames: int | None, syntax: UID) -> Dataset:
    dataset = dataset_of(frames_of(1)[0])
    if frames is not None:
        dataset.NumberOfFrames = frames
    dataset["PixelData"] = DataElement("PixelData", "OB", value)
    return dataset


def streams_of(count: int, syntax: UID) -> list[bytes]:
    return [encode_frame(frame, syntax, 8) for frame in frames_of(count)]


def fragmented(streams: list[bytes], fragments: int) -> bytes:
    """Frames of several fragments each, without an offset table."""
    items = [itemize_fragment(part) for stream in streams for part in fragment_frame(stream, fragments)]
    return struct.pack("<HHI", 0xFFFE, 0xE000, 0) + b"".join(items)


@pytest.mark.parametrize("has_bot", [True, False])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=str)
def test_frames_that_are_not_declared_are_kept(syntax: UID, has_bot: bool) -> None:
    prepared = prepare(file_of(dataset_with(encapsulate(streams_of(5, syntax), has_bot=has_bot), None, syntax), syntax))
    assert prepared.frames == dcmread(BytesIO(prepared.dicom)).NumberOfFrames == 5
    assert "5 frames" in prepared.notes[0]
    for number, frame in enumerate(frames_of(5)):
        assert np.abs(read_stored(prepared.dicom, number)[0].astype(int) - frame).max() <= 1


@pytest.mark.parametrize("declared", [1, 3])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=str)
def test_more_frames_than_a_declared_number_are_refused(syntax: UID, declared: int) -> None:
    data = file_of(dataset_with(encapsulate(streams_of(5, syntax)), declared, syntax), syntax)
    with pytest.raises(Unacceptable, match=f"has 5 frames and declares {declared} "):
        prepare(data)
    result = clean_file(data, default_profile(), bytes(16))
    assert (result.outcome, "5 frames" in result.reason) == ("quarantined", True)


@pytest.mark.parametrize("frames", [None, 3])
@pytest.mark.parametrize("syntax", SYNTAXES[1:], ids=str)
def test_fragments_of_frames_are_joined(syntax: UID, frames: int | None) -> None:
    count = frames or 1
    prepared = prepare(file_of(dataset_with(fragmented(streams_of(count, syntax), 3), frames, syntax), syntax))
    assert (prepared.frames, prepared.notes) == (count, ())
    for number, frame in enumerate(frames_of(count)):
        assert np.abs(read_stored(prepared.dicom, number)[0].astype(int) - frame).max() <= 1


def test_a_second_image_in_the_same_fragment_is_refused() -> None:
    value = encapsulate([b"".join(streams_of(2, JPEGBaseline8Bit))])
    with pytest.raises(Unacceptable, match="another image follows it"):
        prepare(file_of(dataset_with(value, None, JPEGBaseline8Bit), JPEGBaseline8Bit))


def test_frames_beyond_the_limit_are_refused() -> None:
    data = file_of(dataset_with(encapsulate(streams_of(5, RLELossless)), None, RLELossless), RLELossless)
    with pytest.raises(Unacceptable, match="at most 4 are taken"):
        prepare(data, DecodingLimits(max_frames=4))


@pytest.mark.parametrize("declared", [None, 1, 3])
def test_more_native_frames_than_declared_are_refused(declared: int | None) -> None:
    dataset = dataset_of(frames_of(5), frames=5)
    del dataset.NumberOfFrames
    if declared:
        dataset.NumberOfFrames = declared
    with pytest.raises(Unacceptable, match=f"has 5 frames and declares {declared or 1} "):
        prepare(file_of(dataset))


def test_bytes_after_native_pixels_are_noted() -> None:
    dataset = dataset_of(frames_of(1)[0])
    clean = file_of(dataset)
    dataset["PixelData"].value += b"KOWALSKI^J"
    prepared = prepare(file_of(dataset))
    assert "10 bytes after the last frame" in prepared.notes[0]
    assert prepare(clean).notes == ()
    dataset["PixelData"].value = dcmread(BytesIO(clean)).PixelData + bytes(100)
    assert prepare(file_of(dataset)).notes == ()


def with_extended_table(wrong: bool = False, **more: Any) -> bytes:
    streams = streams_of(4, JPEGBaseline8Bit)
    for number, stream in enumerate(streams):
        streams[number] = stream[:2] + b"\xff\xfe" + struct.pack(">H", 20 + number) + b"x" * (18 + number) + stream[2:]
    value, offsets, lengths = encapsulate_extended(streams)
    dataset = dataset_with(value, 4, JPEGBaseline8Bit)
    dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = (bytes(32) if wrong else offsets), lengths
    for keyword, text in more.items():
        setattr(dataset, keyword, text)
    return file_of(dataset, JPEGBaseline8Bit)


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("profile", ["research-max-utility", "basic", "clinical-photo"])
def test_an_extended_offset_table_is_not_kept(profile: str, wrong: bool) -> None:
    rules = find_profile(profile)
    context = replace(CONTEXT, profile=rules)
    prepared = prepare_arrival(with_extended_table(wrong), context=context, limits=LIMITS)
    dataset = dcmread(BytesIO(prepared.dicom))
    assert "ExtendedOffsetTable" not in dataset
    assert "ExtendedOffsetTableLengths" not in dataset
    assert np.abs(pixel_array(BytesIO(prepared.dicom)).astype(int) - frames_of(4)).max() <= 1
    assert {line.done for line in prepared.manifest if line.name.startswith("ExtendedOffset")} <= {"removed"}
    for output in (clean_file(with_extended_table(wrong), rules, bytes(16)),):
        cleaned = output.data or output.doubtful
        assert "ExtendedOffsetTable" not in dcmread(BytesIO(cleaned))
        assert len(pixel_array(BytesIO(cleaned))) == 4


def test_a_decompressed_file_has_no_offset_table() -> None:
    bits = np.packbits(np.random.default_rng(1).integers(0, 2, (2, 16, 16)), axis=None, bitorder="little")
    dataset = dataset_of(frames_of(1)[0], BitsAllocated=1, BitsStored=1, HighBit=0, Rows=16, Columns=16)
    dataset.NumberOfFrames = 2
    frames = [struct.pack("<16I", 1, 64, *[0] * 14) + b"\x1f" + part.tobytes() + b"\x80" for part in np.split(bits, 2)]
    value, offsets, lengths = encapsulate_extended(frames)
    dataset["PixelData"] = DataElement("PixelData", "OB", value)
    dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = offsets, lengths
    prepared = prepare(file_of(dataset, RLELossless))
    stored = dcmread(BytesIO(prepared.dicom))
    assert prepared.transfer_syntax_uid == ExplicitVRLittleEndian
    assert "ExtendedOffsetTable" not in stored
    assert stored.PixelData == bits.tobytes()


@pytest.mark.parametrize("frames", [1, 2])
def test_colors_that_are_not_subsampled_though_declared_so_are_read(frames: int) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (frames, 16, 16, 3)).astype(np.uint8)
    dataset = dataset_of(pixels, frames=frames, PhotometricInterpretation="YBR_FULL_422")
    prepared = prepare(file_of(dataset))
    stored = dcmread(BytesIO(prepared.dicom))
    assert stored.PhotometricInterpretation == "YBR_FULL"
    assert "not subsampled" in prepared.notes[0]
    assert np.array_equal(np.frombuffer(stored.PixelData, np.uint8), pixels.ravel())
