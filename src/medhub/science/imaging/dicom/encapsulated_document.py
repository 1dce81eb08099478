# SPDX-License-Identifier: Apache-2.0
"""The media type of an encapsulated document (PS3.3, C.24.2)."""

from __future__ import annotations

from pydicom import Dataset

PDF = "application/pdf"
_XML = frozenset(("text/xml", "application/xml", "application/cda+xml"))
MODEL_TYPES = frozenset(("model/stl", "model/obj", "model/mtl"))


def media_type_of(dataset: Dataset, data: bytes) -> str:
    """The media type of a document; empty where it is unknown."""
    declared = str(dataset.get("MIMETypeOfEncapsulatedDocument", "") or "").strip().lower()
    if declared == PDF or (not declared and b"%PDF-" in data[:1024]):
        return PDF
    if declared in _XML:
        return "text/xml"
    return declared if declared in MODEL_TYPES else ""
