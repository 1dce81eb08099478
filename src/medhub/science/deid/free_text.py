# SPDX-License-Identifier: Apache-2.0
"""Cleaning of free text: only known terms stay.

A list of identifying words can never be complete, so this is a list of permitted words: a word stays if it is a term
of the standard or of ``tables/words.txt``. Short numbers stay; longer ones can be identifiers. Dates, addresses, and
words that the same file uses as a name or number are removed first.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

from pydicom._dicom_dict import DicomDictionary
from pydicom.sr._concepts_dict import concepts as _concepts

from medhub.science.deid.identifying_text import IdentifyingText

# Passages that are removed: e-mail and web addresses, telephone numbers, dates, times of day, numbers of persons.
_IDENTIFYING_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\S+@\S+",
        r"\b(?:https?|ftp)://\S+|\bwww\.\S+",
        r"\b\d{1,3}(?:\.\d{1,3}){3}\b",
        r"\b(?:19|20)\d{2}[-./]?(?:0[1-9]|1[0-2])[-./]?(?:0[1-9]|[12]\d|3[01])\b",
        r"\b(?:0?[1-9]|[12]\d|3[01])[-./](?:0?[1-9]|1[0-2]|[a-z]{3,9})[-./](?:\d{4}|\d{2})\b",
        r"\b(?:0?[1-9]|1[0-2])[-./](?:0?[1-9]|[12]\d|3[01])[-./](?:\d{4}|\d{2})\b",
        r"\b(?:0?[1-9]|[12]\d|3[01])\.?(?:st|nd|rd|th)?\s+(?:of\s+)?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
        r"[a-z]*\.?,?\s+\d{2,4}\b",
        r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s+\d{1,2}(?:st|nd|rd|th)?,?\s+\d{2,4}\b",
        r"\b\d{1,2}:\d{2}(?::\d{2})?\s*(?:[ap]m)?\b",
        r"\+?\(?\d{1,4}\)?(?:[-\s./]\(?\d{2,5}\)?){2,}\b",
        r"\b(?:mr|mrs|ms|miss|dr|prof|herr|frau|sr|sra|mme)\b\.?\s+\w[\w'-]*(?:\s+[A-Z][\w'-]*)?",
        r"\b(?:mrn|ssn|nhs|pid|acc(?:ession)?|id|no|nr)\b\s*[:#.=]*\s*\w*\d\w*",
    )
)
_TOKEN = re.compile(r"[^\W_]+(?:['-][^\W_]+)*", re.UNICODE)
# A longer number after a hyphen may be that of a person or a visit.
_LONGEST_PART = 2
_NUMBER = re.compile(r"\d{1,4}$")
# "T1", "FS3", "5mm", "60keV": letters and few digits together.
_MIXED = re.compile(r"(?=.*\d)(?:[a-z]{1,4}\d{1,2}[a-z]{0,3}|\d{1,3}[a-z]{1,4})$", re.IGNORECASE)
_UNITS = frozenset(
    [
        "mm",
        "cm",
        "m",
        "ml",
        "cc",
        "l",
        "s",
        "ms",
        "min",
        "h",
        "hz",
        "khz",
        "mhz",
        "kev",
        "kv",
        "kvp",
        "ma",
        "mas",
        "t",
        "g",
        "kg",
        "mg",
        "ug",
        "mci",
        "mbq",
        "bq",
        "deg",
        "d",
        "yr",
        "phase",
    ]
)
_AGE = re.compile(r"\b(?:9\d|1[0-3]\d)(?=[\s-]*(?:y|yr|yrs|yo|years?)\b)", re.IGNORECASE)
# Concepts that contain names of people and locations: breeds and strains of animals.
_SPARED_KEYWORDS = ("breed", "strain", "cattle", "horse", "dog", "cat", "sheep", "pig", "chicken", "goat")


@cache
def vocabulary() -> frozenset[str]:
    """Return the known terms, casefolded: of the standard's attributes and concepts, and of ``tables/words.txt``."""
    words: set[str] = set()
    for entry in DicomDictionary.values():
        words |= {word.casefold() for word in _TOKEN.findall(entry[2])}
    known: Any = _concepts
    for scheme, codes in known.items():
        for meaning in (meaning for concepts in codes.values() for meaning, _ in concepts.values()):
            if not any(keyword in meaning.casefold() for keyword in _SPARED_KEYWORDS):
                # The standard's own meanings are written in title case; elsewhere a capital can be a person's name.
                tokens = _TOKEN.findall(meaning)
                words |= {token.casefold() for token in tokens if scheme == "DCM" or token.islower() or token.isupper()}
    text = files("medhub.science.deid").joinpath("tables/words.txt").read_text("utf-8")
    word_lists = [line.split("#")[0].split() for line in text.splitlines()]
    words |= {word.casefold() for line in word_lists for word in line}
    words -= {word for word in words if word.isdigit()}
    return frozenset(words)


def clean_text(text: str, identity: IdentifyingText) -> str:
    """Reduce a text to known terms.

    Parameters
    ----------
    text
        Free text of any length.
    identity
        Words of the same file that identify a person.

    Returns
    -------
    str
        The words that stay, with their punctuation; empty if none does.
    """
    for pattern in _IDENTIFYING_PATTERNS:
        text = pattern.sub(" ", text)
    text = _AGE.sub("90", text)

    def keep_known_word(match: re.Match[str]) -> str:
        word = match.group()
        return word if not identity.contains(word) and _is_known_word(word, identity) else ""

    cleaned = _TOKEN.sub(keep_known_word, text)
    # Punctuation and spaces around removed words.
    cleaned = re.sub(r"(?<![\w)])[^\w\s(<>=+-]+(?=\s|$)|\(\s*\)|\[\s*\]", "", cleaned)
    cleaned = re.sub(r"[^\S\r\n]{2,}", " ", cleaned)
    cleaned = re.sub(r"_{2,}", "_", cleaned).strip(" _^,;:-/\\")
    return cleaned if _TOKEN.search(cleaned) else ""


def _is_known_word(word: str, identity: IdentifyingText) -> bool:
    lower = word.casefold()
    if lower in vocabulary() or _NUMBER.match(word) is not None or len(word) == 1:
        return True
    if _MIXED.match(word) is not None:
        letters = "".join(character for character in lower if not character.isdigit())
        return letters in _UNITS or letters in vocabulary() or len(letters) <= 2
    parts = re.split(r"['-]", word)
    return len(parts) > 1 and all(
        part
        and not identity.contains(part)
        and not (part.isdigit() and len(part) > _LONGEST_PART)
        and _is_known_word(part, identity)
        for part in parts
    )


def words_of(text: str) -> list[str]:
    """Split a text into words."""
    return _TOKEN.findall(text)
