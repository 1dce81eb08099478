# SPDX-License-Identifier: Apache-2.0
"""Whole slide images lose label, macro and texts; the pyramid stays byte for byte."""

from __future__ import annotations

import json
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from medhub.entrypoints import cli_deid
from medhub.science.deid.file_cleaning import clean_file
from medhub.science.deid.profile import Pixels, Profile
from medhub.science.deid.slide_cleaning import is_slide
from tests.conftest import ROOT
from tests.factories.burned import write_line

KEY = b"a key of sixteen bytes or more"
PROFILE = Profile(name="plain", title="Plain", version=1)
SECRET = b"Zebrowska"
CMU = ROOT.parent / "shared/data/slides/cmu/CMU-1-Small-Region.svs"
DESCRIPTION = (
    b"Aperio Image Library v11.2.1 \r\n640x480 [0,0 640x480] (256x256) RAW/RGB|AppMag = 20|MPP = 0.4990|User = "
    + SECRET
    + b"|Filename = "
    + SECRET
    + b"\0"
)
Entry = tuple[int, int, bytes]


def _tissue(width: int, height: int, text: str = "") -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width]
    grey = 200 + 20 * np.sin(x / 37) * np.cos(y / 51)
    if text:
        write_line(grey, text, (width // 8, height // 8), height // 10, 20)
    return np.stack([grey, grey * 0.85, grey * 0.95], -1).astype(np.uint8)


def _page(pixels: NDArray[np.uint8], *more: Entry, tiled: bool = True) -> tuple[list[Entry], list[bytes]]:
    """Entries of a page (tag, kind, value) and its tiles or its strip; 0 stands for their offsets."""
    rows, columns = pixels.shape[:2]
    entries: list[Entry] = [
        (256, 4, struct.pack("<I", columns)),
        (257, 4, struct.pack("<I", rows)),
        (258, 3, struct.pack("<3H", 8, 8, 8)),
        (259, 3, struct.pack("<H", 1)),
        (262, 3, struct.pack("<H", 2)),
        (277, 3, struct.pack("<H", 3)),
    ]
    if tiled:
        wide, high = -(-columns // 256), -(-rows // 256)
        padded = np.zeros((high * 256, wide * 256, 3), np.uint8)
        padded[:rows, :columns] = pixels
        parts = [
            padded[y * 256 : y * 256 + 256, x * 256 : x * 256 + 256].tobytes() for y in range(high) for x in range(wide)
        ]
        size = struct.pack("<H", 256)
        entries += [(322, 3, size), (323, 3, size), (324, 4, bytes(4 * len(parts)))]
    else:
        parts = [pixels.tobytes()]
        entries += [(273, 4, bytes(4)), (278, 4, struct.pack("<I", rows))]
    lengths = b"".join(struct.pack("<I", len(part)) for part in parts)
    entries += [(325 if tiled else 279, 4, lengths), *more]
    return sorted(entries), parts


def _tiff(*pages: tuple[list[Entry], list[bytes]]) -> bytes:
    """A TIFF file of these pages, with unreferenced words in a gap and at the end."""
    out = bytearray(b"II*\0" + bytes(4) + SECRET + b"\0")
    pointer = 4
    for entries, parts in pages:
        offsets = []
        for part in parts:
            offsets.append(len(out))
            out += part
        body = bytearray(struct.pack("<H", len(entries)))
        for tag, kind, value in entries:
            if tag in (273, 324):
                value = struct.pack(f"<{len(offsets)}I", *offsets)
            count = len(value) // {2: 1, 3: 2, 4: 4, 7: 1, 11: 4}[kind]
            if len(value) > 4:
                at, value = len(out), value + bytes(len(value) % 2)
                out += value
                value = struct.pack("<I", at)
            body += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
        out += bytes(len(out) % 2)
        struct.pack_into("<I", out, pointer, len(out))
        pointer = len(out) + len(body)
        out += body + bytes(4)
    return bytes(out + SECRET)


def _svs(text: str = "") -> bytes:
    date = (306, 2, b"2009:12:29 09:59:15\0")
    serial = (65442, 2, SECRET + b"\0")
    label, macro = b"Aperio Image Library v11\nlabel 90x120\0", b"Aperio Image Library v11\nmacro 300x100\0"
    return _tiff(
        _page(_tissue(640, 480, text), (270, 2, DESCRIPTION), date, serial),
        _page(_tissue(320, 240, text), (270, 2, DESCRIPTION), tiled=False),
        _page(_tissue(160, 120, text)),
        _page(_tissue(90, 120, "A. Zebrowska"), (270, 2, label), tiled=False),
        _page(_tissue(300, 100, "A. Zebrowska"), (254, 4, struct.pack("<I", 9)), (270, 2, macro), tiled=False),
    )


def _pages(data: bytes) -> list[NDArray[np.uint8]]:
    with Image.open(BytesIO(data)) as image:
        pages = []
        for number in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(number)
            pages.append(np.asarray(image.convert("RGB")))
        return pages


def test_label_macro_and_texts_of_a_slide_go_and_its_pyramid_stays() -> None:
    data = _svs()
    result = clean_file(data, PROFILE, KEY)
    assert (result.outcome, result.reason, result.suffix) == ("cleaned", "", ".svs")
    assert SECRET not in result.data
    assert b"2009" not in result.data
    assert b"AppMag = 20|MPP = 0.4990" in result.data
    before, after = _pages(data), _pages(result.data)
    assert [page.shape for page in after] == [(480, 640, 3), (240, 320, 3), (120, 160, 3)]
    for first, second in zip(before, after, strict=False):
        assert np.array_equal(first, second)
    assert before[3].tobytes() not in result.data
    manifest_line = json.dumps(result.as_json("in", "out"))
    for word in ("label", "macro", "page 1 DateTime", "page 1 ImageDescription", "SerialNumber"):
        assert word in manifest_line
    assert SECRET.decode() not in manifest_line
    assert clean_file(result.data, PROFILE, KEY).data == result.data


def test_writing_in_the_scan_itself_waits_for_a_person_without_label_and_macro() -> None:
    result = clean_file(_svs("Kowalska"), PROFILE, KEY)
    assert (result.outcome, result.data) == ("quarantined", b"")
    assert "scan seems to contain text" in result.reason
    _, x0, y0, x1, y1 = result.boxes[0]
    assert x0 < 90 < 200 < x1
    assert y0 < 70 < 100 < y1
    assert len(_pages(result.doubtful)) == 3
    without = Profile(name="kept", title="Kept", version=1, pixels=Pixels(clean=False))
    assert "a person must review" in clean_file(_svs(), without, KEY).reason


def test_slides_that_cannot_be_told_apart_wait_with_a_reason() -> None:
    level = _page(_tissue(640, 480))
    cases = {
        "one size": _tiff(level, level),
        "not its largest": _tiff(_page(_tissue(320, 240)), level),
        "no small level": _tiff(_page(_tissue(3000, 2400)), _page(_tissue(2800, 2240))),
    }
    for word, data in cases.items():
        assert is_slide(data)
        result = clean_file(data, PROFILE, KEY)
        assert result.outcome == "quarantined"
        assert word in result.reason
        assert result.data == b""


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.97])
def test_a_slide_that_was_cut_off_or_damaged_waits_with_a_reason(share: float) -> None:
    data = _svs()
    result = clean_file(data[: int(share * len(data))], PROFILE, KEY)
    assert result.outcome == "quarantined"
    chance = np.random.default_rng(int(100 * share))
    damaged = bytearray(data)
    for at in chance.integers(0, len(data), 4000):
        damaged[at] = chance.integers(256)
    assert SECRET not in clean_file(bytes(damaged), PROFILE, KEY).data


def test_a_slide_too_large_for_memory_is_cleaned_from_file_to_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "IN").mkdir()
    data = _svs()
    (tmp_path / "IN/one.svs").write_bytes(data)
    (tmp_path / "IN/pen.svs").write_bytes(_svs("Kowalska"))
    (tmp_path / "IN/other.bin").write_bytes(bytes(20_000))
    monkeypatch.setattr(cli_deid, "_MAX_BYTES_IN_MEMORY", 10_000)
    (tmp_path / "key").write_bytes(KEY)
    arguments = [tmp_path / "IN", tmp_path / "OUT", "--key-file", tmp_path / "key", "--manifest", tmp_path / "done"]
    ended = CliRunner().invoke(cli_deid.deid_app, list(map(str, arguments)))
    assert ended.exit_code == 1
    lines = {line["input"]: line for line in map(json.loads, (tmp_path / "done").read_text().splitlines())}
    assert "scan seems to contain text" in lines["pen.svs"]["reason"]
    assert "is not a slide" in lines["other.bin"]["reason"]
    (path,) = [path for path in (tmp_path / "OUT").rglob("*") if path.is_file()]
    in_memory = clean_file(data, PROFILE, KEY)
    assert path.name == lines["one.svs"]["output"] == f"{in_memory.output_path[-1]}.svs"
    assert path.read_bytes() == in_memory.data
    assert (tmp_path / "IN/one.svs").read_bytes() == data


@pytest.mark.skipif(not CMU.exists(), reason="the slide is not there")
def test_a_real_slide_keeps_its_pixels_and_loses_its_label() -> None:
    data = CMU.read_bytes()
    result = clean_file(data, PROFILE, KEY)
    assert (result.outcome, result.reason, result.suffix) == ("cleaned", "", ".svs")
    before, after = _pages(data), _pages(result.data)
    assert [page.shape for page in after] == [(2967, 2220, 3), (768, 574, 3)]
    assert np.array_equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])
    for word in (b"ScanScope", b"12/29/09", b"User", b"Filename", b"label", b"macro", b"09:59"):
        assert word in data
        assert word not in result.data
    assert b"AppMag = 20|MPP = 0.4990" in result.data
