# SPDX-License-Identifier: Apache-2.0
"""Small DICOM files that tests make for themselves."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

CANARY = "CANARY^Jane"
SOP_CLASS = "1.2.840.10008.5.1.4.1.1.7"


def dataset_of(pixels: NDArray[Any], *, frames: int | None = None, **attributes: Any) -> Dataset:
    """A dataset of an image: (rows, columns[, 3]), or (frames, rows, columns[, 3]) when ``frames`` is given."""
    shape = pixels.shape[1:] if frames else pixels.shape
    dataset = Dataset()
    dataset.SOPClassUID = SOP_CLASS
    dataset.SOPInstanceUID = "1.2.3.4.5"
    dataset.StudyInstanceUID = "1.2.3.4"
    dataset.SeriesInstanceUID = "1.2.3.4.1"
    dataset.Modality = "OT"
    dataset.Rows, dataset.Columns = shape[:2]
    dataset.SamplesPerPixel = 3 if len(shape) == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if len(shape) == 3 else "MONOCHROME2"
    if len(shape) == 3:
        dataset.PlanarConfiguration = 0
    if frames:
        dataset.NumberOfFrames = frames
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = pixels.tobytes()
    dataset.add(DataElement("PixelData", "OB" if bits == 8 else "OW", data + b"\x00" * (len(data) % 2)))
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def file_of(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian, *, preamble: bytes = bytes(128)) -> bytes:
    """Write a dataset as a file."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", SOP_CLASS)
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", generate_uid())
    dataset.file_meta = meta
    dataset.preamble = preamble
    if syntax.is_encapsulated:
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    out = BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def ramp(rows: int = 24, columns: int = 32, dtype: type = np.uint8) -> NDArray[Any]:
    """Grey values that are all different as far as the type allows."""
    return np.arange(rows * columns).reshape(rows, columns).astype(dtype)
