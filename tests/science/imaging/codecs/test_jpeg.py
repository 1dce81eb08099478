# SPDX-License-Identifier: Apache-2.0
"""JPEG streams as bytes."""

from __future__ import annotations

import struct

import jpeg_ls  # type: ignore[import-untyped]
import numpy as np
import pytest

from medhub.science.imaging.codecs.jpeg import JpegFault, clean_jpeg, exif_orientation
from tests.science.imaging.pictures import cells, decoded, encode, exif


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def test_scans_and_tables_stay_byte_for_byte() -> None:
    data = encode(cells(), "JPEG", quality=90)
    stream = clean_jpeg(data)
    scan = data[data.index(b"\xff\xda") :]
    assert stream.data.endswith(scan)
    assert np.array_equal(decoded(stream.data), decoded(data))
    assert (stream.rows, stream.columns, stream.components, stream.bits) == (120, 160, 3, 8)


def test_everything_that_is_no_pixel_goes() -> None:
    plain = encode(cells(), "JPEG")
    canary = b"CANARY-Doe-Jane"
    dirty = (
        plain[:2]
        + segment(0xE0, b"JFXX\x00\x10" + canary)
        + plain[2:20]
        + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\x00" + canary)
        + segment(0xE2, b"ICC_PROFILE\x00\x01\x01" + canary)
        + segment(0xED, b"Photoshop 3.0\x00" + canary)
        + segment(0xFE, canary)
        + segment(0xEF, canary)
        + canary  # bytes between segments, which decoders skip
        + plain[20:]
        + b"PK\x03\x04"
        + canary
    )
    assert np.array_equal(decoded(dirty), decoded(plain))
    stream = clean_jpeg(dirty)
    assert b"CANARY" not in stream.data
    assert stream.data == clean_jpeg(plain).data
    assert stream.removed_bytes == len(dirty) - len(stream.data)


def test_the_thumbnail_in_a_jfif_segment_goes() -> None:
    plain = encode(cells(), "JPEG")
    assert plain[2:4] == b"\xff\xe0"
    jfif = b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x02\x02" + b"CANARYCANARY"
    stream = clean_jpeg(plain[:2] + segment(0xE0, jfif) + plain[20:])
    assert b"CANARY" not in stream.data
    assert stream.jfif


@pytest.mark.parametrize("progressive", [False, True])
def test_every_cut_is_noticed(progressive: bool) -> None:
    data = encode(cells(24, 32), "JPEG", progressive=progressive)
    for length in range(2, len(data) - 1):
        with pytest.raises(JpegFault) as caught:
            clean_jpeg(data[:length])
        assert caught.value.truncated


def test_restart_markers_belong_to_the_scan() -> None:
    data = encode(cells(), "JPEG", restart_marker_rows=1)
    assert b"\xff\xd0" in data
    assert np.array_equal(decoded(clean_jpeg(data).data), decoded(data))


def test_a_jpeg_ls_stream_ends_where_its_own_rule_says() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (64, 64), dtype=np.uint8)
    data = bytes(jpeg_ls.encode_array(pixels))
    comment = segment(0xFE, b"CANARY")
    stream = clean_jpeg(data[:2] + comment + data[2:] + b"rest")
    assert stream.data == data
    assert (stream.rows, stream.columns) == (64, 64)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x89PNG", "does not begin"),
        (b"\xff\xd8\xff\xd9", "no frame header"),
        (b"\xff\xd8\xff\xda\x00\x02\xff\xd9", "before its frame header"),
        (b"\xff\xd8\xff\xfe\x00\x01\xff\xd9", "shorter than its own length"),
        (b"\xff\xd8\xff\xc0\x00\x04\x08\x00\xff\xd9", "too short"),
    ],
)
def test_what_is_no_stream_is_said_so(data: bytes, words: str) -> None:
    with pytest.raises(JpegFault, match=words) as caught:
        clean_jpeg(data)
    assert not caught.value.truncated


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_orientation_is_read_in_both_byte_orders(orientation: int, order: str) -> None:
    start = {"<": b"II*\x00", ">": b"MM\x00*"}[order]
    block = start + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    assert exif_orientation(block) == orientation


def test_a_hostile_orientation_is_none() -> None:
    good = exif(6)[6:]
    assert exif_orientation(good) == 6
    for length in range(len(good)):
        assert exif_orientation(good[:length]) in (None, 6)
    assert exif_orientation(b"II*\x00\xff\xff\xff\xff") is None
    assert exif_orientation(b"II*\x00" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 77, 0, 0)) is None
