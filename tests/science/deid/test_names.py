# SPDX-License-Identifier: Apache-2.0
"""Names of people in every script and form: none remains in a text, and the PHI scan finds each that did."""

from __future__ import annotations

from functools import cache

import pytest
from pydicom import Dataset

from medhub.science.deid.allowed_text import is_allowed_text
from medhub.science.deid.attributes.deidentifier import deidentify
from medhub.science.deid.free_text import clean_text
from medhub.science.deid.identifying_text import IdentifyingText, identifying_text_of, identifying_text_of_person
from medhub.science.deid.name_words import name_words
from medhub.science.deid.phi_scan.phi_patterns import PhiPatterns
from medhub.science.deid.phi_scan.scanner import PhiScanner
from medhub.science.deid.profile import find_profile, named_profiles
from medhub.science.deid.pseudonym import subject_of
from tests.factories.named_objects import HARMLESS, named_object, texts_of
from tests.factories.person_names import WrittenName, what_remains, written_names
from tests.factories.seeded import encode_file

KEY = b"a key for tests only"


@cache
def all_names() -> dict[str, list[WrittenName]]:
    names: dict[str, list[WrittenName]] = {}
    for name in written_names():
        names.setdefault(name.form, []).append(name)
    return names


def words_of_header(header: str) -> IdentifyingText:
    dataset = Dataset()
    dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 192", header
    return identifying_text_of(dataset)


@pytest.mark.parametrize("form", list(all_names()))
def test_no_name_remains_in_any_kind_of_attribute(form: str) -> None:
    for number, name in enumerate(all_names()[form]):
        profile = find_profile(sorted(named_profiles())[number % len(named_profiles())])
        cleaned = deidentify(
            named_object(name, f"{name.text} chest"), profile, subject_of(KEY, "1", "", profile.dates)
        ).dataset
        left = {keyword: what_remains(text, name.words) for keyword, text in texts_of(cleaned)}
        assert not any(left.values()), (profile.name, name, left)


@pytest.mark.parametrize("form", list(all_names()))
def test_the_rest_of_a_text_remains_beside_a_name(form: str) -> None:
    for name in all_names()[form]:
        assert "chest" in clean_text(f"CT chest {name.text}", words_of_header(name.header)), name
        assert "chest" in clean_text(f"{name.text} chest", words_of_header(name.header)), name


@pytest.mark.parametrize("form", list(all_names()))
def test_the_scan_finds_a_known_name_in_any_form(form: str) -> None:
    for name in all_names()[form]:
        patterns = PhiPatterns([name.header])
        assert list(patterns.find_known("", f"CT {name.text} chest")), name
        assert list(patterns.find_known("", name.text)), name


def test_the_scan_finds_names_that_nobody_told_it_in_the_texts_of_an_object() -> None:
    profile = find_profile("research-max-utility")
    dataset = deidentify(Dataset(), profile, subject_of(KEY, "1", "", profile.dates)).dataset
    dataset.SpecificCharacterSet, dataset.SOPClassUID = "ISO_IR 192", "1.2.840.10008.5.1.4.1.1.2"
    dataset.StudyDescription, dataset.ImageComments = "王 明 CT chest", "seen with kowalski"
    findings = PhiScanner().scan("1.dcm", encode_file(dataset))
    assert {(finding.location, finding.excerpt) for finding in findings} == {
        ("(0008,1030)", "王 明"),
        ("(0020,4000)", "kowalski"),
    }


def test_texts_of_the_field_lose_almost_no_word() -> None:
    names = [name for form in all_names().values() for name in form]
    words = lost = 0
    for number, text in enumerate(HARMLESS):
        for name in names[number :: len(HARMLESS)]:
            words += len(text.split())
            lost += len(text.split()) - len(clean_text(text, words_of_header(name.header)).split())
    assert lost <= words / 100


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("de la Cruz^Maria", {"cruz", "maria", "cruzmaria", "mariacruz"}),
        ("DR SMITH^JOHN^^^MD", {"smith", "john", "smithjohn", "johnsmith"}),
        ("AL^ED", {"al", "ed", "aled", "edal"}),
        ("O^Mary", {"o", "mary", "omary", "maryo"}),
        ("Kowalski^J", {"kowalski", "kowalskij", "jkowalski"}),
        ("王^明", {"王", "明", "王明", "明王"}),
    ],
)
def test_words_of_a_name(header: str, expected: set[str]) -> None:
    assert name_words(header) == expected


@pytest.mark.parametrize("text", ["IM LA", "IMLA", "1M LA", "LA, IM", "LA"])
def test_a_name_of_two_letters_does_not_stay_in_pixels(text: str) -> None:
    assert not is_allowed_text(text, "US", identifying_text_of_person(["IM^LA"]))
    assert is_allowed_text(text.replace("1", "I"), "US", identifying_text_of_person(["Kowalski^Jan"]))
