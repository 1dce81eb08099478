# SPDX-License-Identifier: Apache-2.0
"""Identifiers of network queries and of their answers (PS3.4, annex C)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom import Dataset, config
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.received_file import quiet

MOST_KEYS = 500
_NO_KEYS = frozenset({"QueryRetrieveLevel", "SpecificCharacterSet", "TimezoneOffsetFromUTC", "RetrieveAETitle"})
_INTEGERS = frozenset({"US", "SS", "UL", "SL", "UV", "SV"})
_FLOATS = frozenset({"FL", "FD"})


@dataclass(frozen=True)
class Identifier:
    """The level and the keys of a query.

    Attributes
    ----------
    level
        PATIENT, STUDY, SERIES or IMAGE as it was sent; empty where nothing was.
    keys
        Keyword to value, several divided by backslashes; an empty value asks for the attribute alone.
    """

    level: str
    keys: dict[str, str]

    def __post_init__(self) -> None:
        """Check the keys; ``ValueError`` where there are too many, or one is no keyword of DICOM."""
        if len(self.keys) > MOST_KEYS or not all(map(tag_for_keyword, self.keys)):
            raise ValueError("these are not the keys of a query")


def read_identifier(encoded: bytes, *, implicit_vr: bool) -> Identifier:
    """Read the identifier of a query, little endian.

    Parameters
    ----------
    encoded
        The data set of the request.
    implicit_vr
        Whether it is without value representations.

    Returns
    -------
    Identifier
        Without private attributes; of a sequence only the keyword.

    Raises
    ------
    Unacceptable
        When it cannot be parsed, or has too many keys.
    """
    with quiet():
        try:
            dataset = read_dataset(BytesIO(encoded), implicit_vr, True)
            keys: dict[str, str] = {}
            for tag in list(dataset.keys()):
                keyword = keyword_for_tag(tag)
                if keyword and tag.group > 0x0007 and keyword not in _NO_KEYS:
                    keys[keyword] = key_text(dataset[tag])
            level = str(dataset.get("QueryRetrieveLevel", "") or "").strip()
        except Exception as error:  # a parser of hostile bytes may raise anything; all mean the same
            raise Unacceptable("This query cannot be parsed.", reason="damaged") from error
    if len(keys) > MOST_KEYS:
        raise Unacceptable("This query has too many keys.", reason="unsupported")
    return Identifier(level, keys)


def key_text(element: DataElement) -> str:
    """The value of a key as text, several divided by backslashes; empty for a sequence."""
    if element.VR == "SQ" or element.value is None:
        return ""
    values = [element.value] if element.VM <= 1 or isinstance(element.value, str | bytes) else list(element.value)
    return "\\".join("" if isinstance(value, bytes) else str(value).replace("\x00", "") for value in values).strip()


def write_identifier(attributes: Mapping[str, Sequence[str]], *, implicit_vr: bool) -> bytes:
    """Write the identifier of an answer, little endian, in UTF-8.

    Parameters
    ----------
    attributes
        Keyword to values; none where the attribute is empty.
    implicit_vr
        Whether it is written without value representations.

    Returns
    -------
    bytes
        The data set; values that their attribute cannot have are left out.
    """
    with quiet():
        dataset = Dataset()
        dataset.SpecificCharacterSet = "ISO_IR 192"
        for keyword, values in attributes.items():
            dataset.add(identifier_element(keyword, values))
        stream = DicomBytesIO()
        stream.is_implicit_VR, stream.is_little_endian = implicit_vr, True
        write_dataset(stream, dataset, "utf8")
        return bytes(stream.getvalue())


def identifier_element(keyword: str, values: Sequence[str]) -> DataElement:
    """An attribute of an answer; a value that it cannot have is left out."""
    vr = dictionary_VR(keyword).partition(" ")[0]
    converted: list[Any] = []
    for value in values:
        try:
            converted.append(int(value) if vr in _INTEGERS else float(value) if vr in _FLOATS else value)
        except ValueError:
            continue
    try:
        # An empty sequence is a list; any other empty value is none.
        value_or_empty: Any = (
            [] if vr == "SQ" else converted if len(converted) > 1 else converted[0] if converted else None
        )
        return DataElement(keyword, vr, value_or_empty, validation_mode=config.IGNORE)
    except Exception:  # for example a decimal string that is not a number
        return DataElement(keyword, vr, None, validation_mode=config.IGNORE)
