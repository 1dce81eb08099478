# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from medhub.science.imaging.dicom.pixel_offsets import Spans, locate_frame, locate_pixels
from tests.factories.servers import small_ct, with_meta, written


def frame(data: bytes, number: int) -> bytes | None:
    spans = spans_of(data, number)
    return None if spans is None else b"".join(data[at : at + length] for at, length in spans)


def spans_of(data: bytes, number: int) -> Spans | None:
    def read(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    location = locate_pixels(read, len(data))
    return locate_frame(read, location, number) if location is not None else None


def compressed(frames: list[bytes], **more: object) -> bytes:
    dataset = with_meta(small_ct(), JPEGBaseline8Bit)
    dataset.NumberOfFrames = len(frames)
    dataset.PixelData = more.pop("value", None) or encapsulate(frames, **more)  # type: ignore[arg-type]
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    return written(dataset)


FRAMES = [bytes([n]) * (2 * n + 2) for n in range(1, 6)]


def test_native_frames_lie_one_after_the_other() -> None:
    dataset = small_ct()
    values = np.arange(3 * 16 * 24, dtype="<u2")
    dataset.NumberOfFrames, dataset.PixelData = 3, values.tobytes()
    data = written(dataset)
    assert [frame(data, n) for n in range(3)] == [values[n * 384 : (n + 1) * 384].tobytes() for n in range(3)]
    assert frame(data, 3) is None
    assert frame(data, -1) is None


@pytest.mark.parametrize("offsets", [True, False], ids=["with-offsets", "without"])
def test_compressed_frames_are_found_with_and_without_a_table_of_offsets(offsets: bool) -> None:
    data = compressed(FRAMES, has_bot=offsets)
    assert [frame(data, n) for n in range(5)] == FRAMES


def test_a_frame_of_several_fragments_is_found_in_pieces() -> None:
    data = compressed([b"ab" * 8, b"cd" * 8], fragments_per_frame=4)
    assert [frame(data, n) for n in range(2)] == [b"ab" * 8, b"cd" * 8]
    spans = spans_of(data, 1)
    assert spans is not None
    assert len(spans) == 4


def test_fragments_that_no_table_assigns_to_frames_are_left_to_the_decoder() -> None:
    assert frame(compressed([b"ab" * 8, b"cd" * 8], fragments_per_frame=4, has_bot=False), 0) is None
    assert frame(compressed([b"ab" * 8], fragments_per_frame=4, has_bot=False), 0) == b"ab" * 8


def test_the_extended_table_of_offsets_is_believed() -> None:
    value, offsets, lengths = encapsulate_extended(FRAMES)
    dataset = with_meta(small_ct(), JPEGBaseline8Bit)
    dataset.NumberOfFrames, dataset.PixelData = 5, value
    dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = offsets, lengths
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    assert [frame(written(dataset), n) for n in range(5)] == FRAMES


def test_sequences_before_the_pixels_are_passed_over_whatever_their_length() -> None:
    dataset = small_ct()
    inner, outer = Dataset(), Dataset()
    inner.CodeValue = "a"
    outer.ConceptNameCodeSequence = [inner]
    dataset.RequestAttributesSequence = [outer, outer]
    for undefined in (False, True):
        dataset["RequestAttributesSequence"].is_undefined_length = undefined
        for item in dataset.RequestAttributesSequence:
            item.is_undefined_length_sequence_item = undefined
        assert frame(written(dataset), 0) == dataset.PixelData


def test_frames_of_single_bits_that_begin_within_a_byte_are_left_to_the_decoder() -> None:
    dataset = small_ct()
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 3, 3, 2
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit, dataset.PixelData = 0, b"\xff\xff\x03\x00"
    assert frame(written(dataset), 1) is None
    dataset.Rows, dataset.Columns, dataset.PixelData = 4, 4, b"\x01\x02\x03\x04"
    assert frame(written(dataset), 1) == b"\x03\x04"


def test_what_pydicom_finds_is_found() -> None:
    dataset = small_ct()
    dataset.NumberOfFrames = 3
    dataset.PixelData = np.random.default_rng(1).integers(0, 4096, 3 * 384).astype("<u2").tobytes()
    dataset.compress(RLELossless, generate_instance_uid=False)
    data = BytesIO()
    dcmwrite(data, dataset, enforce_file_format=True)
    decoded = dcmread(BytesIO(data.getvalue()))
    assert [frame(data.getvalue(), number) for number in range(3)] == list(
        generate_frames(decoded.PixelData, number_of_frames=3)
    )


GOOD = compressed(FRAMES)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=6), st.integers(0, len(GOOD)))
def test_a_damaged_file_leads_nowhere_outside_of_it(changes: list[tuple[int, int]], end: int) -> None:
    damaged = bytearray(GOOD)
    for at, value in changes:
        damaged[at] = value
    data = bytes(damaged[:end])
    for number in (0, 4):
        for at, length in spans_of(data, number) or []:
            assert 0 <= at <= at + length <= len(data)


def test_a_file_without_pixels_has_no_place_for_them() -> None:
    dataset = small_ct()
    del dataset.PixelData
    data = written(dataset)
    assert spans_of(data, 0) is None
    assert spans_of(b"no DICOM", 0) is None
    assert spans_of(b"", 0) is None
