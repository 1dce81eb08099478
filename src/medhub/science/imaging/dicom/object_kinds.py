# SPDX-License-Identifier: Apache-2.0
"""What a DICOM object is, and how a person is shown it: by its class and by whether it has pixels (PS3.4, B.5)."""

from __future__ import annotations

from functools import cache
from typing import Literal, NamedTuple, get_args

from pydicom import Dataset
from pydicom._uid_dict import UID_dictionary

PixelKeyword = Literal["PixelData", "FloatPixelData", "DoubleFloatPixelData"]
PIXEL_KEYWORDS: tuple[PixelKeyword, ...] = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
# Objects of a device or a app rather than of a patient (PS3.4, GG).
_OF_NOBODY = frozenset(
    (
        "1.2.840.10008.5.1.4.38.1",  # Hanging Protocol
        "1.2.840.10008.5.1.4.39.1",  # Color Palette
        "1.2.840.10008.5.1.4.43.1",  # Generic Implant Template
        "1.2.840.10008.5.1.4.44.1",  # Implant Assembly Template
        "1.2.840.10008.5.1.4.45.1",  # Implant Template Group
        "1.2.840.10008.5.1.4.1.1.200.1",  # CT Defined Procedure Protocol
        "1.2.840.10008.5.1.4.1.1.200.3",  # Protocol Approval
        "1.2.840.10008.5.1.4.1.1.200.7",  # XA Defined Procedure Protocol
        "1.2.840.10008.5.1.4.1.1.201.1",  # Inventory
    )
)
SEGMENTATION_CLASSES = frozenset(
    ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.66.8")
)
"""Segmentation, Label Map Segmentation, Height Map Segmentation."""

ShownAs = Literal["image", "segmentation", "report", "document", "plan", "waveform", "presentation", "other"]
SHOWN_AS = frozenset(get_args(ShownAs))
NEWER_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation Storage",
}


# Classes that are pixels first of all: without them, the file was cut off.
_ALWAYS_PIXELS = (
    "Image Storage",
    "Multi-frame",
    "Parametric Map",
    "US Volume",
    "Thickness Map Storage",
    "Topography Map",
)
# The first words that fit decide.
_BY_NAME: tuple[tuple[str, ShownAs], ...] = (
    ("Encapsulated", "document"),
    ("Waveform Annotation SR", "report"),
    ("Waveform", "waveform"),
    ("Presentation State", "presentation"),
    (" SR ", "report"),
    ("Key Object Selection", "report"),
    ("Procedure Log", "report"),
    ("RT ", "plan"),
    ("Radiation", "plan"),
)


class Kind(NamedTuple):
    """What an object is.

    Attributes
    ----------
    name
        Of its class, in the words of the standard; empty where it is none of the standard's.
    shown_as
        How a person is shown it.
    pixels
        Under which keyword its pixels lie; ``None`` where it has none.
    """

    name: str
    shown_as: ShownAs
    pixels: PixelKeyword | None


def class_name(uid: str) -> str:
    """The name of a class of stored objects; empty for a UID that names none.

    Parameters
    ----------
    uid
        SOP Class UID.

    Returns
    -------
    str
        As "CT Image Storage".
    """
    entry = UID_dictionary.get(uid)
    name = NEWER_CLASSES.get(uid) or (entry[0] if entry is not None and "SOP Class" in entry[1] else "")
    return name if "Storage" in name and "Commitment" not in name and uid != _MEDIA_DIRECTORY else ""


@cache
def _shown_as(name: str) -> ShownAs:
    if "Image Storage" in name:
        return "image"
    return next((shown for words, shown in _BY_NAME if words in name), "other")


def kind_of(dataset: Dataset) -> Kind:
    """Tell what an object is.

    Parameters
    ----------
    dataset
        As received or as stored; only its class and the presence of pixels count.

    Returns
    -------
    Kind
    """
    uid = str(dataset.get("SOPClassUID", "") or "")
    name = class_name(uid)
    pixels = next((keyword for keyword in PIXEL_KEYWORDS if keyword in dataset), None)
    if pixels is not None:
        return Kind(name, "segmentation" if uid in SEGMENTATION_CLASSES else "image", pixels)
    shown = _shown_as(name)
    # An image or segmentation without pixels is none.
    return Kind(name, "other" if shown == "image" else shown, None)


def is_pixels_first(name: str, uid: str) -> bool:
    """Whether an object of this class is nothing without pixels."""
    return uid in SEGMENTATION_CLASSES or any(words in name for words in _ALWAYS_PIXELS)


def is_of_nobody(uid: str) -> bool:
    """Whether objects of this class belong to no patient."""
    return uid in _OF_NOBODY


def is_directory(dataset: Dataset) -> bool:
    """Whether a file is a DICOMDIR."""
    meta = getattr(dataset, "file_meta", None) or Dataset()
    return "DirectoryRecordSequence" in dataset or meta.get("MediaStorageSOPClassUID") == _MEDIA_DIRECTORY
