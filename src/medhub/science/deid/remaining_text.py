# SPDX-License-Identifier: Apache-2.0
"""What of a de-identified file a person should read before it leaves: the free text that remains."""

from __future__ import annotations

from io import BytesIO

from pydicom import dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.multival import MultiValue

FREE_TEXT = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
# Written by de-identification itself, and parts of codes.
_OWN = frozenset(
    (
        "PatientName",
        "PatientID",
        "DeidentificationMethod",
        "CodeMeaning",
        "CodeValue",
        "CodingSchemeDesignator",
        "CodingSchemeVersion",
    )
)

MAX_TEXTS = 1_000


def first_remaining_texts(data: bytes) -> list[tuple[str, str]]:
    """List the first ``MAX_TEXTS`` texts of ``remaining_texts`` in order."""
    return sorted(remaining_texts(data))[:MAX_TEXTS]


def remaining_texts(data: bytes) -> set[tuple[str, str]]:
    """List the free texts of a file.

    Parameters
    ----------
    data
        A cleaned file.

    Returns
    -------
    set[tuple[str, str]]
        Keyword (or "private") and value, at every depth; codes are left out.
    """
    texts: set[tuple[str, str]] = set()
    for element in dcmread(BytesIO(data), stop_before_pixels=True).iterall():
        name = "private" if element.tag.is_private else keyword_for_tag(element.tag)
        if element.VR in FREE_TEXT and element.value and name not in _OWN:
            values = element.value if isinstance(element.value, MultiValue) else [element.value]
            texts |= {(name, str(part)) for part in values if str(part).strip()}
    return texts
