# SPDX-License-Identifier: Apache-2.0
"""De-identification of one file: its attributes by a profile, and its pixels by text recognition."""

from __future__ import annotations

import struct
from dataclasses import replace
from mmap import ACCESS_READ, mmap
from pathlib import Path

from pydicom import Dataset
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from medhub.science.deid.attributes.element_context import NestedTooDeep
from medhub.science.deid.byte_order import to_little_endian
from medhub.science.deid.cleaning_result import Result as Result
from medhub.science.deid.decimal_commas import read_decimal_commas
from medhub.science.deid.element_cache import deidentify_cached
from medhub.science.deid.frame_layouts import Layouts
from medhub.science.deid.identifying_text import identifying_text_of
from medhub.science.deid.manifest import record_removed
from medhub.science.deid.numeric_elements import numbers_contain_text, restore_numbers
from medhub.science.deid.ocr import OcrUnavailable
from medhub.science.deid.photograph_cleaning import clean_photograph
from medhub.science.deid.pixel_cleaning import (
    PixelCheck,
    clean_pixels_of,
    may_contain_text,
)
from medhub.science.deid.pixel_risks import is_picture, may_hold_writing, may_show_face, needs_complete_search
from medhub.science.deid.profile import Profile
from medhub.science.deid.pseudonym import Pseudonym, subject_of
from medhub.science.deid.slide_cleaning import clean_slide, clean_slide_file, is_slide
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable, refuse_length
from medhub.science.imaging.dicom.file_writing import write_file
from medhub.science.imaging.dicom.object_checks import check_image
from medhub.science.imaging.dicom.received_file import is_dicom, parse_within, quiet
from medhub.science.imaging.dicom.stored_pixels import clean_pixels, put_pixels
from medhub.science.imaging.photographs.format_registry import identify_format, refuse_unknown

_PIXELS = 0x7FE00010
_ANY_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def clean_file(
    data: bytes, profile: Profile, key: bytes, limits: DecodingLimits | None = None, layouts: Layouts | None = None
) -> Result:
    """De-identify a file whose patient is unknown; see ``clean_object``."""
    return clean_object(data, profile, None, key, limits or DecodingLimits(), layouts)


def clean_object(
    data: bytes,
    profile: Profile,
    subject: Pseudonym | None,
    key: bytes,
    limits: DecodingLimits,
    layouts: Layouts | None = None,
) -> Result:
    """De-identify a DICOM file, slide or photograph in memory.

    Parameters
    ----------
    data
        The received bytes.
    profile
        The rules.
    subject
        The patient; ``None`` derives code and date shift from the patient ID in the file.
    key
        Secret of the project, at least 16 bytes.
    limits
        Limits of size and depth.
    layouts
        Text layouts of series from earlier files.

    Returns
    -------
    Result
        Cleaned, or quarantined with the reason; the content of a file never raises an exception.
    """
    with quiet():
        try:
            refuse_length(data, limits)
            if not is_dicom(data):
                if identify_format(data) is None:
                    raise refuse_unknown(data)
                if is_slide(data):
                    return clean_slide(data, profile, subject, key, limits)
                if profile.pixels.faces == "hold":
                    return Result("quarantined", "A photograph may show a face; a person must review it.")
                return clean_photograph(data, profile, subject, key, limits)
            received, syntax = parse_within(data, limits)
            return _clean_dicom(received, syntax, profile, subject, key, limits, layouts)
        except Unacceptable as error:
            return Result("quarantined", str(error))
        except (NestedTooDeep, RecursionError):
            return Result("quarantined", "Its sequences are nested deeper than any device writes them.")
        except MemoryError:
            return Result("quarantined", "Reading it takes more memory than permitted.")
        # A parser of hostile bytes may raise anything; all mean the same.
        except Exception as error:
            return Result("quarantined", f"It is damaged: it cannot be read ({type(error).__name__}).")


def clean_large_slide(source: Path, target: Path, profile: Profile, key: bytes) -> Result:
    """De-identify a file that is too large for memory, if it is a slide.

    Parameters
    ----------
    source
        The file; it is not changed.
    target
        Path of the new file, if it is cleaned.
    profile
        The rules.
    key
        Secret of the project, at least 16 bytes.

    Returns
    -------
    Result
        Without data, which are in ``target``; or quarantined, with the reason.
    """
    try:
        with source.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            slide = is_slide(data)
        if slide:
            return clean_slide_file(source, target, profile, key)
        return Result("quarantined", "It exceeds the size limit and is not a slide.")
    except Unacceptable as error:
        return Result("quarantined", str(error))
    except OSError:
        raise
    # A parser of hostile bytes may raise anything; all mean the same.
    except Exception as error:
        return Result("quarantined", f"It is damaged: it cannot be read ({type(error).__name__}).")


def _clean_dicom(
    received: Dataset,
    syntax: UID,
    profile: Profile,
    subject: Pseudonym | None,
    key: bytes,
    limits: DecodingLimits,
    layouts: Layouts | None,
) -> Result:
    reason = _rejection_reason(received)
    if reason:
        return Result("quarantined", reason)
    subject = subject or _subject_of_dataset(received, key, profile)
    commas = read_decimal_commas(received)
    pixels, reason = None, ""
    if _PIXELS in received:
        reason = "" if profile.pixels.clean else may_hold_writing(received)
        check_image(received, syntax, limits)
        pixels = clean_pixels(received, syntax)
        del received[_PIXELS]
    identity = identifying_text_of(received)
    deidentified = deidentify_cached(received, profile, subject, max_depth=limits.max_depth, identity=identity)
    dataset = deidentified.dataset
    if syntax == ExplicitVRBigEndian:
        to_little_endian(dataset)
    if numbers_contain_text(received, identity):
        return Result("quarantined", "Its numbers contain bytes that read like text; a person must review it.")
    restore_numbers(received, dataset, big_endian=syntax == ExplicitVRBigEndian)
    actions = (*deidentified.actions, *commas)
    if pixels is not None:
        actions = record_removed(actions, put_pixels(dataset, pixels))
    try:
        written = write_file(dataset, pixels.transfer_syntax if pixels is not None else ExplicitVRLittleEndian)
    except (struct.error, OverflowError, ValueError, TypeError, AttributeError):
        return Result("quarantined", "It is damaged: one of its values does not fit its value representation.")
    names = (dataset.get(keyword) for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
    output_path = (subject.code, *(str(name or "none") for name in names))
    result = Result("cleaned", "", written, output_path, actions)
    if not reason and pixels is not None and profile.pixels.faces == "hold":
        reason = may_show_face(received)
    pictured = pixels is not None and is_picture(received)
    if not reason and pictured and not profile.pixels.clean and may_contain_text(written):
        reason = "Its pixels may contain text; a person must review it."
    if reason:
        return replace(result, outcome="quarantined", reason=reason, data=b"", doubtful=written)
    if not pictured or not profile.pixels.clean:
        return result
    return _clean_pixels(received, written, profile, result, layouts)


def _rejection_reason(received: Dataset) -> str:
    """Give the reason why a dataset cannot be de-identified; empty if it can."""
    meta = getattr(received, "file_meta", Dataset())
    if "DirectoryRecordSequence" in received or meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        return (
            "It is an index of files (DICOMDIR), which contains patient data. Create a new one from the cleaned files."
        )
    if not received.get("SOPClassUID") or not received.get("SOPInstanceUID"):
        return "Its SOP Class UID or SOP Instance UID is missing."
    says_image = "Image Storage" in UID_dictionary.get(str(received.SOPClassUID), ("",))[0]
    if says_image and not any(keyword in received for keyword in _ANY_PIXELS):
        return "It should contain an image, but has no pixels: it is truncated or damaged."
    return ""


def _subject_of_dataset(received: Dataset, key: bytes, profile: Profile) -> Pseudonym:
    number, issuer = (str(received.get(keyword, "") or "") for keyword in ("PatientID", "IssuerOfPatientID"))
    if not number.strip():  # without a patient ID, the name distinguishes patients
        number, issuer = str(received.get("PatientName", "") or ""), "name"
    return subject_of(key, number, issuer, profile.dates)


def _clean_pixels(
    received: Dataset, written: bytes, profile: Profile, result: Result, layouts: Layouts | None
) -> Result:
    """Clean the pixels of a file with a clean header, or give the reason for a review."""
    try:
        check = clean_pixels_of(
            received,
            written,
            only_ultrasound=profile.pixels.only_ultrasound,
            layouts=layouts,
            complete=needs_complete_search(received, profile),
        )
    except OcrUnavailable as error:
        check = PixelCheck(doubt=f"Its pixels were not searched for text. {error}")
    if check.doubt:
        result = replace(result, outcome="quarantined", reason=check.doubt, data=b"", doubtful=written)
        return replace(result, boxes=check.boxes, allowed=check.allowed)
    return replace(result, data=check.data, boxes=check.boxes, allowed=check.allowed)
