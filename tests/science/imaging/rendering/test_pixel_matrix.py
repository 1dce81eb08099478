# SPDX-License-Identifier: Apache-2.0
"""Every accepted combination of pixel attributes is shown as DCMTK or pydicom shows it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.deid.profile import find_profile
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.rendering.frames import read_frame
from tests.science.imaging.dcmtk import dcmtk_picture
from tests.science.imaging.pictures import CONTEXT, LIMITS
from tests.science.imaging.pixel_matrix import PixelCase, dcmtk_options, file_of_case, pixel_cases

CASES: dict[UID, list[PixelCase]] = defaultdict(list)
for _case in pixel_cases():
    CASES[_case.syntax].append(_case)
_pictures: dict[PixelCase, NDArray[Any]] = {}


def wanted(case: PixelCase, folder: Path) -> NDArray[Any]:
    twin = case.twin
    if twin not in _pictures:
        if twin.photometric.startswith("YBR_FULL") and twin.bits == 8:
            # DCMTK converts these by tables of integers, up to two levels away.
            picture: NDArray[Any] | None = pixel_array(BytesIO(file_of_case(twin))).astype(np.int64)
        else:
            picture = dcmtk_picture(folder, file_of_case(twin), *dcmtk_options(twin))
        assert picture is not None, twin
        _pictures[twin] = picture
    return _pictures[twin]


@pytest.mark.parametrize("syntax", CASES, ids=str)
def test_pictures_are_those_of_other_programs(syntax: UID, tmp_path: Path) -> None:
    context = replace(CONTEXT, profile=find_profile("research-max-utility"))
    different = []
    for case in CASES[syntax]:
        try:
            prepared = prepare_arrival(file_of_case(case), context=context, limits=LIMITS)
        except Unacceptable as refusal:
            different.append(f"{case}: refused: {refusal.message}")
            continue
        difference = np.abs(read_frame(prepared.dicom).astype(int) - wanted(case, tmp_path)).max()
        if difference > (3 if case.lossy else 1):
            different.append(f"{case}: {difference}")
    assert different == []
