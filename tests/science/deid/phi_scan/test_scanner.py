# SPDX-License-Identifier: Apache-2.0
"""The PHI scan finds leaks that were planted in de-identified files."""

from __future__ import annotations

import io
import json
import random
import zipfile

import numpy as np
import pytest
from pydicom import DataElement
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from medhub.science.deid.phi_scan import dicom_objects, other_files
from medhub.science.deid.phi_scan.phi_patterns import PhiPatterns
from medhub.science.deid.phi_scan.scanner import PhiScanner
from medhub.science.deid.phi_scan.text_reader import is_mark
from tests.factories.burned import make_burned_image
from tests.factories.leaks import FAMILY, GIVEN, KINDS, make_cleaned_dataset
from tests.factories.seeded import encode_file
from tests.science.deid.test_hostile import CANARY, FILES
from tests.science.imaging.datasets import dataset_of, file_of

NAME = "p-x.dcm"


@pytest.mark.parametrize("profile", ["basic", "research-dates-shifted", "research-max-utility"])
def test_a_cleaned_file_has_no_findings(profile: str) -> None:
    assert PhiScanner(["Doe^Jane", "4711"]).scan(NAME, encode_file(make_cleaned_dataset(profile))) == []


@pytest.mark.parametrize("kind", KINDS)
def test_planted_leaks_are_found(kind: str) -> None:
    missed = []
    for seed in range(1 if "pixels" in kind else 12):
        chance = random.Random(f"{kind} {seed}")  # noqa: S311  # nothing here is secret
        leak = KINDS[kind](chance, chance.choice(GIVEN), chance.choice(FAMILY))
        if not PhiScanner(leak.known, read_pixels="pixels" in kind).scan(leak.name, leak.data):
            missed.append(seed)
    assert missed == []


def test_names_of_files_and_what_lies_beside_the_data_are_looked_at() -> None:
    data = encode_file(make_cleaned_dataset())
    scanner = PhiScanner(["Rahman^Aisha"])
    assert {finding.location for finding in scanner.scan("export/Rahman_Aisha/1.dcm", data)} == {"file name"}
    assert [finding.kind for finding in scanner.scan(NAME, b"by Dr. Who" + data[10:])] == ["bytes that are not zero"]
    assert any(finding.kind == "known identity" for finding in scanner.scan(NAME, data + b"RAHMAN\0"))
    notes = b"see Mrs. Tanaka on 2024-03-01"
    assert [finding.kind for finding in scanner.scan("notes.txt", notes)] == ["date", "name of a person"]
    assert [finding.kind for finding in PhiScanner(dates=False).scan("notes.txt", notes)] == ["name of a person"]
    assert scanner.scan(NAME, data[:200] + b"\xff" * 40) != []


def test_what_a_compressed_frame_carries_beside_the_picture_is_found() -> None:
    dataset = make_cleaned_dataset()
    frame = b"\xff\xd8\xff\xfe\x00\x12Aisha Rahman 42\xff\xd9"
    element = DataElement(0x7FE00010, "OB", encapsulate([frame]))
    element.is_undefined_length = True
    dataset[0x7FE00010] = element
    findings = PhiScanner().scan(NAME, file_of(dataset, JPEGBaseline8Bit))
    assert any(finding.kind == "text or data beside the picture" for finding in findings)


def test_marks_of_sides_scales_and_settings_are_no_findings() -> None:
    findings = []
    for seed in (1, 2, 3):  # ultrasound, X-ray, photograph
        sample = make_burned_image(30_000 + seed, identifiers=False, size=(400, 300))
        dataset = make_cleaned_dataset()
        dataset.update({e.tag: e for e in dataset_of(sample.image) if e.tag.group in (0x0028, 0x7FE0)})
        findings += PhiScanner(["Rahman^Aisha"]).scan(NAME, encode_file(dataset))
    assert findings == []
    assert all(map(is_mark, ("R", "AP", "120 kV", "12.4cm", "Freq 5.0 MHz", "PAERECT", "x40", "LATERAI")))
    assert not any(map(is_mark, ("KOWALSKA", "ID 8400567", "Dr. Abdullah", "City General", "Tom")))


def test_without_pixels_nothing_is_read_in_them() -> None:
    leak = KINDS["pixels, known name"](random.Random(1), "Aisha", "Rahman")  # noqa: S311  # nothing here is secret
    assert PhiScanner(leak.known, read_pixels=False).scan(leak.name, leak.data) == []
    findings = PhiScanner(leak.known).scan(leak.name, leak.data)
    assert "known identity" in {finding.kind for finding in findings}
    assert all(finding.location.startswith("pixels, frame 1, box ") for finding in findings)


def test_pixels_that_cannot_be_shown_are_not_cleared() -> None:
    dataset = make_cleaned_dataset()
    image = dataset_of(np.zeros((8, 8), np.uint8))
    dataset.update({element.tag: element for element in image if element.tag.group in (0x0028, 0x7FE0)})
    dataset.Rows = 4000
    assert [finding.kind for finding in PhiScanner().scan(NAME, encode_file(dataset))] == ["cannot be read"]


@pytest.mark.parametrize("text", ["R0dgers^Samuel", "RODGER5, SAMUEL", "Rodqers", "Rodgrs Samuel", "samuel rodgers"])
def test_a_known_name_is_known_though_it_is_misread(text: str) -> None:
    assert PhiPatterns(["Rodgers^Samuel"]).find_misread(text) is not None


@pytest.mark.parametrize("text", ["Rogue", "DOSE", "Sam", "Range", "erect"])
def test_other_words_are_not_taken_for_a_known_name(text: str) -> None:
    assert PhiPatterns(["Rodgers^Samuel"]).find_misread(text) is None


def test_short_names_and_numbers_are_looked_for_as_whole_words() -> None:
    patterns = PhiPatterns(["Ann^Lee", "4711"])
    assert [finding.excerpt for finding in patterns.find_known("", "for Lee, ann and 4711")] == ["4711", "ann", "lee"]
    assert list(patterns.find_known("", "planned, asleep, 147110, fleet")) == []


def test_many_known_people_are_looked_for_like_few() -> None:
    people = [f"Person{number}^Name{number}" for number in range(3000)] + ["Rahman^Aisha", "王^小东", "H-4711"]
    patterns = PhiPatterns(people)
    text = "seen with aisha rahman, 王小东 and namhar of h-4711"
    assert {finding.excerpt for finding in patterns.find_known("", text)} == {
        *("aisha", "rahman", "h-4711"),
        *("王", "小东", "王小东"),
    }
    data = b"\x07" * 50 + "of Rahman".encode("utf-16-le") + "小东".encode() + b"\x07" * 50
    assert {finding.excerpt for finding in patterns.find_known_in_bytes("", data)} == {"rahman"}
    assert (
        list(patterns.find_known("", "nothing of anybody")) == list(patterns.find_known_in_bytes("", bytes(99))) == []
    )


def test_codes_uids_and_hashes_are_no_numbers_of_people() -> None:
    text = "P-7F3KQA P-ABCDEFGHIJ23 2.25.329800735698586629295641978511506172918 1.2.840.10008.5.1.4.1.1.2 "
    text += "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    assert PhiScanner().scan("manifest.json", json.dumps({"files": text.split()}).encode()) == []
    assert PhiScanner().scan("P-7F3KQA/1.json", b'{"code": "P-1234567"}') != []


@pytest.mark.parametrize("text", ["BM of the hip", "GIF8 years", "PAR1 of two", "Rar! Chest", "BZh", "PKU", "8"])
def test_a_text_that_begins_like_a_file_is_a_text(text: str) -> None:
    assert PhiScanner().scan("value", text.encode()) == []


def test_what_cannot_be_looked_into_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_files, "MAX_BYTES_READ", 1024**2)
    monkeypatch.setattr(dicom_objects, "MAX_BYTES_READ", 1024**2)

    def zipped(member: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("P-ABCDEFGH.zip", member)
        return buffer.getvalue()

    nested = zipped(b"nothing")
    for _ in range(6):
        nested = zipped(nested)
    large, damaged = zipped(bytes(2 * 1024**2)), zipped(b"x")[:-30]
    for data in (nested, large, damaged, b"7z\xbc\xaf\x27\x1c" + bytes(9), b"PAR1" + bytes(9) + b"PAR1"):
        assert {finding.kind for finding in PhiScanner().scan("P-ABCDEFGH.zip", data)} == {"cannot be read whole"}


@pytest.mark.parametrize("kind", FILES)
def test_hostile_files_are_never_cleared(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_objects, "MAX_BYTES_READ", 1024**2)
    findings = PhiScanner([CANARY], read_pixels=False).scan(NAME, FILES[kind])
    assert any(finding.kind == "known identity" or "read" in finding.kind for finding in findings)
