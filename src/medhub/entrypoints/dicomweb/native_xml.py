# SPDX-License-Identifier: Apache-2.0
"""DICOM JSON (PS3.18, F) as the Native DICOM Model in XML (PS3.19, A.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from pydicom.datadict import keyword_for_tag

_NAME_PARTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
# Characters that XML 1.0 cannot hold, not even as references.
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def native_model(dataset: Mapping[str, Any]) -> bytes:
    """The XML document of one object.

    Parameters
    ----------
    dataset
        Its attributes as DICOM JSON.
    """
    body = "".join(_attributes(dataset))
    root = f'<NativeDicomModel xml:space="preserve">{body}</NativeDicomModel>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}'.encode()


def _attributes(dataset: Mapping[str, Any]) -> list[str]:
    lines = []
    for tag in sorted(dataset):
        element = dataset[tag]
        names = f'tag="{tag}" vr={quoteattr(str(element["vr"]))}'
        if keyword := keyword_for_tag(int(tag, 16)):
            names += f' keyword="{keyword}"'
        if int(tag[3], 16) % 2 and int(tag[4:], 16) > 0xFF:
            creator = dataset.get(f"{tag[:4]}00{tag[4:6]}", {}).get("Value", [""])[0]
            names += f" privateCreator={quoteattr(_text(creator))}"
        lines.append(f"<DicomAttribute {names}>{_content(element)}</DicomAttribute>")
    return lines


def _content(element: Mapping[str, Any]) -> str:
    if "BulkDataURI" in element:
        return f"<BulkData uri={quoteattr(element['BulkDataURI'])}/>"
    if "InlineBinary" in element:
        return f"<InlineBinary>{element['InlineBinary']}</InlineBinary>"
    parts = []
    for number, value in enumerate(element.get("Value", ()), start=1):
        if element["vr"] == "SQ":
            parts.append(f'<Item number="{number}">{"".join(_attributes(value or {}))}</Item>')
        elif element["vr"] == "PN":
            parts.append(f'<PersonName number="{number}">{_person_name(value or {})}</PersonName>')
        elif value is not None:
            parts.append(f'<Value number="{number}">{escape(_text(value))}</Value>')
    return "".join(parts)


def _person_name(value: Mapping[str, str]) -> str:
    groups = []
    for group in ("Alphabetic", "Ideographic", "Phonetic"):
        if value.get(group):
            components = zip(_NAME_PARTS, value[group].split("^"), strict=False)
            inner = "".join(f"<{name}>{escape(_text(text))}</{name}>" for name, text in components if text)
            groups.append(f"<{group}>{inner}</{group}>")
    return "".join(groups)


def _text(value: object) -> str:
    return _NOT_IN_XML.sub("\ufffd", str(value))
