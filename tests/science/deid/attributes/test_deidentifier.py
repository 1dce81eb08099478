# SPDX-License-Identifier: Apache-2.0
"""The profile of PS3.15, Annex E, on datasets whose every value is known."""

from __future__ import annotations

import pytest
from pydicom import DataElement, Dataset, Sequence
from pydicom.datadict import dictionary_VR

from medhub.science.deid.attributes.deidentifier import DeidentifiedDataset, deidentify
from medhub.science.deid.attributes.element_context import NestedTooDeep
from medhub.science.deid.confidentiality_table import rule_of, rules
from medhub.science.deid.profile import CODES, Profile, find_profile, named_profiles
from medhub.science.deid.pseudonym import subject_of
from tests.factories.seeded import CT, Seeds, attribute_keyword, encode_file, make_seeded_dataset, nested_dataset

KEY = b"a key for tests only"
OPTIONS = tuple(CODES)


def clean(dataset: Dataset, *options: str, name: str = "") -> DeidentifiedDataset:
    profile = find_profile(name) if name else Profile(name="t", title="tests", version=1, options=options)
    return deidentify(dataset, profile, subject_of(KEY, str(dataset.get("PatientID", "")), "", profile.dates))


def _seeded_dataset(depth: int) -> tuple[Dataset, Seeds]:
    seeds = Seeds(depth)
    dataset = make_seeded_dataset(seeds, depth)
    dataset.SOPClassUID = CT
    return dataset, seeds


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize(
    "options", [(), *((option,) for option in OPTIONS)], ids=lambda names: "-".join(names) or "basic"
)
def test_no_seeded_original_is_left_at_any_depth(options: tuple[str, ...], depth: int) -> None:
    dataset, seeds = _seeded_dataset(depth)
    cleaned = clean(dataset, *options)
    data = encode_file(cleaned.dataset)
    retained_tags = {tag for tag, rule in rules().items() if any(rule.options.get(option) == "K" for option in options)}
    # Under shifted dates the time of day stays, as it must.
    if "modified-dates" in options:
        retained_tags |= {
            tag for tag, rule in rules().items() if "modified-dates" in rule.options and dictionary_VR(tag) == "TM"
        }
    left = [
        attribute_keyword(tag)
        for (tag, _), text in seeds.text.items()
        if tag not in retained_tags and text.encode() in data
    ]
    left += [
        attribute_keyword(tag) for (tag, _), value in seeds.binary.items() if tag not in retained_tags and value in data
    ]
    assert left == []
    assert len(seeds.text) > 500


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_each_attribute_gets_the_action_of_its_row(depth: int) -> None:
    dataset, _ = _seeded_dataset(depth)
    deidentified = nested_dataset(clean(dataset).dataset, depth)
    for tag in list(nested_dataset(dataset, depth).keys()):
        rule = rule_of(int(tag))
        if rule is None:
            continue
        if rule.basic == ("X",):
            assert tag not in deidentified, attribute_keyword(tag)
        elif rule.basic == ("Z",) and attribute_keyword(tag) != "PatientName":
            assert not deidentified[tag].value, attribute_keyword(tag)
        elif rule.basic in (("D",), ("U",)):
            assert deidentified[tag].value, attribute_keyword(tag)
            assert deidentified[tag].value != nested_dataset(dataset, depth)[tag].value, attribute_keyword(tag)


@pytest.mark.parametrize("name", sorted(named_profiles()))
def test_a_second_run_changes_nothing_but_what_is_keyed(name: str) -> None:
    dataset, _ = _seeded_dataset(1)
    once = clean(dataset, name=name).dataset
    twice = clean(once, name=name).dataset
    again = {(a.path, a.name) for a in clean(once, name=name).actions if a.done in ("removed",)}
    assert not again
    assert set(once.keys()) == set(twice.keys())


def test_what_is_optional_goes_and_what_must_be_there_is_replaced() -> None:
    dataset = Dataset()
    dataset.SOPClassUID = CT
    dataset.StationName = "CT99"  # optional (PS3.3, C.7.5.1)
    dataset.ContentDate = "20200101"  # type 2C
    dataset.PatientID = "4711"
    deidentified = clean(dataset).dataset
    assert "StationName" not in deidentified
    assert not deidentified.ContentDate
    enhanced = Dataset()
    enhanced.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"  # Enhanced CT: type 1
    enhanced.DeviceSerialNumber, enhanced.ContentDate = "SN-1", "20200101"
    deidentified = clean(enhanced).dataset
    assert deidentified.DeviceSerialNumber == "REPLACED"
    assert deidentified.ContentDate == "19000101"
    private = Dataset()
    private.SOPClassUID = "1.2.3.4"
    private.DeviceSerialNumber = "SN-1"
    assert clean(private).dataset.DeviceSerialNumber == "REPLACED"


def test_the_flags_say_what_was_done_and_nothing_else() -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.PatientID, dataset.PatientName = CT, "1", "Doe^Jane"
    dataset.StudyDate = "20200101"
    dataset.PatientIdentityRemoved = "NO"
    dataset.DeidentificationMethod = "by hand by Dr. Miller"
    deidentified = clean(dataset, "modified-dates", "device").dataset
    assert deidentified.PatientIdentityRemoved == "YES"
    assert list(deidentified.DeidentificationMethod) == ["medhub-deid 1", "t 1"]
    codes = [item.CodeValue for item in deidentified.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107", "113109"]
    assert deidentified.LongitudinalTemporalInformationModified == "MODIFIED"
    assert "BurnedInAnnotation" not in deidentified  # nobody looked at pixels
    assert clean(dataset).dataset.LongitudinalTemporalInformationModified == "REMOVED"
    assert clean(dataset, "full-dates").dataset.LongitudinalTemporalInformationModified == "UNMODIFIED"


def test_intervals_and_weekdays_stay_under_shifted_dates() -> None:
    from datetime import date

    earlier, later = Dataset(), Dataset()
    for dataset, day in ((earlier, "20240110"), (later, "20240217")):
        dataset.SOPClassUID, dataset.PatientID, dataset.StudyDate = CT, "77", day
        dataset.AcquisitionDateTime = f"{day}101112.500000+0100"
    first, second = (clean(each, name="research-dates-shifted").dataset for each in (earlier, later))
    days = [date.fromisoformat(each.StudyDate) for each in (first, second)]
    assert (days[1] - days[0]).days == 38
    assert days[0].weekday() == date(2024, 1, 10).weekday()
    assert days[0] < date(2024, 1, 4)
    assert first.AcquisitionDateTime == f"{first.StudyDate}101112.500000+0100"
    other = Dataset()
    other.SOPClassUID, other.PatientID, other.StudyDate = CT, "78", "20240110"
    assert clean(other, name="research-dates-shifted").dataset.StudyDate != first.StudyDate


def test_a_uid_is_the_same_wherever_it_is_met() -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.PatientID = CT, "1.2.3.4", "1"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT, "1.2.3.4"
    dataset.ReferencedInstanceSequence = Sequence([reference])
    deidentified = clean(dataset).dataset
    item = deidentified.ReferencedInstanceSequence[0]
    assert item.ReferencedSOPInstanceUID == deidentified.SOPInstanceUID != "1.2.3.4"
    assert item.ReferencedSOPClassUID == CT
    assert clean(dataset, "uids").dataset.SOPInstanceUID == "1.2.3.4"


def test_a_name_of_the_header_does_not_stay_in_a_text_that_may() -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.PatientID, dataset.PatientName = CT, "AB-4711", "Lungova^Chesta"
    dataset.SeriesDescription = "Chest LUNGOVA 5mm Lung, AB-4711, Dr. Brown, 2024-03-01"
    dataset.ConvolutionKernel = "B30f"
    dataset.ScanOptions = "HELIX"
    dataset.FilterType = "LUNGOVA"  # an attribute that the table does not name
    deidentified = clean(dataset, "descriptors")
    assert deidentified.dataset.SeriesDescription == "Chest 5mm Lung"
    assert deidentified.dataset.ScanOptions == "HELIX"
    assert "LUNGOVA" not in str(deidentified.dataset)


def test_private_elements_stay_only_where_the_list_knows_them_and_the_profile_wants_them() -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.PatientID = CT, "1"
    block = dataset.private_block(0x0019, "GEMS_ACQU_01", create=True)
    block.add_new(0x02, "SL", 912)  # known to be safe
    block.add_new(0xFE, "LO", "Jane Doe")  # not known
    unknown = dataset.private_block(0x0019, "SOMEBODY", create=True)
    unknown.add_new(0x02, "SL", 912)
    assert not [element for element in clean(dataset).dataset if element.tag.is_private]
    deidentified = clean(dataset, "safe-private").dataset
    assert [int(element.tag) for element in deidentified if element.tag.is_private] == [0x00190010, 0x00191002]


def test_structured_content_keeps_its_build_and_loses_its_names() -> None:
    def item(kind: str, **values: object) -> Dataset:
        content_item = Dataset()
        content_item.RelationshipType, content_item.ValueType = "CONTAINS", kind
        for keyword, value in values.items():
            setattr(content_item, keyword, value)
        return content_item

    dataset = Dataset()
    dataset.SOPClassUID, dataset.PatientID, dataset.PatientName = "1.2.840.10008.5.1.4.1.1.88.11", "1", "Doe^Jane"
    inside = item("TEXT", TextValue="Nodule of 5 mm seen by Dr. Jekyll in Jane Doe on 3 March 2020")
    dataset.ContentSequence = Sequence(
        [
            item("PNAME", PersonName="Hyde^Edward"),
            item("CONTAINER", ContentSequence=Sequence([inside])),
            item("UIDREF", UID="1.2.3.4.5"),
            item("DATE", Date="20200303"),
        ]
    )
    deidentified = clean(dataset, "structured-content").dataset
    assert len(deidentified.ContentSequence) == 4
    text = " ".join(str(element.value) for element in deidentified.iterall() if element.VR != "SQ")
    for word in ("Jekyll", "Doe", "Jane", "Hyde", "2020", "1.2.3.4.5"):
        assert word not in text
    assert "Nodule of 5 mm seen by" in text
    assert len(clean(dataset).dataset.ContentSequence) == 1


def test_what_cannot_be_read_is_unknown_or_hides_goes() -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.PatientID = CT, "1"
    dataset.add(DataElement(0x60003000, "OW", b"overlay!"))
    dataset.add(DataElement(0x60000010, "US", 8))
    dataset.add(DataElement(0x50003000, "OW", b"curve!!!"))
    dataset.add(DataElement(0x00080007, "LO", "no attribute of the standard"))
    dataset.add(DataElement(0xFFFCFFFC, "OB", b"padding!"))
    deidentified = clean(dataset)
    assert [int(element.tag) for element in deidentified.dataset if element.tag.group > 0x0028] == [0x60000010]
    assert {action.name for action in deidentified.actions} >= {"unknown", "DataSetTrailingPadding"}


def test_sequences_deeper_than_any_device_writes_are_refused() -> None:
    dataset = Dataset()
    for _ in range(200):
        outer = Dataset()
        outer.ReferencedInstanceSequence = Sequence([dataset])
        dataset = outer
    dataset.SOPClassUID, dataset.PatientID = CT, "1"
    with pytest.raises(NestedTooDeep):
        clean(dataset)


def test_no_action_holds_a_value() -> None:
    dataset, seeds = _seeded_dataset(1)
    record_text = repr(clean(dataset, name="research-max-utility").actions)
    assert not [text for text in seeds.text.values() if text in record_text]
