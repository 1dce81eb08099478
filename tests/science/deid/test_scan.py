# SPDX-License-Identifier: Apache-2.0
"""The last look, on leaks that were planted in cleaned files."""

from __future__ import annotations

import random

import pytest
from pydicom import DataElement
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from medhub.science.deid.scan import Scanner
from tests.factories.leaks import FAMILY, GIVEN, KINDS, cleaned
from tests.factories.seeded import written
from tests.science.imaging.datasets import file_of

NAME = "p-x.dcm"


@pytest.mark.parametrize("profile", ["basic", "research-dates-shifted", "research-max-utility"])
def test_a_cleaned_file_has_no_findings(profile: str) -> None:
    assert Scanner(["Doe^Jane", "4711"]).scan(NAME, written(cleaned(profile))) == []


@pytest.mark.parametrize("kind", KINDS)
def test_planted_leaks_are_found(kind: str) -> None:
    missed = []
    for seed in range(2 if "pixels" in kind else 12):
        chance = random.Random(f"{kind} {seed}")  # noqa: S311  # nothing here is secret
        leak = KINDS[kind](chance, chance.choice(GIVEN), chance.choice(FAMILY))
        if not Scanner(leak.known, read_pixels="pixels" in kind).scan(leak.name, leak.data):
            missed.append(seed)
    assert missed == []


def test_names_of_files_and_what_lies_beside_the_data_are_looked_at() -> None:
    data = written(cleaned())
    scanner = Scanner(["Rahman^Aisha"])
    assert {one.place for one in scanner.scan("export/Rahman_Aisha/1.dcm", data)} == {"file name"}
    assert [one.kind for one in scanner.scan(NAME, b"by Dr. Who" + data[10:])] == ["bytes that are not zero"]
    assert any(one.kind == "known identity" for one in scanner.scan(NAME, data + b"RAHMAN\0"))
    assert [one.kind for one in scanner.scan("notes.txt", b"see Mrs. Tanaka on 2024-03-01")] == [
        "date",
        "name of a person",
    ]
    assert scanner.scan(NAME, data[:200] + b"\xff" * 40) != []


def test_what_a_compressed_frame_carries_beside_the_picture_is_found() -> None:
    dataset = cleaned()
    frame = b"\xff\xd8\xff\xfe\x00\x12Aisha Rahman 42\xff\xd9"
    element = DataElement(0x7FE00010, "OB", encapsulate([frame]))
    element.is_undefined_length = True
    dataset[0x7FE00010] = element
    found = Scanner().scan(NAME, file_of(dataset, JPEGBaseline8Bit))
    assert any(one.kind == "text or data beside the picture" for one in found)
