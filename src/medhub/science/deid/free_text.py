# SPDX-License-Identifier: Apache-2.0
"""Cleaning of free text: only known terms stay.

A list of identifying words can never be complete, so this is a list of permitted words: a word stays if it is a term
of the standard or of ``tables/words.txt``. Short numbers stay; longer ones can be identifiers. Dates, addresses, and
words that the same file uses as a name or number are removed first.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from importlib.resources import files
from typing import Any

from pydicom._dicom_dict import DicomDictionary
from pydicom.sr._concepts_dict import concepts as _concepts

from medhub.science.deid.identifying_text import IdentifyingText
from medhub.science.deid.name_words import parts_of, word_pattern, words_of

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
        r"\b(?:mr|mrs|ms|miss|dr|prof|herr|frau|sr|sra|mme)\b\.?\s+\w[\w'-]*(?:\s+(?-i:[A-Z])[\w'-]*)?",
        r"\b(?:mrn|ssn|nhs|pid|acc(?:ession)?|id|no|nr)\b\s*[:#.=]*\s*\w*\d\w*",
    )
)
# Characters that no known term contains: marks and signs of other scripts would stay without their words.
_FOREIGN_SIGN = re.compile("[^\x00-\x7f\xa0-\xff\u0100-\u017f\u0370-\u03ff\u2013\u2014\u2264\u2265]")
_INVISIBLE = re.compile("[\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
# A longer number after a hyphen may be that of a person or a visit.
_LONGEST_PART = 2
_NUMBER = re.compile(r"\d{1,4}$")
# Letters one by one: a word with spaces or points between its letters. Two or three of them are abbreviations.
_SPACED_LETTERS = re.compile(r"(?<![^\W_])[^\W\d_](?:[\s._,-]{1,2}[^\W\d_](?![^\W_]))+")
_LONGEST_ABBREVIATION = 3
_SYMBOLS = "αβγδεζηθικλμνξοπρστυφχψωΔΣΦΨΩµ"
# "T1", "FS3", "5mm", "60keV": letters and few digits together.
_MIXED = re.compile(r"(?=.*\d)(?:[a-z]{1,4}\d{1,2}[a-z]{0,3}|\d{1,3}[a-z]{1,4})$", re.IGNORECASE)
_UNITS = frozenset(
    [
        "mm",
        "cm",
        "μm",
        "μg",
        "μl",
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
        words |= {word.casefold() for word in words_of(entry[2])}
    known: Any = _concepts
    for scheme, codes in known.items():
        for meaning in (meaning for concepts in codes.values() for meaning, _ in concepts.values()):
            if not any(keyword in meaning.casefold() for keyword in _SPARED_KEYWORDS):
                # The standard's own meanings are written in title case; elsewhere a capital can be a person's name.
                tokens = words_of(meaning)
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
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFC", text))
    for pattern in _IDENTIFYING_PATTERNS:
        text = pattern.sub(" ", text)
    text = _AGE.sub("90", text)

    def keep_abbreviation(match: re.Match[str]) -> str:
        letters = "".join(filter(str.isalpha, match.group()))
        return " " if len(letters) > _LONGEST_ABBREVIATION or identity.contains(letters) else match.group()

    def keep_known_word(match: re.Match[str]) -> str:
        word = match.group()
        return word if not identity.contains(word) and _is_known_word(word, identity) else ""

    text = _SPACED_LETTERS.sub(keep_abbreviation, text)
    cleaned = _FOREIGN_SIGN.sub("", word_pattern(text).sub(keep_known_word, text))
    # Punctuation and spaces around removed words.
    cleaned = re.sub(r"(?<![\w)])[^\w\s(<>=+-]+(?=\s|$)|\(\s*\)|\[\s*\]", "", cleaned)
    cleaned = re.sub(r"[^\S\r\n]{2,}", " ", cleaned)
    cleaned = re.sub(r"_{2,}", "_", cleaned).strip(" _^,;:-/\\")
    return cleaned if words_of(cleaned) else ""


def _is_known_word(word: str, identity: IdentifyingText) -> bool:
    lower = word.casefold()
    if lower in vocabulary() or lower in _UNITS or _NUMBER.match(word) is not None:
        return True
    if len(word) == 1:
        return word.isascii() or word in _SYMBOLS
    if _MIXED.match(word) is not None:
        letters = "".join(character for character in lower if not character.isdigit())
        return not identity.contains(letters) and (letters in _UNITS or letters in vocabulary() or len(letters) <= 2)
    parts = parts_of(word)
    return len(parts) > 1 and all(
        part
        and not identity.contains(part)
        and not (part.isdigit() and len(part) > _LONGEST_PART)
        and _is_known_word(part, identity)
        for part in parts
    )
