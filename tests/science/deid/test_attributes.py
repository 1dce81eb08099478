# SPDX-License-Identifier: Apache-2.0
"""Which attributes stay, and in which form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword

from medhub.science.deid.allowlist import allow_list
from medhub.science.deid.attributes import NestedTooDeep, keep_allowed
from tests.science.imaging.pictures import SHARED_DATA

TABLE = SHARED_DATA / "deid" / "innolitics" / "confidentiality_profile_attributes.json"


def kept(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return keep_allowed(dataset, lambda uid: "2.25.1")


def test_only_kinds_of_values_without_free_text_are_on_the_list() -> None:
    listed = allow_list()
    kinds = {dictionary_VR(tag) for tag, keyword in listed.tags.items() if keyword not in listed.vocabulary}
    text_and_time = {"AE", "AS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UN", "UR", "UT", "OB"}
    assert not kinds & text_and_time
    assert not any((tag >> 16) % 2 for tag in listed.tags)


def test_every_attribute_has_its_reason() -> None:
    listed = allow_list()
    assert set(listed.reasons) == set(listed.tags.values())
    assert all(reason.endswith(".") for reason in listed.reasons.values())


@pytest.mark.skipif(not TABLE.is_file(), reason="the shared data are not here")
def test_the_list_names_nothing_of_the_confidentiality_profile_but_uids_that_are_replaced() -> None:
    profile = {row["id"].upper(): row["basicProfile"] for row in json.loads(TABLE.read_text())}
    both = {keyword: profile[f"{tag:08X}"] for tag, keyword in allow_list().tags.items() if f"{tag:08X}" in profile}
    assert set(both.values()) <= {"U"}
    assert all(dictionary_VR(tag_for_keyword(keyword) or 0) == "UI" for keyword in both)


@pytest.mark.skipif(not TABLE.is_file(), reason="the shared data are not here")
@pytest.mark.parametrize("nested", [False, True])
def test_no_value_of_the_confidentiality_profile_survives(nested: bool) -> None:
    """Every attribute of PS3.15, Annex E, set to a value that can be found again, at the top and in a sequence."""
    from medhub.science.deid.uids import keyed_uid

    full = Dataset()
    values = {"UI": "1.2.99.67657865", "DA": "19420117", "TM": "044200.123", "DT": "19420117044200", "AS": "042Y"}
    for row in json.loads(TABLE.read_text()):
        try:
            tag = int(row["id"], 16)
            vr = dictionary_VR(tag)
        except (ValueError, KeyError):
            continue
        if vr in values:
            full.add(DataElement(tag, vr, values[vr]))
        elif vr in ("LO", "SH", "PN", "ST", "LT", "UT", "UC", "CS", "AE"):
            full.add(DataElement(tag, vr, "CANARY"))
        elif vr in ("OB", "UN"):
            full.add(DataElement(tag, vr, b"CANARY"))
    assert len(full) > 350
    dataset = full
    if nested:
        dataset = Dataset()
        dataset.SharedFunctionalGroupsSequence = [full]
        dataset.PerFrameFunctionalGroupsSequence = [full, full]
    result = keep_allowed(dataset, lambda uid: keyed_uid(bytes(16), uid))
    text = result.to_json()
    for value in ("CANARY", "67657865", "19420117", "044200", "042Y"):
        assert value not in text


def test_codes_stay_only_with_a_known_value() -> None:
    assert kept(BodyPartExamined="CHEST").BodyPartExamined == "CHEST"
    assert kept(RescaleType="HU").RescaleType == "HU"
    assert "RescaleType" not in kept(RescaleType="Doe^Jane")
    assert "BodyPartExamined" not in kept(BodyPartExamined="DOE JANE")
    assert kept(ImageType=["DERIVED", "DOE", "SECONDARY"]).ImageType == ["DERIVED", "SECONDARY"]


def test_numbers_are_written_anew() -> None:
    assert str(kept(RescaleSlope="  1.50000 ")["RescaleSlope"].value) == "1.5"
    assert kept(ImagePositionPatient=[-1.25, 0, 3e9]).ImagePositionPatient == [-1.25, 0, 3e9]
    assert kept(WindowCenter=[40, 50]).WindowCenter == [40, 50]
    for value in (0.1 + 0.2, -1.2345678901234567e-7, 123456789.123456789, 1e300):
        text = str(kept(SliceLocation=f"{value:.9g}")["SliceLocation"].value)
        assert len(text) <= 16
        assert float(text) == pytest.approx(value, rel=1e-6)


def test_a_value_that_is_no_number_goes() -> None:
    dataset = Dataset()
    dataset.add(DataElement("SeriesNumber", "LO", "Doe"))
    dataset.add(DataElement("Rows", "OB", b"CANARY"))
    dataset.add(DataElement("KVP", "LO", "nan"))
    assert len(keep_allowed(dataset, str)) == 0


def test_an_attribute_in_a_form_that_carries_text_goes() -> None:
    dataset = Dataset()
    dataset.add(DataElement("LUTData", "OB", b"CANARY" * 60_000))
    result = keep_allowed(dataset, str)
    assert "CANARY" not in result.to_json()
    assert "LUTData" not in result


def test_uids_of_the_standard_stay_and_others_are_replaced() -> None:
    result = kept(SOPClassUID="1.2.840.10008.5.1.4.1.1.2", FrameOfReferenceUID="1.2.3")
    assert result.SOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert result.FrameOfReferenceUID == "2.25.1"
    assert "SOPClassUID" not in kept(SOPClassUID="1.2.3.4")


def test_sequences_deeper_than_allowed_are_refused() -> None:
    inner = Dataset()
    for _ in range(4):
        outer = Dataset()
        outer.SharedFunctionalGroupsSequence = [inner]
        inner = outer
    keep_allowed(inner, str, max_depth=4)
    with pytest.raises(NestedTooDeep):
        keep_allowed(inner, str, max_depth=3)


def test_the_received_dataset_is_not_changed() -> None:
    dataset = Dataset()
    dataset.PatientName, dataset.Rows = "Doe", 4
    keep_allowed(dataset, str)
    assert dataset.PatientName == "Doe"
