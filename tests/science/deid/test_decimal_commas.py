# SPDX-License-Identifier: Apache-2.0
"""Numbers with a decimal comma are read as meant, or the object is refused; never half of a transform stays."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.deid.file_cleaning import clean_file
from medhub.science.deid.profile import find_profile
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.rendering.frames import read_frame
from tests.science.imaging.datasets import dataset_of, file_of
from tests.science.imaging.pictures import CONTEXT, LIMITS


def replaced(data: bytes, *pairs: tuple[bytes, bytes]) -> bytes:
    for before, after in pairs:
        assert data.count(before) == 1
        assert len(before) == len(after)
        data = data.replace(before, after)
    return data


def ct(syntax: UID = ExplicitVRLittleEndian, **more: Any) -> bytes:
    pixels = np.tile(np.arange(0, 2048, 64, dtype="<u2"), (16, 1))
    if syntax == ExplicitVRBigEndian:
        pixels = pixels.astype(">u2")
    attributes = {
        "RescaleIntercept": "-1024.0",
        "RescaleSlope": "1.0",
        "WindowCenter": "40.5",
        "WindowWidth": "400.25",
        "PixelSpacing": ["0.143", "0.1437"],
        "SliceThickness": "2.5",
    }
    return file_of(dataset_of(pixels, **(attributes | more)), syntax)


COMMAS = (
    (b"-1024.0", b"-1024,0"),
    (b"40.5", b"40,5"),
    (b"400.25", b"400,25"),
    (b"0.143\\0.1437", b"0,143\\0,1437"),
)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_decimal_comma_is_a_point(syntax: UID) -> None:
    point = ct(syntax)
    comma = replaced(point, *COMMAS)
    prepared = prepare_arrival(comma, context=CONTEXT, limits=LIMITS)
    wanted = prepare_arrival(point, context=CONTEXT, limits=LIMITS)
    dataset = dcmread(BytesIO(prepared.dicom))
    assert dataset.RescaleIntercept == -1024
    assert [float(value) for value in dataset.PixelSpacing] == [0.143, 0.1437]
    assert np.array_equal(read_frame(prepared.dicom), read_frame(wanted.dicom))
    assert prepared.notes == (
        "Decimal commas were read as points: PixelSpacing, RescaleIntercept, WindowCenter, WindowWidth.",
    )
    lines = [line for line in prepared.manifest if "comma" in line.rule]
    assert {line.name for line in lines} == {"PixelSpacing", "RescaleIntercept", "WindowCenter", "WindowWidth"}
    assert wanted.notes == ()
    cleaned = clean_file(comma, find_profile("research-max-utility"), bytes(16))
    assert dcmread(BytesIO(cleaned.data or cleaned.doubtful)).RescaleIntercept == -1024
    assert [action.name for action in cleaned.actions if "comma" in action.rule]


def test_commas_in_the_groups_of_frames_are_read() -> None:
    dataset = dataset_of(np.zeros((2, 8, 8), np.uint16), frames=2)
    groups = []
    for intercept in ("-1024.0", "-1000.5"):
        transform, group = Dataset(), Dataset()
        transform.RescaleSlope, transform.RescaleIntercept, transform.RescaleType = "1.25", intercept, "HU"
        group.PixelValueTransformationSequence = [transform]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    data = replaced(file_of(dataset), (b"-1024.0", b"-1024,0"), (b"-1000.5", b"-1000,5"))
    prepared = prepare_arrival(data, context=CONTEXT, limits=LIMITS)
    stored = dcmread(BytesIO(prepared.dicom)).PerFrameFunctionalGroupsSequence
    values = [group.PixelValueTransformationSequence[0].RescaleIntercept for group in stored]
    assert values == [-1024, -1000.5]
    assert prepared.notes


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"-1024.0", b"-1,024 "),
        (b"-1024.0", b"-1.0.24"),
        (b"-1024.0", b"minus 1"),
        (b"-1024.0", b"nan    "),
        (b"-1024.0", b"-1,02,4"),
        (b"0.143\\0.1437", b"0.143\\0.14x7"),
        (b"0.143\\0.1437", b"1,143\\0.1437"),
        (b"2.5 ", b"2.5m"),
    ],
)
def test_another_number_that_the_pixels_need_is_refused(before: bytes, after: bytes) -> None:
    data = replaced(ct(), (before, after))
    with pytest.raises(Unacceptable, match="is no number by the standard"):
        prepare_arrival(data, context=CONTEXT, limits=LIMITS)
    assert clean_file(data, find_profile("research-max-utility"), bytes(16)).outcome == "quarantined"


@pytest.mark.parametrize("text", ["", " ", "1e3", "+2.5", "-.5", "5."])
def test_numbers_of_the_standard_are_not_touched(text: str) -> None:
    dataset = dataset_of(np.zeros((8, 8), np.uint16), RescaleSlope="1")
    dataset.RescaleIntercept = text.strip()
    prepared = prepare_arrival(file_of(dataset), context=CONTEXT, limits=LIMITS)
    assert prepared.notes == ()


def test_a_window_that_is_no_number_is_left_out() -> None:
    data = replaced(ct(), (b"400.25", b"wide  "))
    prepared = prepare_arrival(data, context=CONTEXT, limits=LIMITS)
    assert "WindowWidth" not in dcmread(BytesIO(prepared.dicom))
    assert len(np.unique(read_frame(prepared.dicom))) > 10
