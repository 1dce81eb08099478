# SPDX-License-Identifier: Apache-2.0
"""The element cache has no effect on results: each object is de-identified as if it were the first."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import pydicom
import pytest
from pydicom import Dataset, dcmread, dcmwrite

from medhub.science.arrivals.cleaned_image import CleanedImage
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.arrivals.photograph_wrapping import write_subject
from medhub.science.deid import element_cache
from medhub.science.deid.attributes.deidentifier import deidentify
from medhub.science.deid.element_cache import CachedDataset, clear_caches, deidentify_cached
from medhub.science.deid.profile import Profile, find_profile
from medhub.science.deid.pseudonym import subject_of
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.dicom.file_writing import write_file
from medhub.science.imaging.dicom.search_attributes import attributes_of
from tests.science.imaging.pictures import CONTEXT

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
NAMES = ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "reportsi.dcm", "examples_palette.dcm", "MR_small_implicit.dcm")
KEY = b"a key of the project"


T = TypeVar("T")

# As a project has it: the same for all of its files.
profiles: dict[str, Profile] = {}


def read(name: str) -> Dataset:
    return dcmread(FILES / name, force=True)


def deidentify_object(dataset: Dataset, profile: str = "clinical-photo", person: str = "4711") -> CachedDataset:
    rules = profiles.setdefault(profile, find_profile(profile))
    return deidentify_cached(dataset, rules, subject_of(KEY, person, "", rules.dates))


def encode(deidentified: CachedDataset) -> bytes:
    """Encode the dataset with pydicom's writer."""
    out = BytesIO()
    dcmwrite(out, deidentified.dataset, implicit_vr=False, little_endian=True)
    return out.getvalue()


@pytest.fixture(autouse=True)
def _clear_element_caches() -> None:
    clear_caches()


@pytest.mark.parametrize("name", NAMES)
def test_the_second_of_the_same_comes_out_as_the_first(name: str) -> None:
    first, second = deidentify_object(read(name)), deidentify_object(read(name))
    assert element_cache._caches
    assert encode(first) == encode(second)
    assert first.actions == second.actions


@pytest.mark.parametrize("name", NAMES)
def test_the_cache_changes_neither_the_dataset_nor_the_actions(name: str) -> None:
    profile = find_profile("clinical-photo")
    uncached = deidentify(read(name), profile, subject_of(KEY, "4711", "", profile.dates))
    for _ in range(2):
        cached = deidentify_object(read(name))
        assert str(cached.dataset) == str(uncached.dataset)
        assert cached.actions == uncached.actions


def test_what_was_made_for_one_person_is_not_given_to_another() -> None:
    first, second = read("CT_small.dcm"), read("CT_small.dcm")
    for dataset in (first, second):
        dataset.StudyDescription = "abdomen liver"
    second.PatientName = "Liver^John"
    profile = "research-max-utility"
    first_cleaned, second_cleaned = (
        deidentify_object(_write_and_read(first), profile),
        deidentify_object(_write_and_read(second), profile),
    )
    assert "abdomen" in first_cleaned.dataset.StudyDescription
    assert "liver" not in second_cleaned.dataset.StudyDescription
    assert first_cleaned.dataset.get("StudyDescription") != second_cleaned.dataset.get("StudyDescription")
    assert (
        deidentify_object(_write_and_read(first), profile, "4712").dataset.PatientID != first_cleaned.dataset.PatientID
    )


def test_what_was_made_by_one_profile_is_not_given_by_another() -> None:
    def date(profile: str) -> str:
        return str(deidentify_object(read("CT_small.dcm"), profile).dataset.get("StudyDate"))

    together = [date("basic"), date("research-max-utility")]
    clear_caches()
    alone = date("research-max-utility")
    assert together[1] == alone != together[0]


def test_files_come_out_as_the_first_after_all_others_have() -> None:
    names = [path.name for path in sorted(FILES.glob("*.dcm")) if path.stat().st_size < 300_000]
    alone = {name: _without_cache(lambda name=name: prepare_file(name)) for name in names}  # type: ignore[misc]
    assert sum(not isinstance(result, str) for result in alone.values()) > 30
    for _ in range(2):
        assert {name: prepare_file(name) for name in names} == alone


def prepare_file(name: str) -> CleanedImage | str:
    """The cleaned image of a file, or the message of its refusal."""
    try:
        return prepare_arrival((FILES / name).read_bytes(), context=CONTEXT, limits=DecodingLimits())
    except Unacceptable as refusal:
        return refusal.message


def test_what_is_changed_in_one_object_does_not_change_the_next() -> None:
    first = deidentify_object(read("CT_small.dcm"))
    first.dataset.Modality = "OT"
    first.dataset.ImageType[0] = "CHANGED"
    second = deidentify_object(read("CT_small.dcm"))
    assert list(second.dataset.ImageType) == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert second.dataset.Modality == "CT"
    assert attributes_of(second.dataset)["series"]["Modality"] == ["CT"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_written_from_what_is_remembered_is_the_file(name: str) -> None:
    def file() -> bytes:
        deidentified = deidentify_object(read(name))
        deidentified.dataset.pop("PixelData", None)
        write_subject(deidentified.dataset, CONTEXT, study_year=2026)
        return write_file(deidentified.dataset, pydicom.uid.ExplicitVRLittleEndian, deidentified.shared)

    first = file()
    assert file() == first
    clear_caches()
    assert file() == first
    again = dcmread(BytesIO(first))
    alone = _without_cache(lambda: deidentify_object(read(name))).dataset
    write_subject(alone, CONTEXT, study_year=2026)
    assert {
        str(element.tag): element.value for element in again if element.VR != "SQ" and element.tag != 0x7FE00010
    } == {
        str(element.tag): element.value
        for element in dcmread(BytesIO(write_file(alone, pydicom.uid.ExplicitVRLittleEndian)))
        if element.VR != "SQ" and element.tag != 0x7FE00010
    }


def _write_and_read(dataset: Dataset) -> Dataset:
    """Write a dataset and read it again."""
    out = BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    return dcmread(BytesIO(out.getvalue()))


def _without_cache(make: Callable[[], T]) -> T:
    clear_caches()
    result = make()
    clear_caches()
    return result
