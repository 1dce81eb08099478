# SPDX-License-Identifier: Apache-2.0
"""Making small photographs, each unlike the others."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage


def photograph(seed: int = 0, size: int = 96, form: str = "JPEG") -> bytes:
    """A picture of a few discs on a light ground, different for each seed."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    picture = np.full((size, size, 3), 225, np.float64)
    for _ in range(6):
        cx, cy, r = random.uniform(0, size), random.uniform(0, size), random.uniform(size / 12, size / 5)
        picture[(x - cx) ** 2 + (y - cy) ** 2 < r**2] = random.uniform(60, 200, 3)
    picture += random.normal(0, 4, picture.shape)
    buffer = io.BytesIO()
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(buffer, form)
    return buffer.getvalue()


def in_doubt(seed: int = 0) -> bytes:
    """A DICOM picture that says that writing is burned into it, where none can be found: a person must look."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.Modality = SecondaryCaptureImageStorage, "OT"
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.3.{seed}.1", "1.2.4", "1.2.5"
    dataset.PatientName, dataset.PatientID, dataset.BurnedInAnnotation = "Rahman^Aisha", "H-4711", "YES"
    with Image.open(io.BytesIO(photograph(seed))) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *pixels.shape[:2], 3
    dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = pixels.tobytes()
    buffer = io.BytesIO()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
