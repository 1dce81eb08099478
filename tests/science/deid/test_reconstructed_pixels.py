# SPDX-License-Identifier: Apache-2.0
"""Text in the pixels of images that scanners reconstruct: it is found under every profile, and nothing else changes."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
)

from medhub.science.arrivals.burned_in_text import clean_burned_in_text
from medhub.science.arrivals.cleaned_image import CleaningContext
from medhub.science.arrivals.dicom_arrivals import prepare_dicom
from medhub.science.deid import pixel_cleaning
from medhub.science.deid.file_cleaning import clean_file
from medhub.science.deid.frame_layouts import FrameResult, Layouts
from medhub.science.deid.profile import Pixels, Profile, find_profile, named_profiles
from medhub.science.imaging.decoding_limits import DecodingLimits
from medhub.science.imaging.dicom.file_writing import write_file
from medhub.science.imaging.rendering.frames import read_stored
from tests.factories.burned import write_line
from tests.factories.slices import make_slice

KEY = b"a key of sixteen bytes or more"
LIMITS = DecodingLimits()
CLASSES = {
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "PT": PositronEmissionTomographyImageStorage,
    "NM": NuclearMedicineImageStorage,
}


def _file(*frames: NDArray[np.float64], modality: str = "CT", photometric: str = "MONOCHROME2", **more: Any) -> bytes:
    """A file of reconstructed slices (values 0..1) of 12 bits, with a name in its header."""
    dataset = Dataset()
    dataset.SOPClassUID = EnhancedMRImageStorage if len(frames) > 1 else CLASSES[modality]
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.9", "1.2.3", "1.2.3.4"
    dataset.PatientID, dataset.PatientName, dataset.Modality = "H-4711", "Kowalska^Anna", modality
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Rows, dataset.Columns = frames[0].shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, photometric
    if len(frames) > 1:
        dataset.NumberOfFrames = len(frames)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    values = np.stack([np.clip(frame, 0, 1) * 4095 for frame in frames]).astype("<u2")
    if photometric == "MONOCHROME1":
        values = 4095 - values
    dataset["PixelData"] = DataElement(0x7FE00010, "OW", values.tobytes())
    for name, value in more.items():
        setattr(dataset, name, value)
    return write_file(dataset, ExplicitVRLittleEndian)


def _written(values: NDArray[np.float64], text: str, at: tuple[int, int], size: int, level: float) -> NDArray[np.bool_]:
    """Write a line into a slice; return its ink."""
    before = values.copy()
    write_line(values, text, at, size, level)
    return np.asarray(np.abs(values - before) > 0.3 * np.abs(values - before).max())


def _read_ct() -> bytes:
    path = get_testdata_file("CT_small.dcm", download=False)
    assert path is not None
    return Path(path).read_bytes()


def _clean(data: bytes, profile: str = "clinical-photo") -> tuple[str, bytes, bool]:
    """The reason for a review, the file that the server stores, and whether a quick search was enough."""
    context = CleaningContext(
        uid_key=bytes(16), patient_code="P-1", received_at=datetime.now(UTC), profile=find_profile(profile)
    )
    image = prepare_dicom(data, context, LIMITS)
    if not image.unseen:
        return "", image.dicom, image.searched
    cleaned = clean_burned_in_text(data, image.dicom, context, LIMITS)
    return cleaned.doubt, cleaned.dicom, False


@pytest.mark.parametrize("profile", sorted(named_profiles()))
def test_a_name_a_number_and_a_birth_date_in_a_ct_are_black_under_every_profile(profile: str) -> None:
    values = make_slice(1, 256)
    lines = [
        _written(values, text, (6, 6 + 18 * line), 12, 1.0)
        for line, text in enumerate(("KOWALSKA, ANNA", "ID 4711233", "12.03.1974"))
    ]
    doubt, stored, _ = _clean(_file(values), profile)
    pixels = read_stored(stored)[0]
    assert not doubt
    for ink in lines:
        assert (pixels[ink] == pixels.min()).mean() > 0.95
    assert (pixels == (values * 4095).astype(int)).mean() > 0.85


@pytest.mark.parametrize(
    ("modality", "photometric", "size", "level", "turned"),
    [
        ("MR", "MONOCHROME2", 12, 1.0, False),
        ("PT", "MONOCHROME1", 14, 1.0, False),
        ("NM", "MONOCHROME2", 20, 0.6, False),
        ("CT", "MONOCHROME2", 16, 0.0, False),
        ("CT", "MONOCHROME1", 34, 0.9, True),
    ],
)
def test_text_of_any_size_direction_and_level_is_found_in_every_modality(
    modality: str, photometric: str, size: int, level: float, turned: bool
) -> None:
    values = make_slice(2, 256)
    if level == 0.0:
        values[96:160] = np.maximum(values[96:160], 0.5)
    if turned:
        values = np.rot90(values).copy()
    ink = _written(values, "Haddad Fatima", (12, 104 if level == 0.0 else 4), size, level)
    if turned:
        values, ink = np.rot90(values).copy(), np.rot90(ink)
    doubt, stored, _ = _clean(_file(values, modality=modality, photometric=photometric))
    pixels = read_stored(stored)[0]
    black = pixels.max() if photometric == "MONOCHROME1" else pixels.min()
    assert doubt or (pixels[ink] == black).mean() > 0.95


def test_text_in_a_single_frame_of_many_is_found() -> None:
    frames = [make_slice(seed, 128) for seed in range(6)]
    ink = _written(frames[4], "KOWALSKA", (8, 4), 13, 1.0)
    doubt, stored, _ = _clean(_file(*frames, modality="MR"))
    assert not doubt
    assert (read_stored(stored, 4)[0][ink] == read_stored(stored, 4)[0].min()).mean() > 0.95
    for number in (0, 1, 2, 3, 5):
        assert (read_stored(stored, number)[0] == (frames[number] * 4095).astype(int)).all()


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "examples_overlay.dcm", "693_J2KI.dcm"])
def test_real_slices_without_text_do_not_change_and_do_not_wait(name: str) -> None:
    path = get_testdata_file(name, download=False)
    assert path, "pydicom contains these files"
    data = Path(path).read_bytes()
    doubt, stored, _ = _clean(data)
    assert not doubt
    assert (read_stored(stored)[0] == dcmread(BytesIO(data)).pixel_array).all()


def test_a_slice_without_text_is_stored_without_a_second_search() -> None:
    doubt, _, searched = _clean(_read_ct())
    assert (doubt, searched) == ("", True)


def test_another_name_at_the_same_position_of_a_series_is_read_again() -> None:
    layouts = Layouts()
    profile = find_profile("clinical-photo")
    for text in ("10 cm", "10 cm", "KOWAL", "10 cm"):
        values = make_slice(4, 256)
        ink = _written(values, text, (12, 8), 14, 1.0)
        result = clean_file(_file(values), profile, KEY, layouts=layouts)
        pixels = read_stored(result.data)[0]
        assert result.outcome == "cleaned"
        assert ((pixels[ink] == pixels.min()).mean() > 0.95) == (text == "KOWAL")


def test_large_frames_are_remembered_only_as_far_as_memory_allows() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)  # 40 kB with its mask
    layouts = Layouts(most_bytes=100_000)
    for series in ("a", "a", "b", "b", "b"):
        layouts.add(series, picture, FrameResult(np.zeros((100, 100), bool)))
        assert layouts.of(series)
    assert (len(layouts.of("a")), len(layouts.of("b"))) == (0, 2)
    layouts.add("c", np.zeros((300, 300, 3), np.uint8), FrameResult(np.zeros((300, 300), bool)))
    assert not any(map(layouts.of, "abc"))


def test_an_area_that_was_read_is_not_read_again_in_the_next_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    layouts, profile = Layouts(), find_profile("clinical-photo")
    data = _file(np.where(_written(values := make_slice(5, 256), "KOWALSKA", (12, 8), 14, 1.0), 1.0, values))
    first = clean_file(data, profile, KEY, layouts=layouts)
    monkeypatch.setattr(pixel_cleaning, "_check_frame", lambda *_: pytest.fail("the detector ran again"))
    assert clean_file(data, profile, KEY, layouts=layouts).data == first.data


def test_a_profile_that_cleans_no_pixels_lets_slices_with_text_wait() -> None:
    profile = Profile(name="plain", title="Plain", version=1, pixels=Pixels(clean=False, also_reconstructed=False))
    assert clean_file(_read_ct(), profile, KEY).outcome == "cleaned"
    values = make_slice(6, 256)
    _written(values, "KOWALSKA, ANNA", (12, 8), 14, 1.0)
    assert clean_file(_file(values), profile, KEY).outcome == "quarantined"
