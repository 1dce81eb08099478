# SPDX-License-Identifier: Apache-2.0
"""The JPEG decoder that Medhub adds to pydicom, against the encoder and decoder of DCMTK."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

from medhub.science import pixel_decoders
from medhub.science.imaging.dicom.file_writing import write_file
from tests.conftest import missing

pixel_decoders.register()


def native(bits: int, samples: int, *, signed: bool = False) -> bytes:
    """A file of 40 x 64 pixels with noise and edges, which use the whole range of the stored bits."""
    dtype = np.dtype(np.uint8 if bits <= 8 else np.uint16)
    noise = np.random.default_rng(bits).integers(0, 2**bits, (40, 64, samples))
    noise[:20] = np.linspace(0, 2**bits - 1, 64).astype(int)[None, :, None]
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.7"), UID("2.25.1")
    dataset.PatientID = dataset.PatientName = dataset.StudyInstanceUID = dataset.SeriesInstanceUID = "2.25.2"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 40, 64, samples
    dataset.PhotometricInterpretation = "RGB" if samples == 3 else "MONOCHROME2"
    if samples == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * dtype.itemsize, bits, bits - 1
    dataset.PixelRepresentation = int(signed)
    dataset.PixelData = noise.astype(dtype).tobytes()
    dataset["PixelData"].VR = "OB" if bits <= 8 else "OW"
    return write_file(dataset, ExplicitVRLittleEndian)


def dcmtk(folder: Path, data: bytes, *arguments: str) -> Path:
    """Convert a file by a program of DCMTK."""
    if shutil.which(arguments[0]) is None:
        missing("DCMTK (Debian: dcmtk)")
    source, target = folder / "in.dcm", folder / f"{arguments[0]}.dcm"
    source.write_bytes(data)
    subprocess.run([*arguments, str(source), str(target)], check=True, capture_output=True)
    return target


@pytest.mark.parametrize("syntax", [JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1])
def test_no_decoder_under_the_gpl_is_used(syntax: UID) -> None:
    assert pixel_decoders.PLUGIN in get_decoder(syntax).available_plugins
    assert "pylibjpeg" not in get_decoder(syntax).available_plugins


@pytest.mark.parametrize("option", ["+el", "+e1"])
@pytest.mark.parametrize(
    ("bits", "samples", "signed"), [(8, 1, False), (8, 3, False), (12, 1, False), (16, 1, False), (16, 1, True)]
)
def test_lossless_jpeg_gives_back_each_sample(
    option: str, bits: int, samples: int, signed: bool, tmp_path: Path
) -> None:
    data = native(bits, samples, signed=signed)
    compressed = dcmtk(tmp_path, data, "dcmcjpeg", option)
    (tmp_path / "native.dcm").write_bytes(data)
    assert dcmread(compressed).file_meta.TransferSyntaxUID in (JPEGLossless, JPEGLosslessSV1)
    np.testing.assert_array_equal(pixel_array(compressed, raw=True), pixel_array(tmp_path / "native.dcm", raw=True))


def test_lossy_jpeg_of_twelve_bits_is_within_one_of_another_decoder(tmp_path: Path) -> None:
    compressed = dcmtk(tmp_path, native(12, 1), "dcmcjpeg", "+ee", "+q", "90")
    assert dcmread(compressed).file_meta.TransferSyntaxUID == JPEGExtended12Bit
    reference = dcmtk(tmp_path, compressed.read_bytes(), "dcmdjpeg")
    difference = pixel_array(compressed, raw=True).astype(int) - pixel_array(reference, raw=True).astype(int)
    assert np.abs(difference).max() <= 1


def test_a_stream_of_another_size_than_the_dataset_is_refused(tmp_path: Path) -> None:
    dataset = dcmread(dcmtk(tmp_path, native(12, 1), "dcmcjpeg", "+e1"))
    dataset.Rows = 80
    with pytest.raises(RuntimeError, match="80 x 64"):
        pixel_array(dataset, raw=True)
