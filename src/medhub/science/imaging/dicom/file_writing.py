# SPDX-License-Identifier: Apache-2.0
"""Write a dataset as a DICOM file (PS3.10, section 7): explicit little endian, with our file meta information."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import correct_ambiguous_vr, write_data_element
from pydicom.tag import BaseTag
from pydicom.uid import UID
from pydicom.valuerep import PersonName

IMPLEMENTATION_CLASS_UID = UID("2.25.288017411629370246532207353157466437881")
IMPLEMENTATION_VERSION_NAME = "MEDHUB_1"

_BYTE_VRS = frozenset(("OB", "OW"))


class SharedElement(Protocol):
    """An element that other objects of a series have too, with its encoding once it is known."""

    encoded: bytes

    def is_still(self, element: DataElement) -> bool:
        """Whether ``element`` is the element that was encoded."""


def write_file(dataset: Dataset, transfer_syntax: UID, shared: Mapping[BaseTag, SharedElement] | None = None) -> bytes:
    """Write a DICOM file with a zero preamble and file meta information of our own (PS3.10, 7.1).

    Parameters
    ----------
    dataset
        What the file holds; its pixel data are encoded for ``transfer_syntax``.
    transfer_syntax
        Transfer syntax UID, explicit little endian.
    shared
        Elements that other objects have too: they are encoded once for all.

    Returns
    -------
    bytes
        The whole file.
    """
    if _is_ambiguous(dataset):
        correct_ambiguous_vr(dataset, True)
    encodings = dataset.get("SpecificCharacterSet", "ISO_IR 6")
    known = shared or {}
    parts = [bytes(128), b"DICM", _file_meta(dataset.SOPClassUID, dataset.SOPInstanceUID, transfer_syntax)]
    for element in sorted(dataset.values(), key=_tag):
        if element.tag & 0xFFFF == 0:  # lengths of groups are retired
            continue
        cached = known.get(element.tag)
        if not isinstance(element, DataElement):
            parts.append(_encoded(dataset[element.tag], encodings))
        elif cached is not None and cached.is_still(element):
            cached.encoded = cached.encoded or _encoded(element, encodings)
            parts.append(cached.encoded)
        elif element.VR in _BYTE_VRS and type(element.value) is bytes and not element.is_undefined_length:
            parts += _encoded_bytes(element)
        elif element.VR == "UI" and isinstance(element.value, str) and element.value.isascii():
            parts.append(_short(element.tag, b"UI", element.value))
        elif type(encodings) is str and (element.value is None or type(element.value) in (str, PersonName)):
            parts.append(_encoded_text(int(element.tag), element.VR, element.value, encodings))
        else:
            parts.append(_encoded(element, encodings))
    return b"".join(parts)


def _is_ambiguous(dataset: Dataset) -> bool:
    """Whether other elements must say what an element of a dataset, at any depth, is: as "US or SS"."""
    for element in dataset.values():
        vr = element.VR
        if vr == "SQ" and isinstance(element, DataElement):
            if any(_is_ambiguous(item) for item in element.value or ()):
                return True
        elif vr is None or len(vr) > 2 or vr == "SQ":
            return True
    return False


def _tag(element: DataElement | RawDataElement) -> int:
    return int(element.tag)


def _file_meta(sop_class: str, sop_instance: str, transfer_syntax: str) -> bytes:
    """The file meta information (PS3.10, 7.1), always explicit little endian."""
    parts = (
        struct.pack("<HH2sHI2s", 2, 0x0001, b"OB", 0, 2, b"\x00\x01"),
        _short(0x00020002, b"UI", sop_class),
        _short(0x00020003, b"UI", sop_instance),
        _short(0x00020010, b"UI", transfer_syntax),
        _short(0x00020012, b"UI", IMPLEMENTATION_CLASS_UID),
        _short(0x00020013, b"SH", IMPLEMENTATION_VERSION_NAME),
    )
    meta = b"".join(parts)
    return struct.pack("<HH2sHI", 2, 0x0000, b"UL", 4, len(meta)) + meta


def _short(tag: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    value += (b"\x00" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def _encoded_bytes(element: DataElement) -> tuple[bytes, bytes, bytes]:
    """An element of bytes, mostly pixels, in pieces: they are not copied more often than once."""
    value, tag = element.value, element.tag
    odd = len(value) % 2
    head = struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, element.VR.encode(), 0, len(value) + odd)
    return head, value, bytes(odd)


@lru_cache(maxsize=4_096)
def _encoded_text(tag: int, vr: str, value: str | PersonName | None, encodings: str) -> bytes:
    """An element of text, or an empty one: codes and the like, which many objects have."""
    return _encoded(DataElement(tag, vr, value, already_converted=True), encodings)


def _encoded(element: DataElement, encodings: str | list[str]) -> bytes:
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    write_data_element(out, element, encodings)
    return out.getvalue()
