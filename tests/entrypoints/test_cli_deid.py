# SPDX-License-Identifier: Apache-2.0
"""The commands of ``medhub deid``, run as processes."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from pydicom import Dataset, dcmread

from tests.conftest import ROOT
from tests.factories.burned import write_line
from tests.factories.seeded import CT, encode_file


def _run(*arguments: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "medhub.entrypoints.cli", "deid", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
    )


def _ct(number: int, **changes: object) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT, f"1.2.3.4.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientID, dataset.PatientName, dataset.StudyDate = "H-4711", "Rahman^Aisha", "20240110"
    dataset.SeriesDescription = "Chest RAHMAN lung"
    dataset.Rows = dataset.Columns = 4
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = (np.arange(16, dtype="<u2") + number).tobytes()
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return encode_file(dataset)


@pytest.fixture
def received(tmp_path: Path) -> Path:
    folder = tmp_path / "IN" / "Rahman Aisha"
    folder.mkdir(parents=True)
    for number in (1, 2):
        (folder / f"{number}.dcm").write_bytes(_ct(number))
    return tmp_path / "IN"


def test_files_are_cleaned_and_the_manifest_says_how_without_their_values(received: Path, tmp_path: Path) -> None:
    out, manifest, key = tmp_path / "OUT", tmp_path / "done.jsonl", tmp_path / "key"
    ended = _run(received, out, "--profile", "research-dates-shifted", "--key-file", key, "--manifest", manifest)
    assert ended.returncode == 0, ended.stderr
    assert "2 cleaned, 0 quarantined" in ended.stderr
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert {line["outcome"] for line in lines} == {"cleaned"}
    for line in lines:
        assert set(line) == {"input", "output", "outcome", "reason", "boxes", "actions"}
        data = (out / line["output"]).read_bytes()
        assert not [word for word in (b"Rahman", b"RAHMAN", b"Aisha", b"4711", b"1.2.3", b"20240110") if word in data]
        dataset = dcmread(BytesIO(data))
        assert dataset.SeriesDescription == "Chest lung"
        assert line["output"] == (
            f"{dataset.PatientID}/{dataset.StudyInstanceUID}/{dataset.SeriesInstanceUID}/{dataset.SOPInstanceUID}.dcm"
        )
        number = int(Path(line["input"]).stem)
        assert dataset.PixelData == (np.arange(16, dtype="<u2") + number).tobytes()
        assert not [action for action in line["actions"] if "4711" in json.dumps(action)]
    assert key.stat().st_mode & 0o077 == 0


def test_the_same_key_gives_the_same_codes_and_another_gives_others(received: Path, tmp_path: Path) -> None:
    names = []
    for run, key in (("a", "one"), ("b", "one"), ("c", "two")):
        assert _run(received, tmp_path / run, "--key-file", tmp_path / key, "--quiet", "--jobs", "2").returncode == 0
        names.append(sorted(path.relative_to(tmp_path / run) for path in (tmp_path / run).rglob("*.dcm")))
    assert names[0] == names[1]
    assert not set(names[0]) & set(names[2])
    again = [(tmp_path / run / names[0][0]).read_bytes() for run in ("a", "b")]
    assert again[0] == again[1]


def test_what_may_hold_writing_or_cannot_be_read_is_quarantined_with_a_reason(received: Path, tmp_path: Path) -> None:
    (received / "screen.dcm").write_bytes(_ct(3, Modality="US"))
    (received / "burned.dcm").write_bytes(_ct(4, BurnedInAnnotation="YES"))
    (received / "letter.txt").write_text("Dear Dr. Brown")
    (received / "short.dcm").write_bytes(_ct(5)[:400])
    (received / "twin.dcm").write_bytes(_ct(1, InstanceNumber=7))
    out, manifest = tmp_path / "OUT", tmp_path / "done.jsonl"
    ended = _run(received, out, "--manifest", manifest, "--no-pixels")
    assert ended.returncode == 1
    assert "2 cleaned, 5 quarantined" in ended.stderr
    assert "the key of this run is not saved" in ended.stderr
    lines = {json.loads(line)["input"]: json.loads(line) for line in manifest.read_text().splitlines()}
    reasons = {name: line["reason"] for name, line in lines.items() if line["outcome"] == "quarantined"}
    assert "modality US" in reasons["screen.dcm"]
    assert "burned" in reasons["burned.dcm"]
    assert "not an image" in reasons["letter.txt"]
    assert reasons["short.dcm"]
    assert "same SOP Instance UID" in reasons["twin.dcm"]
    assert all(lines[name]["output"] is None for name in reasons)
    assert len(list(out.rglob("*.dcm"))) == 2


def test_writing_in_pixels_is_made_black_and_the_manifest_says_where(tmp_path: Path) -> None:
    values = np.zeros((300, 400))
    write_line(values, "Rahman, Aisha", (10, 10), 24, 3000)
    (tmp_path / "IN").mkdir()
    attributes: dict[str, object] = {
        "Modality": "US",
        "Rows": 300,
        "Columns": 400,
        "PixelData": values.astype("<u2").tobytes(),
    }
    (tmp_path / "IN/one.dcm").write_bytes(_ct(1, **attributes))
    ended = _run(tmp_path / "IN", tmp_path / "OUT", "--manifest", tmp_path / "done.jsonl")
    assert ended.returncode == 0, ended.stderr
    line = json.loads((tmp_path / "done.jsonl").read_text())
    ((frame, x0, y0, x1, y1),) = line["boxes"]
    assert frame == 1
    values[y0:y1, x0:x1] = 0
    assert not values.astype("<u2").any()
    assert not any(dcmread(tmp_path / "OUT" / line["output"]).PixelData)


def test_a_photograph_is_cleaned_beside_dicom_files(received: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Rahman"
    Image.new("RGB", (64, 48), "pink").save(received / "Rahman.jpg", exif=exif)
    ended = _run(received, tmp_path / "OUT", "--manifest", tmp_path / "done.jsonl")
    assert ended.returncode == 0, ended.stderr
    assert "3 cleaned, 0 quarantined" in ended.stderr
    lines = [json.loads(line) for line in (tmp_path / "done.jsonl").read_text().splitlines()]
    (line,) = [line for line in lines if line["input"] == "Rahman.jpg"]
    expected = {"path": "EXIF Artist", "name": "Artist", "vr": "", "done": "removed", "rule": "photograph"}
    assert expected in line["actions"]
    (path,) = (tmp_path / "OUT").rglob("*.jpg")
    assert path.relative_to(tmp_path / "OUT").as_posix() == line["output"]
    assert b"Rahman" not in path.read_bytes()
    assert "3 files" in _run("preview", received).stdout


def test_a_preview_writes_nothing_and_lists_the_texts_that_would_remain(received: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    ended = _run("preview", received, "--profile", "research-dates-shifted", "--json")
    assert ended.returncode == 0, ended.stderr
    preview = json.loads(ended.stdout)
    assert preview["outcomes"] == {"cleaned": 2}
    assert preview["remaining_text"] == [{"attribute": "SeriesDescription", "value": "Chest lung", "files": 2}]
    done = {action["attribute"]: action["done"] for action in preview["actions"]}
    assert (done["PatientName"], done["StudyDate"], done["SeriesDescription"]) == ("replaced", "shifted", "cleaned")
    assert "Rahman" not in ended.stdout
    assert sorted(tmp_path.rglob("*")) == before
    shown = _run("preview", received)
    assert "Actions" in shown.stdout


def test_the_last_look_finds_what_was_received_and_nothing_in_what_was_cleaned(received: Path, tmp_path: Path) -> None:
    out = tmp_path / "OUT"
    (tmp_path / "known.txt").write_text("Rahman^Aisha\nH-4711\n")
    assert _run(received, out, "--profile", "research-dates-shifted").returncode == 0
    clear = _run("scan", out, "--known", tmp_path / "known.txt", "--json")
    assert (clear.returncode, json.loads(clear.stdout)) == (0, {"files": 2, "findings": []})
    full = _run("scan", received, "--no-pixels", "--known", tmp_path / "known.txt", "--json")
    assert full.returncode == 1
    kinds = {(finding["place"], finding["kind"]) for finding in json.loads(full.stdout)["findings"]}
    assert {("file name", "known identity"), ("(0010,0010)", "name of a person"), ("(0008,0020)", "date")} <= kinds
    assert "Rahman" in _run("scan", received, "--no-pixels").stdout
    assert _run("scan", received, "--known", tmp_path / "nowhere").returncode == 2


def test_a_run_is_held_against_an_answer_key(received: Path, tmp_path: Path) -> None:
    out, manifest, key = tmp_path / "OUT", tmp_path / "done.jsonl", tmp_path / "key.json"
    checks = [
        {"category": "text_removed", "path": "(0010,0010)", "value": "Rahman Aisha"},
        {"category": "text_retained", "path": "(0008,103E)", "value": "Chest lung"},
        {"category": "pixels_retained"},
    ]
    objects = [{"input": f"Rahman Aisha/{number}.dcm", "patient": "1", "checks": checks} for number in (1, 2)]
    key.write_text(json.dumps({"format": "medhub-deid-key/1", "objects": objects}))
    assert _run(received, out, "--manifest", manifest, "--profile", "research-dates-shifted").returncode == 0
    arguments = ("score", key, out, "--manifest", manifest, "--received", received)
    ended = _run(*arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["share"] == 1
    next(out.rglob("*.dcm")).unlink()
    assert _run(*arguments).returncode == 1
    assert "50.000%" in _run(*arguments).stdout
    assert _run("score", tmp_path / "nowhere", out, "--manifest", manifest).returncode == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["IN", "OUT", "--profile", "tarot"], "There is no profile tarot"),
        (["nowhere", "OUT"], "There is no file or folder"),
        (["IN", "IN/OUT"], "outside IN"),
        (["IN", "OUT", "--manifest", "OUT/m.jsonl"], "outside OUT"),
        (["IN", "full"], "is not empty"),
        (["IN", "OUT", "--key-file", "short"], "a key has at least"),
        (["IN", "OUT", "--profile", "wrong.toml"], "PatientName says who somebody is"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_written(
    received: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "old.dcm").touch()
    (tmp_path / "short").write_bytes(b"123")
    (tmp_path / "wrong.toml").write_text(
        'name = "wrong"\ntitle = "wrong"\nversion = 1\n'
        'special = [{ attribute = "PatientName", action = "keep", reason = "convenient" }]\n'
    )
    ended = _run(*arguments, folder=tmp_path)
    assert ended.returncode in (2, 3, 4)
    assert says in ended.stderr
    assert not (tmp_path / "OUT").exists()
    assert not (received / "OUT").exists()
