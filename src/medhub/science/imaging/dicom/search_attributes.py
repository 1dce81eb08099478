# SPDX-License-Identifier: Apache-2.0
"""The attributes by which stored objects are searched, read from a cleaned dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from io import BytesIO

from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

STUDY = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "StudyDescription",
    "ReferringPhysicianName",
    "PatientID",
    "PatientName",
    "PatientSex",
    "PatientBirthDate",
    "PatientAge",
)
SERIES = (
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "SeriesDate",
    "SeriesTime",
    "BodyPartExamined",
    "Laterality",
    "ProtocolName",
    "Manufacturer",
    "ManufacturerModelName",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
)
IMAGE = (
    "SOPClassUID",
    "InstanceNumber",
    "ImageType",
    "ContentDate",
    "ContentTime",
    "AcquisitionDate",
    "AcquisitionNumber",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
)
"""Keywords of the usual attributes, by the level that carries them (PS3.18, tables 10.6.1-5 and 10.6.3-3 to -5)."""

MOST_VALUES = 32
MOST_CHARACTERS = 1024
# Values that are not texts of limited length: pixels, sequences, tables.
_NOT_SEARCHABLE = frozenset({"SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN", "OB or OW", "UT", "AT"})

Attributes = dict[str, list[str]]
"""Keyword to values as text, as the object writes them."""


def is_searchable(keyword: str) -> bool:
    """Whether an attribute can be searched: it is in the standard, with values of limited length."""
    tag = tag_for_keyword(keyword)
    return tag is not None and tag >> 16 not in (0x0000, 0x0002, 0x7FE0) and dictionary_VR(tag) not in _NOT_SEARCHABLE


def attributes_of(dataset: Dataset, more: Iterable[str] = ()) -> dict[str, Attributes]:
    """Read the search attributes of a cleaned dataset.

    Parameters
    ----------
    dataset
        As it is stored; not as it was received.
    more
        Keywords of further attributes, which are searched as those of the image.

    Returns
    -------
    dict
        "study", "series" and "image", each keyword to values; an attribute without a value is not in it.
    """
    return {
        "study": _read_attributes(dataset, STUDY),
        "series": _read_attributes(dataset, SERIES),
        "image": _read_attributes(dataset, (*IMAGE, *(keyword for keyword in more if is_searchable(keyword)))),
    }


@cache
def _tag(keyword: str) -> BaseTag | None:
    tag = tag_for_keyword(keyword)
    return BaseTag(tag) if tag is not None else None


def _read_attributes(dataset: Dataset, keywords: Iterable[str]) -> Attributes:
    attributes: Attributes = {}
    present = dataset.keys()
    for keyword in keywords:
        tag = _tag(keyword)
        if tag is not None and tag in present:
            try:
                value = dataset[tag].value
                values = value if isinstance(value, MultiValue | list | tuple) else [value]
                texts = [
                    str(item).replace("\x00", "")[:MOST_CHARACTERS]
                    for item in values[:MOST_VALUES]
                    if item not in (None, "")
                ]
            except Exception:  # noqa: S112  # a value that cannot be read is not searched
                continue
            if texts:
                attributes[keyword] = texts
    return attributes


def read_search_attributes(dicom: bytes, more: list[str]) -> dict[str, Attributes]:
    """Read the attributes of a stored file; see ``attributes_of``."""
    return attributes_of(dcmread(BytesIO(dicom), stop_before_pixels=True), more)


def check_attributes(attributes: Mapping[str, Attributes]) -> None:
    """Check attributes that an isolated process has read.

    Raises
    ------
    ValueError
        When these are not the levels, or not values, that ``attributes_of`` returns.
    """
    if attributes.keys() != {"study", "series", "image"}:
        raise ValueError("these are not the levels of attributes")
    for level in attributes.values():
        for values in level.values():
            if len(values) > MOST_VALUES or any(len(value) > MOST_CHARACTERS or "\x00" in value for value in values):
                raise ValueError("these are not the values of an attribute")


def first_integer(values: Sequence[str] | None) -> int | None:
    """The first value as an integer that a column of 32 bits can hold, if it is one."""
    try:
        number = int(float(values[0])) if values else None
    except (ValueError, OverflowError):
        return None
    return number if number is not None and -(2**31) <= number < 2**31 else None
