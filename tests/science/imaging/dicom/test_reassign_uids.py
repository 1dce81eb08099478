# SPDX-License-Identifier: Apache-2.0
"""Files of every encoding under the UIDs of another place: two values change, and not a byte beside them."""

from __future__ import annotations

import io
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medhub.science.imaging.dicom.reassign_uids import reassign_uids

STUDY, SERIES = "2.25.1234567", "2.25.7654321.5"
NAMES = (
    "CT_small.dcm",  # Explicit VR Little Endian
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "JPGExtended.dcm",
    "waveform_ecg.dcm",
    "image_dfl.dcm",  # deflated
    "rtplan.dcm",
    "reportsi.dcm",
    "liver_1frame.dcm",  # one bit a pixel
)


def bytes_of(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert path is not None, name
    return Path(str(path)).read_bytes()


def raw(dataset: Dataset) -> dict[int, object]:
    """Each element as it is encoded in the file, without the two UIDs that change."""
    values = {}
    for tag in sorted(dataset.keys()):
        if tag not in (0x0020000D, 0x0020000E):
            element = dataset.get_item(tag)
            value = element.value if element is not None else None
            values[int(tag)] = [raw(item) for item in value] if isinstance(value, pydicom.Sequence) else value
    return values


@pytest.mark.parametrize("name", NAMES)
def test_all_else_stays_as_it_was(name: str) -> None:
    before = bytes_of(name)
    after = reassign_uids(before, STUDY, SERIES)
    old, new = (pydicom.dcmread(io.BytesIO(data)) for data in (before, after))
    assert (new.StudyInstanceUID, new.SeriesInstanceUID) == (STUDY, SERIES)
    assert new.file_meta.TransferSyntaxUID == old.file_meta.TransferSyntaxUID
    assert new.SOPInstanceUID == old.SOPInstanceUID == new.file_meta.MediaStorageSOPInstanceUID
    assert raw(new) == raw(old)


def test_done_back_the_file_is_the_same_again() -> None:
    before = reassign_uids(bytes_of("MR_small_RLE.dcm"), STUDY, SERIES)
    assert reassign_uids(reassign_uids(before, "2.25.9", "2.25.10"), STUDY, SERIES) == before


def test_a_deflated_file_stays_deflated() -> None:
    after = reassign_uids(bytes_of("image_dfl.dcm"), STUDY, SERIES)
    assert pydicom.dcmread(io.BytesIO(after)).file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    assert STUDY.encode() not in after


def test_what_names_no_study_is_refused() -> None:
    dataset = pydicom.dcmread(io.BytesIO(bytes_of("CT_small.dcm")))
    del dataset.StudyInstanceUID
    out = io.BytesIO()
    dataset.save_as(out)
    with pytest.raises(ValueError, match="names no study"):
        reassign_uids(out.getvalue(), STUDY, SERIES)
