# SPDX-License-Identifier: Apache-2.0
"""Replacement values: dummies that fit their value representation, shifted dates, and capped ages."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any

from pydicom.datadict import dictionary_has_tag, dictionary_VM
from pydicom.multival import MultiValue

REPLACED = "REPLACED"
_DATE, _TIME = "19000101", "000000"
_TEXT = dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), REPLACED)
# Zero in the binary representations; 2 bytes suit each of the others.
DUMMIES: dict[str, Any] = _TEXT | {
    "AS": "000Y",
    "AT": 0x00000000,
    "DA": _DATE,
    "DT": _DATE + _TIME,
    "TM": _TIME,
    "DS": "0",
    "IS": "0",
    "FD": 0.0,
    "FL": 0.0,
    "SL": 0,
    "SS": 0,
    "SV": 0,
    "UL": 0,
    "US": 0,
    "UV": 0,
    "OB": b"\x00\x00",
    "OD": b"\x00" * 8,
    "OF": b"\x00" * 4,
    "OL": b"\x00" * 4,
    "OV": b"\x00" * 8,
    "OW": b"\x00\x00",
    "UN": b"\x00\x00",
    "UR": "urn:replaced",
}
# One empty page: an encapsulated document stays a document.
EMPTY_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]>>endobj\nxref\n0 4\n0000000000 65535 f \n"
    b"0000000009 00000 n \n0000000052 00000 n \n0000000101 00000 n \ntrailer<</Size 4/Root 1 0 R>>\nstartxref\n164\n"
    b"%%EOF\n"
)
# The oldest age that stays exact: an older one is rare enough to identify a person (45 CFR 164.514(b)(2)(i)(C)).
OLDEST_YEARS = 89
_DATE_FORM = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})$")
_DATETIME_FORM = re.compile(r"(\d{4})(\d{2})(\d{2})(\d*(?:\.\d{1,6})?(?:[+-]\d{4})?)$")


_FORMS = {
    "AS": re.compile(r"(?:\d{3}[DWMY])?"),
    # More than the standard's capitals: devices write small letters and signs, too.
    "CS": re.compile(r"[\w ./+-]{0,32}", re.ASCII),
    "DA": re.compile(r"[\d.-]{0,21}"),
    "DT": re.compile(r"[\d.+-]{0,54}"),
    "TM": re.compile(r"[\d.: -]{0,28}"),
}
_BINARY_NUMBERS = frozenset(("FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"))


class NotADate(ValueError):
    """A date cannot be read, and so cannot be shifted."""


def shift_date(value: str, days: int) -> str:
    """Shift a date.

    Parameters
    ----------
    value
        A DA (PS3.5, 6.2), with or without the points of the old form.
    days
        By how many.

    Returns
    -------
    str
        YYYYMMDD.

    Raises
    ------
    NotADate
        When there is no such date, or none after the shift.
    """
    match = _DATE_FORM.match(value.strip())
    if match is None:
        raise NotADate
    return _add_days(match.groups(), days)


def shift_datetime(value: str, days: int) -> str:
    """Shift the date of a date and time; the time of day, its fraction and its time zone stay.

    Parameters
    ----------
    value
        A DT (PS3.5, 6.2) with at least a complete date.
    days
        By how many.

    Returns
    -------
    str

    Raises
    ------
    NotADate
        When there is no such date, or it is incomplete.
    """
    match = _DATETIME_FORM.match(value.strip())
    if match is None:
        raise NotADate
    return _add_days(match.groups()[:3], days) + match.group(4)


def _add_days(parts: tuple[str, ...], days: int) -> str:
    try:
        shifted = date(*(int(part) for part in parts)) + timedelta(days=days)
    except (ValueError, OverflowError) as error:
        raise NotADate from error
    return f"{shifted.year:04d}{shifted:%m%d}"


def has_valid_form(vr: str, tag: int, value: Any) -> bool:
    """Whether a value has the form of its value representation (PS3.5, 6.2), so that it can contain no other text.

    Parameters
    ----------
    vr
        Value representation.
    tag
        Of the attribute.
    value
        As returned by pydicom.

    Returns
    -------
    bool
        False also for numbers where the standard has one and several are given: bytes of a text read as numbers.
    """
    values = value if isinstance(value, MultiValue | list | tuple) else [value]
    form = _FORMS.get(vr)
    if form is not None:
        return all(form.fullmatch(str(part).strip(" \0")) is not None for part in values if part is not None)
    if vr == "AT":  # the tag of an attribute of the standard
        return all(dictionary_has_tag(part) for part in values if part is not None)
    if vr in _BINARY_NUMBERS and len(values) > 1 and dictionary_has_tag(tag):
        return dictionary_VM(tag) != "1"
    return True


def cap_age(value: str) -> str:
    """Replace an age (AS) above 89 years by 90 years."""
    value = value.strip()
    if value.endswith("Y") and value[:-1].isdigit() and int(value[:-1]) > OLDEST_YEARS:
        return f"{OLDEST_YEARS + 1:03d}Y"
    return value
