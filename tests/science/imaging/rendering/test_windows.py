# SPDX-License-Identifier: Apache-2.0
"""Windows and lookup tables as DCMTK applies them: the sign of a first value, and windows that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import DataElement, Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medhub.science.imaging.rendering.frames import read_frame
from medhub.science.imaging.rendering.grayscale import window_of
from tests.science.imaging.datasets import dataset_of, file_of
from tests.science.imaging.dcmtk import dcmtk_picture


def table(entries: int, first: int, vr: str, *, bits: int = 16) -> Dataset:
    item = Dataset()
    item.add(DataElement("LUTDescriptor", vr, [entries, first, bits]))
    item.add(DataElement("LUTData", "OW", np.linspace(0, 2**bits - 1, entries).astype("<u2").tobytes()))
    return item


def ramp_of(signed: bool, bits: int = 16) -> np.ndarray[Any, Any]:
    low = -(2 ** (bits - 1)) if signed else 0
    values = np.linspace(low, low + 2**bits - 1, 64 * 64).reshape(64, 64)
    return np.rint(values).astype("i2" if signed else "u2")


def assert_as_dcmtk(folder: Path, dataset: Dataset, *options: str, implicit: bool = False) -> None:
    data = file_of(dataset, ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)
    wanted = dcmtk_picture(folder, data, *options)
    assert wanted is not None
    assert len(np.unique(wanted)) > 50
    stored = file_of(dataset)
    assert np.abs(read_frame(stored).astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(
    ("signed", "intercept", "first", "vr"),
    [
        (False, -1024, -1024, "SS"),
        (False, -1024, 64512, "US"),
        (False, 0, 40000, "US"),
        (True, 0, -20000, "SS"),
        (True, 0, 45536, "US"),
        (True, 32768, 20000, "US"),
        (True, 32768, 40000 - 65536, "SS"),
        (False, -40000, -30000, "SS"),
    ],
)
def test_the_first_value_of_a_voi_table_has_the_sign_of_the_modality_values(
    tmp_path: Path, signed: bool, intercept: int, first: int, vr: str, implicit: bool
) -> None:
    dataset = dataset_of(ramp_of(signed), RescaleSlope="1", RescaleIntercept=str(intercept), RescaleType="HU")
    dataset.VOILUTSequence = [table(8000, first, vr)]
    if (signed and intercept == 32768 and first < 0) or (vr == "US" and first > 2**15 and (signed or intercept < 0)):
        # DCMTK goes by the value representation that is written; the right one says the same.
        right = dataset_of(ramp_of(signed), RescaleSlope="1", RescaleIntercept=str(intercept), RescaleType="HU")
        wanted = first + 65536 if first < 0 else first - 65536 if (signed and not intercept) or intercept < 0 else first
        right.VOILUTSequence = [table(8000, wanted, "SS" if wanted < 0 else "US")]
        assert np.array_equal(read_frame(file_of(dataset)), read_frame(file_of(right)))
        dataset = right
    assert_as_dcmtk(tmp_path, dataset, "+Wl", "1", implicit=False)


def test_a_voi_table_after_a_modality_table_of_signed_pixels() -> None:
    modality = table(65536 - 1, -32768, "SS")
    for first, vr in ((40000, "US"), (40000 - 65536, "SS")):
        dataset = dataset_of(ramp_of(True), ModalityLUTSequence=[modality], VOILUTSequence=[table(8000, first, vr)])
        picture = read_frame(file_of(dataset))
        assert picture.min() == 0
        assert picture.max() == 255
        # Values from 40,000 to 48,000 rise.
        values = picture[:, :, 0].ravel().astype(int)
        assert np.all(np.diff(values) >= 0)
        assert abs(int(np.argmax(values > 0)) - 40000 / 65535 * 4096) < 8


@pytest.mark.parametrize(
    ("center", "width"),
    [
        ("0", "0"),
        ("100", "-100"),
        ("2048", "0.4"),
        ("0.5", "0.9999"),
        (["", "2048"], ["", "4096"]),
        ("", ""),
        (["", ""], ["", ""]),
        ("2048", ""),
    ],
)
def test_an_impossible_window_is_no_window(tmp_path: Path, center: Any, width: Any) -> None:
    dataset = dataset_of(ramp_of(False, 12), BitsStored=12, HighBit=11, WindowCenter=center, WindowWidth=width)
    plain = dataset_of(ramp_of(False, 12), BitsStored=12, HighBit=11)
    wanted = dcmtk_picture(tmp_path, file_of(plain), "+Wm")
    assert wanted is not None
    assert np.abs(read_frame(file_of(dataset)).astype(int) - wanted).max() <= 1


def test_a_small_window_of_an_exact_function_is_one(tmp_path: Path) -> None:
    dataset = dataset_of(ramp_of(False, 12), BitsStored=12, HighBit=11, RescaleSlope="0.0001", RescaleIntercept="0")
    dataset.WindowCenter, dataset.WindowWidth = "0.2", "0.4"
    assert read_frame(file_of(dataset)).mean() == pytest.approx(127.5, abs=0.6)
    dataset.VOILUTFunction = "LINEAR_EXACT"
    assert read_frame(file_of(dataset)).mean() == pytest.approx(127.5, abs=3)
    dataset.WindowWidth = "0.1"
    picture = read_frame(file_of(dataset))
    assert (picture == 0).mean() > 0.3
    assert (picture == 255).mean() > 0.3


def test_the_first_window_of_several_that_is_one_counts() -> None:
    for centers, widths, wanted in (
        (["", "40"], ["", "400"], (40.0, 400.0)),
        (["50", "40"], ["0", "400"], (40.0, 400.0)),
        (["50", "40"], ["350", "400"], (50.0, 350.0)),
        (["", "40"], ["350", ""], None),
        (["50", "40"], ["350"], (50.0, 350.0)),
    ):
        dataset = Dataset()
        dataset.WindowCenter, dataset.WindowWidth = centers, widths
        assert window_of(dataset) == wanted


def test_a_slope_of_zero_is_none(tmp_path: Path) -> None:
    dataset = dataset_of(ramp_of(False, 12), BitsStored=12, HighBit=11, RescaleSlope="0", RescaleIntercept="5")
    assert len(np.unique(read_frame(file_of(dataset)))) > 200
