# SPDX-License-Identifier: Apache-2.0
"""A DICOM file made into one without identity: header by a profile, pixels looked at, and nothing beside either."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal

from pydicom import DataElement, Dataset
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from medhub.science.deid.byte_order import to_little_endian
from medhub.science.deid.engine import Action, NestedTooDeep, deidentify
from medhub.science.deid.pixels import Layouts, clean_pixels_of, is_picture, may_hold_writing
from medhub.science.deid.profile import Profile
from medhub.science.deid.reading import ReaderMissing
from medhub.science.deid.subject import subject_of
from medhub.science.imaging.limits import Limits, Unacceptable
from medhub.science.imaging.received_dicom import check_image, is_dicom, parse_within, quiet
from medhub.science.imaging.stored_pixels import clean_pixels
from medhub.science.imaging.wrapping import write_file

Outcome = Literal["cleaned", "quarantined"]
_PIXELS = 0x7FE00010


@dataclass(frozen=True)
class Result:
    """What became of one file.

    Attributes
    ----------
    outcome
        "cleaned", or "quarantined" if nobody may have it before a person looked at it.
    reason
        Why it was quarantined; empty otherwise.
    data
        The new file, if it was cleaned.
    place
        Where the new file belongs: codes of patient, study, series and object, none of which say anything.
    actions
        What was done to which attribute.
    boxes
        What was made black in pixels, or would be: frame (from 1), x0, y0, x1, y1, the last two not included.
    """

    outcome: Outcome
    reason: str = ""
    data: bytes = b""
    place: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()
    boxes: tuple[tuple[int, int, int, int, int], ...] = ()

    def as_json(self, source: str, target: str | None) -> dict[str, Any]:
        """A line of the manifest."""
        return {
            "input": source,
            "output": target,
            "outcome": self.outcome,
            "reason": self.reason,
            "boxes": [list(box) for box in self.boxes],
            "actions": [vars(action) for action in self.actions],
        }


def clean_file(
    data: bytes, profile: Profile, key: bytes, limits: Limits | None = None, layouts: Layouts | None = None
) -> Result:
    """Make a DICOM file into one without identity.

    Parameters
    ----------
    data
        The received bytes.
    profile
        What is kept.
    key
        Secret of the project, at least 16 bytes.
    limits
        What is taken.
    layouts
        What is known of the series that were looked at before.

    Returns
    -------
    Result
        Cleaned, or quarantined with the reason; no exception is raised for what a file holds.
    """
    limits = limits or Limits()
    if len(data) > limits.max_bytes:
        return Result("quarantined", f"It is larger than the {limits.max_bytes:,} bytes that are taken.")
    if not is_dicom(data):
        return Result("quarantined", "It is no DICOM file.")
    with quiet():
        try:
            return _cleaned(data, profile, key, limits, layouts)
        except Unacceptable as error:
            return Result("quarantined", str(error))
        except ReaderMissing as error:
            return Result("quarantined", f"Nobody looked for writing in its pixels. {error}")
        except (NestedTooDeep, RecursionError):
            return Result("quarantined", "Its sequences lie deeper in one another than any device writes them.")
        except MemoryError:
            return Result("quarantined", "Reading it takes more memory than a file is given.")
        # A parser of hostile bytes may raise anything; all mean the same.
        except Exception as error:
            return Result("quarantined", f"It is damaged: it cannot be read ({type(error).__name__}).")


def _cleaned(data: bytes, profile: Profile, key: bytes, limits: Limits, layouts: Layouts | None) -> Result:
    received, syntax = parse_within(data, limits)
    meta = getattr(received, "file_meta", Dataset())
    if "DirectoryRecordSequence" in received or meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        return Result(
            "quarantined", "It is an index of files (DICOMDIR), which names all that it lists. Make a new one."
        )
    if not received.get("SOPClassUID") or not received.get("SOPInstanceUID"):
        return Result("quarantined", "It does not say what it is (SOP Class UID and SOP Instance UID are missing).")
    number, issuer = (str(received.get(keyword, "") or "") for keyword in ("PatientID", "IssuerOfPatientID"))
    if not number.strip():  # without a number, the name is what tells people apart
        number, issuer = str(received.get("PatientName", "") or ""), "name"
    subject = subject_of(key, number, issuer, profile.dates)
    pixels = None
    if _PIXELS in received:
        reason = may_hold_writing(received)
        if reason and not profile.pixels.clean:
            return Result("quarantined", reason)
        check_image(received, syntax, limits)
        pixels = clean_pixels(received, syntax)
        del received[_PIXELS]
    elif "Image Storage" in UID_dictionary.get(str(received.SOPClassUID), ("",))[0] and not _other_pixels(received):
        return Result("quarantined", "It says that it is an image, and holds none: it ends too early or is damaged.")
    found = deidentify(received, profile, subject, max_depth=limits.max_depth)
    dataset = found.dataset
    if syntax == ExplicitVRBigEndian:
        to_little_endian(dataset)
    if pixels is not None:
        packed = pixels.transfer_syntax.is_encapsulated
        vr = "OB" if packed or int(dataset.BitsAllocated) <= 8 else "OW"
        element = DataElement(_PIXELS, vr, pixels.data)
        element.is_undefined_length = packed
        dataset[_PIXELS] = element
    try:
        written = write_file(dataset, pixels.transfer_syntax if pixels is not None else ExplicitVRLittleEndian)
    except (struct.error, OverflowError, ValueError, TypeError, AttributeError):
        return Result("quarantined", "It is damaged: one of its values cannot be written as its kind says.")
    names = (dataset.get(keyword) for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
    place = (subject.code, *(str(name or "none") for name in names))
    if pixels is None or not profile.pixels.clean or not is_picture(received):
        return Result("cleaned", "", written, place, found.actions)
    look = clean_pixels_of(received, written, only_ultrasound=profile.pixels.only_ultrasound, layouts=layouts)
    if look.doubt:
        return Result("quarantined", look.doubt, boxes=look.boxes)
    return Result("cleaned", "", look.data, place, found.actions, look.boxes)


def _other_pixels(dataset: Dataset) -> bool:
    return "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset
