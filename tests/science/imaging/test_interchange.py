# SPDX-License-Identifier: Apache-2.0
"""What another toolkit (DCMTK) reads out of the files that are stored."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from medhub.science.arrivals.cleaning import prepare_arrival
from tests.conftest import missing
from tests.science.imaging.datasets import dataset_of, file_of, ramp
from tests.science.imaging.pictures import CONTEXT, LIMITS, cells, decoded, deep_png, encode, exif


def dcmtk(program: str, *arguments: str) -> None:
    if not shutil.which(program):
        missing(f"{program} of DCMTK")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr.strip()


def store(data: bytes, folder: Path) -> str:
    path = folder / "stored.dcm"
    path.write_bytes(prepare_arrival(data, context=CONTEXT, limits=LIMITS).dicom)
    return str(path)


FILES = {
    "jpeg": encode(cells(), "JPEG", quality=95, subsampling=0),
    "grey jpeg": encode(cells()[..., 0], "JPEG"),
    "png": encode(cells(), "PNG"),
    "one pixel": encode(cells()[:1, :1], "PNG"),
    "turned": encode(cells(), "JPEG", exif=exif(6)),
    "sixteen bits": deep_png(ramp(dtype=np.uint16)),
    "dicom": file_of(dataset_of(ramp(dtype=np.uint16), WindowCenter=5, WindowWidth=9)),
}


@pytest.mark.parametrize("name", FILES)
def test_every_stored_file_is_read_without_a_word(name: str, tmp_path: Path) -> None:
    dcmtk("dcmdump", "--quiet", "+L", store(FILES[name], tmp_path))


def test_the_pixels_of_a_kept_jpeg_are_the_same_elsewhere(tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    dcmtk("dcmj2pnm", "--write-png", store(FILES["jpeg"], tmp_path), str(out))
    assert np.abs(decoded(out.read_bytes()).astype(int) - decoded(FILES["jpeg"])).max() <= 2


@pytest.mark.parametrize("name", ["png", "sixteen bits"])
def test_pixels_that_were_compressed_without_loss_are_the_same_elsewhere(name: str, tmp_path: Path) -> None:
    source, out = store(FILES[name], tmp_path), tmp_path / "out.dcm"
    dcmtk("dcmdjpls", source, str(out))
    assert np.array_equal(dcmread(out).pixel_array, dcmread(source).pixel_array)
