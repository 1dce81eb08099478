# SPDX-License-Identifier: Apache-2.0
"""Codes of published schemes stay whole, references stay connected, and required texts stay filled."""

from __future__ import annotations

import pytest
from pydicom import Dataset, Sequence

from medhub.science.deid.attributes.deidentifier import deidentify
from medhub.science.deid.profile import find_profile, named_profiles
from medhub.science.deid.pseudonym import subject_of
from medhub.science.deid.standard_codes import is_unit, read_standard_code

KEY = b"a key for tests only"
SEGMENTATION, REPORT = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.33"


def code(value: str, scheme: str, meaning: str, **more: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    for keyword, text in more.items():
        setattr(item, keyword, text)
    return item


def cleaned(dataset: Dataset, profile_name: str) -> Dataset:
    profile = find_profile(profile_name)
    return deidentify(dataset, profile, subject_of(KEY, "1", "", profile.dates)).dataset


CODES = [
    ("121049", "DCM", "Language of Content Item and Descendants"),
    ("en-US", "RFC5646", "English as used in the United States"),
    ("41549009", "SCT", "ACE inhibitor"),
    ("T-D0050", "SRT", "Tissue"),
    ("33072-0", "LN", "AC, ASUM 2000"),
    ("mm", "UCUM", "mm"),
    ("mm2", "UCUM", "mm2"),
    ("10*9/l", "UCUM", "10*9/l"),
    ("RID49480", "RADLEX", "ACR Category 1 Actionable Finding"),
    ("C9440", "NCIt", "Abnormality"),
]


@pytest.mark.parametrize(("value", "scheme", "meaning"), CODES)
@pytest.mark.parametrize("profile_name", sorted(named_profiles()))
def test_a_code_of_a_published_scheme_stays(profile_name: str, value: str, scheme: str, meaning: str) -> None:
    dataset = Dataset()
    dataset.AnatomicRegionSequence = Sequence([code(value, scheme, meaning)])
    item = cleaned(dataset, profile_name).AnatomicRegionSequence[0]
    assert (item.CodeValue, item.CodingSchemeDesignator) == (value, scheme)
    assert item.CodeMeaning


@pytest.mark.parametrize(
    ("value", "scheme"),
    [
        ("KOWALSKI", "SCT"),
        ("1234567", "SCT"),  # the last digit is no check digit
        ("12345-1", "LN"),
        ("Kowalski", "UCUM"),
        ("{Kowalski}", "UCUM"),
        ("kowalski-jan", "RFC5646"),
        ("4711", "99HOSPITAL"),
        ("121049", "Kowalski"),
    ],
)
def test_what_no_scheme_has_is_no_code(value: str, scheme: str) -> None:
    assert read_standard_code(code(value, scheme, "meaning")) is None


def test_a_meaning_that_the_scheme_does_not_have_is_replaced_by_its_own() -> None:
    dataset = Dataset()
    dataset.AnatomicRegionSequence = Sequence([code("41549009", "SCT", "Kowalski, chest")])
    item = cleaned(dataset, "research-max-utility").AnatomicRegionSequence[0]
    assert item.CodeValue == "41549009"
    assert item.CodeMeaning in ("ACE inhibitor", "Angiotensin-converting enzyme inhibitor agent (product)")


def test_parts_of_a_private_code_are_never_empty() -> None:
    dataset = Dataset()
    dataset.AnatomicRegionSequence = Sequence([code("KOWALSKI-1", "99MERCY", "Mercy ward", CodingSchemeVersion="1.0")])
    item = cleaned(dataset, "basic").AnatomicRegionSequence[0]
    assert (item.CodeValue, item.CodingSchemeDesignator) == ("REPLACED", "99REPLACED")
    assert item.CodeMeaning == "REPLACED"


@pytest.mark.parametrize("unit", ["mm", "cm2", "g/cm3", "mm[Hg]", "/min", "{counts}", "mGy.cm", "%", "[hnsf'U]", "1"])
def test_units(unit: str) -> None:
    assert is_unit(unit)


@pytest.mark.parametrize("profile_name", sorted(named_profiles()))
def test_the_source_images_of_a_segmentation_stay_connected(profile_name: str) -> None:
    source, derivation, frame, series = Dataset(), Dataset(), Dataset(), Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4"
    source.PurposeOfReferenceCodeSequence = Sequence(
        [code("121322", "DCM", "Source image for image processing operation")]
    )
    instance = Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4"
    series.SeriesInstanceUID, series.ReferencedInstanceSequence = "1.2.3", Sequence([instance])
    derivation.SourceImageSequence = Sequence([source])
    frame.DerivationImageSequence = Sequence([derivation])
    dataset = Dataset()
    dataset.SOPClassUID = SEGMENTATION
    dataset.PerFrameFunctionalGroupsSequence = Sequence([frame])
    dataset.SourceImageSequence, dataset.ReferencedSeriesSequence = Sequence([source]), Sequence([series])
    new = cleaned(dataset, profile_name)
    reference = new.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    expected = new.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID
    assert reference.ReferencedSOPInstanceUID == new.SourceImageSequence[0].ReferencedSOPInstanceUID == expected
    assert expected != "1.2.3.4"
    assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"


def test_the_steps_of_a_specimen_keep_their_codes_and_slides_stay_different() -> None:
    def slide(number: int) -> Dataset:
        content, step, specimen, dataset = Dataset(), Dataset(), Dataset(), Dataset()
        content.ValueType = "CODE"
        content.ConceptNameCodeSequence = Sequence([code("424361007", "SCT", "Using substance")])
        content.ConceptCodeSequence = Sequence([code("434162003", "SCT", "Neutral Buffered Formalin")])
        step.SpecimenPreparationStepContentItemSequence = Sequence([content])
        specimen.SpecimenIdentifier = f"S-26-{number}"
        specimen.SpecimenPreparationSequence = Sequence([step])
        dataset.ContainerIdentifier = f"Kowalski {number}"
        dataset.SpecimenDescriptionSequence = Sequence([specimen])
        return cleaned(dataset, "research-max-utility")

    slides = [slide(1), slide(2), slide(1)]
    specimens = [slide.SpecimenDescriptionSequence[0] for slide in slides]
    item = specimens[0].SpecimenPreparationSequence[0].SpecimenPreparationStepContentItemSequence[0]
    assert item.ConceptNameCodeSequence[0].CodeValue == "424361007"
    assert item.ConceptCodeSequence[0].CodeMeaning
    identifiers = [
        (slide.ContainerIdentifier, specimen.SpecimenIdentifier)
        for slide, specimen in zip(slides, specimens, strict=True)
    ]
    assert identifiers[0] == identifiers[2] != identifiers[1]
    assert "Kowalski" not in str(identifiers)
    assert "26" not in str(identifiers)


@pytest.mark.parametrize("profile_name", sorted(named_profiles()))
def test_a_required_text_of_which_no_word_stays_gets_a_dummy(profile_name: str) -> None:
    segment, algorithm = Dataset(), Dataset()
    segment.SegmentLabel, segment.SegmentAlgorithmName = "Kowalski", "Zyxel"
    algorithm.AlgorithmName = "Zyxel"
    segment.SegmentationAlgorithmIdentificationSequence = Sequence([algorithm])
    dataset = Dataset()
    dataset.SOPClassUID, dataset.PatientName, dataset.ImageComments = SEGMENTATION, "Kowalski^Jan", "Kowalski"
    dataset.SegmentSequence = Sequence([segment])
    new = cleaned(dataset, profile_name)
    cleaned_segment = new.SegmentSequence[0]
    assert (cleaned_segment.SegmentLabel, cleaned_segment.SegmentAlgorithmName) == ("REPLACED", "REPLACED")
    assert cleaned_segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "REPLACED"
    assert not new.get("ImageComments")


def test_a_report_keeps_its_structure_where_the_profile_keeps_reports() -> None:
    length, report = Dataset(), Dataset()
    measured = Dataset()
    measured.NumericValue = "12.5"
    measured.MeasurementUnitsCodeSequence = Sequence([code("mm", "UCUM", "millimeter")])
    length.RelationshipType, length.ValueType = "CONTAINS", "NUM"
    length.ConceptNameCodeSequence = Sequence([code("410668003", "SCT", "Length")])
    length.MeasuredValueSequence = Sequence([measured])
    report.SOPClassUID, report.ValueType = REPORT, "CONTAINER"
    report.ConceptNameCodeSequence = Sequence([code("126000", "DCM", "Imaging Measurement Report")])
    report.ContentSequence = Sequence([length])
    new = cleaned(report, "research-max-utility")
    item = new.ContentSequence[0]
    assert (item.RelationshipType, item.ValueType) == ("CONTAINS", "NUM")
    assert item.ConceptNameCodeSequence[0].CodeMeaning == "Length"
    assert item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "mm"
    assert item.MeasuredValueSequence[0].NumericValue == 12.5
    assert new.ConceptNameCodeSequence[0].CodeMeaning == "Imaging Measurement Report"
