# SPDX-License-Identifier: Apache-2.0
"""Codes of published coding schemes (PS3.16, table 8-1), which identify nobody and are kept as they are.

A code is recognized by its scheme and by the form of its value, so that a name or number typed into a code is none.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

from pydicom import Dataset
from pydicom.sr._concepts_dict import concepts as _concepts
from pydicom.sr._snomed_dict import mapping as _snomed

from medhub.science.deid.free_text import vocabulary
from medhub.science.deid.name_words import words_of

VALUE_KEYWORDS = ("CodeValue", "LongCodeValue", "URNCodeValue")
# Attributes of a code that are kept with it (PS3.3, table 8.8-1).
CODE_KEYWORDS = frozenset((*VALUE_KEYWORDS, "CodingSchemeDesignator", "CodingSchemeVersion"))
_VERSION = re.compile(r"[\w.:/-]{1,16}", re.ASCII)
_FORMS = {
    "BARI": r"\d{1,3}[a-z]?",
    "C4": r"\d{4}[0-9A-Z]",
    "DCM": r"1[0-3]\d{4}|[A-Z]{2,6}",
    "FMA": r"\d{1,6}",
    "I9C": r"\d{3}(?:\.\d{1,2})?",
    "I10": r"[A-Z]\d[0-9A-Z](?:\.[0-9A-Z]{1,4})?",
    "I10P": r"[0-9A-HJ-NP-Z]{7}",
    "IBSI": r"[0-9A-Z]{4}",
    "ISO3166_1": r"[A-Z]{2,3}",
    "ISO639_1": r"[a-z]{2}",
    "ISO639_2": r"[a-z]{3}",
    "LN": r"\d{1,5}-\d",
    "MDC": r"\d{1,2}:\d{1,5}|\d{1,6}",
    "MSH": r"[A-Z]\d{6,9}",
    "NCIT": r"C\d{2,6}",
    "NEU": r"\d{1,4}",
    "RADELEMENT": r"RDES?\d{1,6}(?:\.\d{1,3})?",
    "RADLEX": r"RID\d{1,6}",
    "RFC3066": r"[a-z]{2,3}(?:-[A-Za-z]{2,4})?",
    "RFC5646": r"[a-z]{2,3}(?:-[A-Z][a-z]{3})?(?:-(?:[A-Z]{2}|\d{3}))?",
    "RXNORM": r"\d{1,7}",
    "SCPECG": r"\d{1,3}(?:-\d{1,3}){0,3}",
    "SCT": r"[1-9]\d{5,17}",
    "SNM3": r"[A-Z]\d?-[0-9A-Z]{4,6}",
    "SRT": r"[A-Z]\d?-[0-9A-Z]{4,6}",
    "UMLS": r"C\d{7}",
}
_PATTERNS = {scheme: re.compile(form) for scheme, form in _FORMS.items()}
_ALIASES = {"99SDM": "SRT", "SNOMED-RT": "SRT"}
# Units of measurement: atoms with powers, joined by points and slashes; words in braces are annotations.
_UNIT_ATOM = re.compile(
    r"(\[[A-Za-z_'$/]{1,8}\]|%|[A-Za-z]{1,8}(?:\[[A-Za-z_']{1,6}\])?|\d{1,3}(?:\*|\^)?)?(-?\d{0,2})(?:\{([^{}]*)\})?"
)
_UNITS = frozenset(
    (
        *(
            "m",
            "s",
            "g",
            "l",
            "L",
            "h",
            "d",
            "a",
            "wk",
            "mo",
            "min",
            "Hz",
            "V",
            "A",
            "W",
            "J",
            "N",
            "K",
            "Cel",
            "Pa",
            "T",
        ),
        *(
            "Gy",
            "Sv",
            "Bq",
            "Ci",
            "eV",
            "rad",
            "deg",
            "sr",
            "mol",
            "cd",
            "lm",
            "lx",
            "C",
            "F",
            "H",
            "S",
            "Wb",
            "Ohm",
            "B",
        ),
        *(
            "T",
            "B",
            "u",
            "U",
            "kat",
            "bit",
            "By",
            "dB",
            "G",
            "R",
            "bar",
            "eq",
            "osm",
            "pH",
            "t",
            "ar",
            "m[H2O]",
            "m[Hg]",
        ),
    )
)
_PREFIXES = ("", *"YZEPTGMkhdcmunpfazy", "da")
_VERHOEFF_PRODUCT = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 2, 3, 4, 0, 6, 7, 8, 9, 5),
    (2, 3, 4, 0, 1, 7, 8, 9, 5, 6),
    (3, 4, 0, 1, 2, 8, 9, 5, 6, 7),
    (4, 0, 1, 2, 3, 9, 5, 6, 7, 8),
    (5, 9, 8, 7, 6, 0, 4, 3, 2, 1),
    (6, 5, 9, 8, 7, 1, 0, 4, 3, 2),
    (7, 6, 5, 9, 8, 2, 1, 0, 4, 3),
    (8, 7, 6, 5, 9, 3, 2, 1, 0, 4),
    (9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)
_VERHOEFF_STEP = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


class StandardCode(NamedTuple):
    """A code of a published scheme.

    Attributes
    ----------
    scheme, value
        As received.
    meanings
        Of the dictionaries; none if they lack the code.
    """

    scheme: str
    value: str
    meanings: tuple[str, ...]


def read_standard_code(item: Dataset) -> StandardCode | None:
    """Read the code of a sequence item.

    Parameters
    ----------
    item
        As received.

    Returns
    -------
    StandardCode or None
        None if the item has no code, or none that a published scheme could have.
    """
    if "CodingSchemeDesignator" not in item:
        return None
    try:
        scheme = str(item.CodingSchemeDesignator or "").strip()
        value = next((str(item[keyword].value).strip() for keyword in VALUE_KEYWORDS if item.get(keyword)), "")
    except Exception:  # what cannot be read is no code
        return None
    return (
        StandardCode(scheme, value, _meanings().get((_scheme(scheme), value), ())) if _is_code(scheme, value) else None
    )


def is_version(text: str) -> bool:
    """Whether a text can be the version of a coding scheme: a number or a date."""
    return _VERSION.fullmatch(text) is not None and any(character.isdigit() for character in text)


def _scheme(designator: str) -> str:
    upper = designator.upper()
    return _ALIASES.get(upper, upper)


def _is_code(designator: str, value: str) -> bool:
    scheme = _scheme(designator)
    if scheme == "UCUM":
        return is_unit(value)
    if (scheme, value) in _meanings():
        return True
    pattern = _PATTERNS.get(scheme)
    if pattern is None or pattern.fullmatch(value) is None:
        return False
    if scheme == "SCT":
        return _has_verhoeff_digit(value)
    return scheme != "LN" or _has_luhn_digit(value)


def is_unit(value: str) -> bool:
    """Whether a text is a unit of UCUM made of known atoms; words in its annotations are terms of the standard."""
    if not value or len(value) > 32:
        return False
    if ("UCUM", value) in _meanings():
        return True
    for part in re.split(r"[./]", value):
        match = _UNIT_ATOM.fullmatch(part)
        if match is None:
            return False
        atom, _, annotation = match.groups()
        if atom and not (atom[0] in "%[" or atom[0].isdigit() or _is_known_atom(atom)):
            return False
        if annotation and not all(word.casefold() in vocabulary() for word in words_of(annotation)):
            return False
    return True


def _is_known_atom(atom: str) -> bool:
    return any(atom.startswith(prefix) and atom[len(prefix) :] in _UNITS for prefix in _PREFIXES)


@cache
def _meanings() -> dict[tuple[str, str], tuple[str, ...]]:
    meanings: dict[tuple[str, str], tuple[str, ...]] = {}
    known: Any = _concepts
    for scheme, concepts in known.items():
        for codes in concepts.values():
            for code, (meaning, _) in codes.items():
                meanings[scheme.upper(), code] = (*meanings.get((scheme.upper(), code), ()), meaning)
    retired: Any = _snomed["SRT"]
    for code, concept in retired.items():
        if ("SCT", concept) in meanings:
            meanings["SRT", code] = meanings["SCT", concept]
    return meanings


def _has_verhoeff_digit(value: str) -> bool:
    """Whether the last digit of a SNOMED CT identifier is its check digit."""
    check = 0
    for position, digit in enumerate(reversed(value)):
        permuted = int(digit)
        for _ in range(position % 8):
            permuted = _VERHOEFF_STEP[permuted]
        check = _VERHOEFF_PRODUCT[check][permuted]
    return check == 0


def _has_luhn_digit(value: str) -> bool:
    """Whether the digit after the hyphen of a LOINC number is its check digit."""
    digits = [int(digit) for digit in value.replace("-", "")]
    total = sum(
        sum(divmod(2 * digit, 10)) if position % 2 else digit for position, digit in enumerate(reversed(digits))
    )
    return total % 10 == 0
