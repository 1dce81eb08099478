# SPDX-License-Identifier: Apache-2.0
"""Finding the stream that was received inside the file that is kept."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from medhub.science.arrivals.cleaning import CleaningContext, prepare_arrival
from medhub.science.imaging.decoding_limits import DecodingLimits
from medhub.science.imaging.dicom.pixel_offsets import HEAD_BYTES, TAIL_BYTES, locate_jpeg_stream
from medhub.science.imaging.rendering.renditions import original


def stored(form: str, width: int = 64, seed: int = 0, quality: int = 90) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (48, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, quality=quality)
    context = CleaningContext(
        uid_key=bytes(32),
        patient_code="P-1",
        sex="F",
        birth_year=1980,
        photograph_modality="GM",
        study_instance_uid="2.25.1",
        received_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    limits = DecodingLimits(max_bytes=10_000_000, max_pixels=10_000_000)
    return prepare_arrival(buffer.getvalue(), context=context, limits=limits).dicom


def span(dicom: bytes) -> tuple[int, int] | None:
    return locate_jpeg_stream(dicom[:HEAD_BYTES], dicom[-TAIL_BYTES:], len(dicom))


def test_it_is_what_reading_the_whole_file_gives_whether_its_length_is_even_or_odd() -> None:
    parities = set()
    for seed in range(12):
        dicom = stored("JPEG", 64 + seed, seed)
        jpeg_span = span(dicom)
        assert jpeg_span is not None
        start, length = jpeg_span
        assert (dicom[start : start + length], "image/jpeg") == original(dicom)
        parities.add(length % 2)
    assert parities == {0, 1}


def test_a_photograph_that_was_decoded_has_none() -> None:
    assert span(stored("PNG")) is None


def test_lengths_that_do_not_lead_to_the_end_of_the_file_are_not_believed() -> None:
    dicom = stored("JPEG")
    assert span(dicom + b"\x00") is None
    assert span(dicom[:-2]) is None
    assert span(dicom[:400]) is None
    assert span(b"") is None


@pytest.mark.parametrize("value", [0, 1, 0xFFFFFFF0])
def test_a_table_of_offsets_that_claims_another_length_is_not_believed(value: int) -> None:
    dicom = bytearray(stored("JPEG"))
    at = bytes(dicom).index(b"\xe0\x7f\x10\x00OB") + 16
    dicom[at : at + 4] = value.to_bytes(4, "little")
    assert span(bytes(dicom)) is None


def test_a_frame_without_the_header_of_a_jpeg_is_not_returned() -> None:
    dicom = stored("JPEG")
    jpeg_span = span(dicom)
    assert jpeg_span is not None
    assert span(dicom[: jpeg_span[0]] + b"\x00" + dicom[jpeg_span[0] + 1 :]) is None
