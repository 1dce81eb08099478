# SPDX-License-Identifier: Apache-2.0
"""What is shown of every grey, palette and color file, against pydicom's own functions to the last bit."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut, convert_color_space
from pydicom.pixels.utils import pixel_array

from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.deid.profile import find_profile
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.dicom.received_file import is_dicom, quiet
from medhub.science.imaging.rendering.frames import read_frame, read_stored
from tests.science.imaging.pictures import CONTEXT, SHARED_DATA

# The package's own files, listed: its function that finds them asks the network.
BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
FOLDER = SHARED_DATA / "dicom" if (SHARED_DATA / "dicom").is_dir() else BUNDLED
LIMITS = DecodingLimits()
OPEN = find_profile("research-max-utility")
_MOST_PIXELS = 700_000


def files() -> list[Path]:
    paths = []
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file() and path.stat().st_size < 6_000_000:
            with path.open("rb") as file:
                if is_dicom(file.read(132)):
                    paths.append(path)
    return paths


def values_of(dataset: Dataset, frame: int) -> Dataset:
    """What pydicom's functions look at, for one frame: they know nothing of functional groups."""
    seen = Dataset()
    for keyword in (
        *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "WindowCenter", "WindowWidth"),
        *("VOILUTFunction", "BitsStored", "PixelRepresentation", "PhotometricInterpretation"),
    ):
        if keyword in dataset:
            seen[keyword] = dataset[keyword]
    shared = list(dataset.get("SharedFunctionalGroupsSequence", None) or ())[:1]
    own = list(dataset.get("PerFrameFunctionalGroupsSequence", None) or ())[frame : frame + 1]
    for group in (*shared, *own):
        for keyword in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in list(group.get(keyword, None) or ())[:1]:
                seen.update(item)
    return seen


def wanted_levels(stored: NDArray[Any], dataset: Dataset, frame: int) -> NDArray[np.float64] | None:
    """Shares of white by pydicom's functions; ``None`` without a window or table, where it says nothing."""
    seen = values_of(dataset, frame)
    measured = apply_modality_lut(stored, seen)
    if "VOILUTSequence" in seen:
        shown = apply_voi_lut(np.floor(measured).astype(np.int64), seen, prefer_lut=True)
        shares = shown / (2 ** int(seen.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    elif seen.get("WindowCenter") not in (None, "") and seen.get("WindowWidth") not in (None, ""):
        shown = apply_voi_lut(measured.astype(np.float64), seen, prefer_lut=False)
        bits, signed = int(seen.BitsStored), int(seen.get("PixelRepresentation", 0) or 0)
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        if "ModalityLUTSequence" in seen:
            low, high = 0, 2 ** int(seen.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
        elif seen.get("RescaleSlope") is not None and seen.get("RescaleIntercept") is not None:
            slope, intercept = float(seen.RescaleSlope), float(seen.RescaleIntercept)
            low, high = low * slope + intercept, high * slope + intercept
        shares = (shown - low) / (high - low)
    elif int(seen.BitsStored) <= 8 and not seen.get("PixelRepresentation") and measured is stored:
        shares = stored / (2 ** int(seen.BitsStored) - 1)
    else:
        return None
    inverse = "MONOCHROME1" in seen.PhotometricInterpretation or "INVERSE" in str(dataset.get("PresentationLUTShape"))
    shares = np.asarray(np.clip(shares, 0, 1), np.float64)
    return 1 - shares if inverse else shares


def compared(path: Path, counts: Counter[str]) -> None:
    data = path.read_bytes()
    try:
        prepared = prepare_arrival(data, context=CONTEXT.__class__(**{**vars(CONTEXT), "profile": OPEN}), limits=LIMITS)
    except Unacceptable:
        counts["refused"] += 1
        return
    if prepared.frames == 0 or prepared.rows * prepared.columns > _MOST_PIXELS:
        counts["without pixels, or large"] += 1
        return
    cleaned, received = dcmread(BytesIO(prepared.dicom)), dcmread(path, force=True)
    for frame in sorted({0, prepared.frames // 2, prepared.frames - 1}):
        stored, photometric = read_stored(prepared.dicom, frame)
        try:
            reference = pixel_array(received, index=frame, raw=True)
        except Exception:
            counts["read here and not by pydicom"] += 1
            return
        if prepared.samples == 1:
            name = f"{path.name}, frame {frame}"
            assert np.array_equal(stored, reference, equal_nan=stored.dtype.kind == "f"), f"{name}: stored values"
            counts["stored values"] += 1
        picture = read_frame(prepared.dicom, frame)
        if prepared.shown_as == "segmentation" or stored.dtype.kind == "f":
            continue
        if photometric == "PALETTE COLOR":
            colors = apply_color_lut(reference, received)[..., :3].astype(np.int64)
            bits = int(received.RedPaletteColorLookupTableDescriptor[2])
            deep = bits > 8 and colors.max() > 255
            assert np.array_equal(picture, colors >> (bits - 8) if deep else colors), f"{path.name}: palette"
            counts["palette"] += 1
        elif prepared.samples == 3:
            compare_colors(path, picture, reference, received, cleaned, counts)
        else:
            shares = wanted_levels(reference, cleaned, frame)
            if shares is None:
                counts["without a window"] += 1
                continue
            expected_levels = shares * 255
            # Halfway between two levels either is right, since the order of floating-point operations differs.
            at_half = np.abs(expected_levels - np.floor(expected_levels) - 0.5) < 1e-6
            assert np.array_equal(picture[..., 0][~at_half], np.rint(expected_levels)[~at_half]), f"{path.name}: levels"
            assert np.abs(picture[..., 0] - expected_levels).max() <= 0.5 + 1e-6
            counts["grey levels"] += 1


def compare_colors(
    path: Path, picture: NDArray[Any], raw: NDArray[Any], received: Dataset, cleaned: Dataset, counts: Counter[str]
) -> None:
    photometric = str(received.PhotometricInterpretation)
    lossy = "JPEGBaseline" in cleaned.file_meta.TransferSyntaxUID.keyword
    if lossy or photometric in ("YBR_ICT", "YBR_RCT"):
        counts["color by another decoder"] += 1
        return
    if photometric.startswith("YBR_FULL"):
        raw = convert_color_space(raw, photometric, "RGB")
    expected = raw >> max(0, int(received.BitsStored) - 8)
    assert np.array_equal(picture, expected), f"{path.name}: colors"
    counts["color"] += 1


@pytest.mark.parametrize("part", range(4))
def test_what_is_shown_of_real_files_is_what_pydicom_computes(part: int) -> None:
    counts: Counter[str] = Counter()
    wrong = []
    several = files()[part::4]
    with quiet():
        for path in several:
            try:
                compared(path, counts)
            except AssertionError as difference:
                wrong.append(str(difference).splitlines()[0])
    assert not wrong
    assert counts["stored values"] > len(several) // 6
    assert counts["grey levels"] > 3
