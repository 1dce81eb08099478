# SPDX-License-Identifier: Apache-2.0
"""Comparison of de-identified files with an answer key."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from medhub.errors import Invalid
from medhub.science.deid.answer_key import Score, outputs_of, read_key, score
from medhub.science.deid.file_cleaning import clean_file
from medhub.science.deid.profile import Pixels, find_profile
from tests.factories.identified import make_identified_object
from tests.factories.seeded import CT, encode_file

CHECKS: list[dict[str, Any]] = [
    {"category": "text_removed", "path": "(0010,0010)", "value": "Rahman^Aisha"},
    {"category": "text_retained", "path": "(0008,103E)", "value": "Chest lung"},
    {"category": "tag_retained", "path": "(0028,0010)"},
    {"category": "date_shifted", "path": "(0008,0020)", "value": "20240110"},
    {"category": "uid_changed", "path": "(0008,0018)", "value": "1.2.3.1"},
    {"category": "uid_consistent", "path": "(0020,000D)", "value": "1.2.3"},
    {"category": "patient_consistent", "path": "(0010,0020)"},
    {"category": "pixels_retained"},
]


def _image(**changes: Any) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.StudyInstanceUID = CT, "2.25.1", "2.25.3"
    dataset.PatientName, dataset.PatientID, dataset.StudyDate = "P-1", "P-1", "20230111"
    dataset.SeriesDescription = "Chest lung"
    dataset.Rows = dataset.Columns = 20
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = np.random.default_rng(0).integers(0, 255, 400, np.uint8).tobytes()
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def _scored(tmp_path: Path, *after: Dataset | None, checks: list[dict[str, Any]] | None = None) -> Score:
    objects = []
    outputs = {}
    for number, dataset in enumerate(after):
        name = f"{number}.dcm"
        objects.append({"input": name, "patient": "one", "checks": CHECKS if checks is None else checks})
        for folder in ("in", "out"):
            (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(encode_file(_image()))
        if dataset is not None:
            (tmp_path / "out" / name).write_bytes(encode_file(dataset))
            outputs[name] = name
    path = tmp_path / "key.json"
    path.write_text(json.dumps({"format": "medhub-deid-key/1", "objects": objects}))
    return score(read_key(path), outputs, tmp_path / "out", tmp_path / "in")


def test_what_was_done_as_asked_meets_every_check(tmp_path: Path) -> None:
    result = _scored(tmp_path, _image(), _image(SOPInstanceUID="2.25.2"))
    assert result.share == 1
    assert result.failures == []
    assert sum(result.met.values()) == 2 * len(CHECKS)


def test_a_missing_file_has_failed_in_everything(tmp_path: Path) -> None:
    result = _scored(tmp_path, _image(), None)
    assert result.share == 0.5
    assert {name for name, _, _ in result.failures} == {"1.dcm"}


@pytest.mark.parametrize(
    ("changes", "category", "kind"),
    [
        ({"PatientName": "Aisha"}, "text_removed", "missed"),
        ({"ImageComments": "seen with aisha"}, "text_removed", "missed"),  # moved to another attribute
        ({"SeriesDescription": "Chest"}, "text_retained", "over_done"),
        ({"StudyDate": "20240110"}, "date_shifted", "missed"),
        ({"StudyDate": ""}, "date_shifted", "missed"),
        ({"SOPInstanceUID": "1.2.3.1"}, "uid_changed", "missed"),
        ({"PixelData": bytes(400)}, "pixels_retained", "over_done"),
    ],
)
def test_each_kind_of_failure_is_counted_where_it_belongs(
    tmp_path: Path, changes: dict[str, Any], category: str, kind: str
) -> None:
    result = _scored(tmp_path, _image(**changes))
    assert getattr(result, kind)[category] == 1
    assert len(result.failures) == 1
    assert "Rahman" not in str(result.failures)


def test_a_dummy_that_contains_the_token_is_no_leak(tmp_path: Path) -> None:
    assert _scored(tmp_path, _image(PatientName="RAHMANITE-7")).failures == []


def test_codes_uids_and_shifts_must_agree_between_objects(tmp_path: Path) -> None:
    result = _scored(tmp_path, _image(), _image(StudyInstanceUID="2.25.4", PatientID="P-2", StudyDate="20230112"))
    assert {category for _, category, _ in result.failures} == {"uid_consistent", "patient_consistent", "date_shifted"}


def test_writing_must_not_be_there_any_more_in_any_contrast(tmp_path: Path) -> None:
    check = [{"category": "pixels_hidden", "box": [0, 4, 4, 12, 12]}]
    before = np.frombuffer(_image().PixelData, np.uint8).reshape(20, 20)
    for fill, holds in ((0, True), (None, False)):
        after = before.copy()
        after[4:12, 4:12] = after[4:12, 4:12] // 2 + 90 if fill is None else fill
        result = _scored(tmp_path, _image(PixelData=after.tobytes()), checks=check)
        assert (result.failures == []) == holds


def test_a_wrong_key_or_manifest_is_told(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text('{"format": "medhub-deid-key/1", "objects": [{"input": "a", "checks": [{"category": "guessed"}]}]}')
    with pytest.raises(Invalid, match="no answer key"):
        read_key(path)
    path.write_text("{")
    with pytest.raises(Invalid, match="no answer key"):
        read_key(path)
    path.write_text('{"input": "a"}\n')
    with pytest.raises(Invalid, match="line 1"):
        outputs_of(path)


def test_the_engine_meets_a_sample_of_the_large_answer_key(tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311  # nothing here is secret
    profile = find_profile("research-dates-shifted").model_copy(update={"pixels": Pixels(clean=False)})
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    entries = []
    for number in range(30):
        data, entry = make_identified_object(number, chance)
        (tmp_path / "in" / entry["input"]).write_bytes(data)
        (tmp_path / "out" / entry["input"]).write_bytes(clean_file(data, profile, b"a key for tests only").data)
        entries.append(entry)
    (tmp_path / "key.json").write_text(json.dumps({"format": "medhub-deid-key/1", "objects": entries}))
    names = {entry["input"]: entry["input"] for entry in entries}
    result = score(read_key(tmp_path / "key.json"), names, tmp_path / "out", tmp_path / "in")
    assert result.failures == []
    assert sum(result.met.values()) > 1000
    # The key itself can fail: the same files, not cleaned, meet only what must stay.
    left = score(read_key(tmp_path / "key.json"), names, tmp_path / "in", tmp_path / "in")
    assert {category for _, category, _ in left.failures} == {"text_removed", "date_shifted", "uid_changed"}
    assert left.missed["text_removed"] == result.met["text_removed"]


def test_what_stands_in_bytes_is_found_and_a_retained_value_is_compared(tmp_path: Path) -> None:
    hidden = _image()
    hidden.add_new(0x00282000, "OB", b"profile of rahman")
    assert [failure[1] for failure in _scored(tmp_path, hidden).failures] == ["text_removed"]
    check = [{"category": "tag_retained", "path": "(0028,0010)", "value": "21"}]
    assert _scored(tmp_path, _image(), checks=check).over_done["tag_retained"] == 1
