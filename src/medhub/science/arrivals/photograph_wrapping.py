# SPDX-License-Identifier: Apache-2.0
"""A photograph as DICOM: visible-light objects for eight bits, Secondary Capture for more (PS3.3, A.32 and A.8)."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any, NamedTuple

import jpeg_ls  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    SecondaryCaptureImageStorage,
    VLMicroscopicImageStorage,
    VLPhotographicImageStorage,
)

from medhub.science.arrivals.cleaned_image import CleanedImage, CleaningContext
from medhub.science.deid.attributes.method_attributes import write_method_attributes
from medhub.science.deid.manifest import ManifestLine
from medhub.science.deid.replacement_values import cap_age
from medhub.science.deid.uids import keyed_uid
from medhub.science.imaging.dicom.file_writing import write_file
from medhub.science.imaging.photographs.photograph import Photograph, thumbnail

_REMOVED_METADATA = ManifestLine(
    "", "all data beside the picture", "", "removed", "a photograph is written anew, and nothing of its file stays", 1
)
# JPEG-LS halves a photograph, but takes about a tenth of a second a million pixels at every reading.
_MOST_COMPRESSED_PIXELS = 4_200_000


class _Encoded(NamedTuple):
    """Pixels as the file carries them."""

    transfer_syntax: UID
    pixel_data: bytes
    photometric: str
    rows: int
    columns: int
    samples: int
    allocated: int
    size_bytes: int


def wrap_photograph(photograph: Photograph, data: bytes, context: CleaningContext) -> CleanedImage:
    """Write a photograph as DICOM.

    A kept JPEG stream becomes the one frame of a JPEG Baseline file, byte for byte (PS3.5, A.4.1). Decoded pixels are
    stored in JPEG-LS without loss (A.4.3) or, where that saves nothing or would make reading slow, as they are. Pixels
    of more than eight bits go into Secondary Capture, because visible-light objects have eight (PS3.3, C.8.12.1).

    Parameters
    ----------
    photograph
        The photograph.
    data
        The received bytes, which give the image its UID: the same file in the same study has the same.
    context
        Patient, study, series and day.

    Returns
    -------
    CleanedImage
        The DICOM file and its thumbnail.
    """
    encoded = _encode(photograph)
    dataset = _build_dataset(photograph, data, context)
    _write_pixels(dataset, photograph, encoded)
    return CleanedImage(
        dicom=write_file(dataset, encoded.transfer_syntax),
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        study_instance_uid=str(dataset.StudyInstanceUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        transfer_syntax_uid=str(encoded.transfer_syntax),
        modality=context.photograph_modality,
        kind="photograph",
        rows=encoded.rows,
        columns=encoded.columns,
        frames=1,
        samples=encoded.samples,
        bits=photograph.bits,
        lossless=photograph.exact,
        thumbnail=thumbnail(photograph.preview),
        notes=photograph.notes,
        manifest=(_REMOVED_METADATA,),
    )


def _build_dataset(photograph: Photograph, data: bytes, context: CleaningContext) -> Dataset:
    """Write all attributes except those of the pixels."""
    day = f"{context.received_at:%Y%m%d}"
    key, code = context.uid_key, context.patient_code
    study = context.study_instance_uid or keyed_uid(key, "study", code, day)
    dataset = Dataset()
    dataset.SOPClassUID = (
        VLMicroscopicImageStorage if context.photograph_modality == "GM" else VLPhotographicImageStorage
    )
    if photograph.bits > 8:
        dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = keyed_uid(key, "photograph", code, study, hashlib.sha256(data).hexdigest())
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = context.series_instance_uid or keyed_uid(
        key, "series", code, day, context.photograph_modality
    )
    dataset.Modality = context.photograph_modality
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = context.number
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.PatientOrientation = None
    if photograph.bits > 8:
        dataset.ConversionType = "DI"
    else:
        dataset.AcquisitionContextSequence = []
    write_day(dataset, context)
    write_subject(dataset, context, study_year=context.received_at.year)
    if photograph.notes:
        dataset.DerivationDescription = " ".join(photograph.notes)
    return dataset


# Attributes that every image has, if only empty (type 2; PS3.3, C.7.1.1, C.7.2.1, C.7.5.1).
_TYPE_2_KEYWORDS = (
    *("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"),
    *("StudyID", "Manufacturer"),
)


def write_subject(dataset: Dataset, context: CleaningContext, *, study_year: int | None) -> None:
    """Write the patient as far as the profile allows, and empty values for the other attributes of type 2.

    Parameters
    ----------
    dataset
        The de-identified dataset; it is changed. An age that it has stays.
    context
        The patient.
    study_year
        Year of the study, from which an age is written; ``None`` if it is not known.
    """
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = context.patient_code
    dataset.PatientID = context.patient_code
    if "characteristics" in context.profile.options:
        # The values of the project are used, not those of the file.
        if context.sex is not None:
            dataset.PatientSex = context.sex if context.sex in ("F", "M", "O") else None
        if context.birth_year is not None and study_year is not None and not dataset.get("PatientAge"):
            age = study_year - context.birth_year
            if 0 <= age < 1000:
                dataset.PatientAge = cap_age(f"{age:03d}Y")
    for keyword in _TYPE_2_KEYWORDS:
        if keyword not in dataset:
            setattr(dataset, keyword, None)


def write_day(dataset: Dataset, context: CleaningContext) -> None:
    """Write the day on which a photograph was received as its study date, as far as the profile allows dates."""
    options = context.profile.options
    day: str | None = None
    if "full-dates" in options or "modified-dates" in options:
        days = 0 if "full-dates" in options else context.subject.days
        day = f"{context.received_at + timedelta(days=days):%Y%m%d}"
    dataset.StudyDate = dataset.ContentDate = day
    dataset.StudyTime = dataset.ContentTime = None
    done = "kept" if "full-dates" in options else "modified" if day else "removed"
    write_method_attributes(dataset, context.profile, dates=[done])


def _encode(photograph: Photograph) -> _Encoded:
    stream = photograph.stream
    if stream is not None:
        samples = stream.components
        photometric = "MONOCHROME2" if samples == 1 else "RGB" if stream.rgb else "YBR_FULL_422"
        return _Encoded(
            JPEGBaseline8Bit,
            encapsulate([stream.data]),
            photometric,
            stream.rows,
            stream.columns,
            samples,
            8,
            len(stream.data),
        )
    assert photograph.pixels is not None  # noqa: S101 - a photograph has pixels or a stream
    pixels = np.ascontiguousarray(photograph.pixels)
    samples = 1 if pixels.ndim == 2 else 3
    rows, columns = pixels.shape[:2]
    photometric = "MONOCHROME2" if samples == 1 else "RGB"
    allocated = 8 * pixels.dtype.itemsize
    compressed = _compress(pixels)
    if compressed is not None:
        size = len(compressed)
        return _Encoded(JPEGLSLossless, encapsulate([compressed]), photometric, rows, columns, samples, allocated, size)
    native = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()
    return _Encoded(ExplicitVRLittleEndian, native, photometric, rows, columns, samples, allocated, len(native))


def _compress(pixels: NDArray[Any]) -> bytes | None:
    """Compress without loss by JPEG-LS; ``None`` when that saves nothing."""
    if not 1_024 <= pixels.shape[0] * pixels.shape[1] <= _MOST_COMPRESSED_PIXELS:
        return None
    # The codec describes sizes in 16 bits.
    if max(pixels.shape[:2]) > 65_535:
        return None
    interleave = 0 if pixels.ndim == 2 else 2
    compressed = bytes(jpeg_ls.encode_array(pixels, interleave_mode=interleave))
    return compressed if len(compressed) < pixels.nbytes else None


def _write_pixels(dataset: Dataset, photograph: Photograph, encoded: _Encoded) -> None:
    dataset.SamplesPerPixel = encoded.samples
    dataset.PhotometricInterpretation = encoded.photometric
    if encoded.samples == 3:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = encoded.rows, encoded.columns
    dataset.BitsAllocated = encoded.allocated
    dataset.BitsStored = photograph.bits
    dataset.HighBit = photograph.bits - 1
    dataset.PixelRepresentation = 0
    if photograph.bits > 8 and encoded.samples == 1:
        # The full range of the stored bits, so that every viewer shows the same grey (PS3.3, C.11.2.1.2).
        dataset.WindowCenter = 2 ** (photograph.bits - 1)
        dataset.WindowWidth = 2**photograph.bits
    dataset.LossyImageCompression = "01" if photograph.lossy else "00"
    if photograph.stream is not None:
        raw = encoded.rows * encoded.columns * encoded.samples
        dataset.LossyImageCompressionRatio = f"{raw / encoded.size_bytes:.2f}"
        dataset.LossyImageCompressionMethod = "ISO_10918_1"
    if encoded.transfer_syntax.is_encapsulated:
        dataset["PixelData"] = _pixel_element(encoded.pixel_data, "OB", encapsulated=True)
    else:
        vr = "OW" if encoded.allocated == 16 else "OB"
        data = encoded.pixel_data + b"\x00" * (len(encoded.pixel_data) % 2)
        dataset["PixelData"] = _pixel_element(data, vr, encapsulated=False)


def _pixel_element(data: bytes, vr: str, *, encapsulated: bool) -> Any:
    element = DataElement("PixelData", vr, data, already_converted=True)
    element.is_undefined_length = encapsulated
    return element
