# SPDX-License-Identifier: Apache-2.0
"""Text in images that may stay: settings, measurements, laterality markers; no word that the file uses as a name."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files

from medhub.science.deid.identifying_text import IdentifyingText

_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)*", re.UNICODE)
_LETTERS_OR_DIGITS = re.compile(r"[^\W\d_]+|\d+(?:[.,]\d+)?", re.UNICODE)
# Characters between numbers and words. Devices write no others; an e-mail address contains some.
_SEPARATORS = re.compile(r"[\s.,:;=+\-*/%()\[\]<>×°~|'\"_^#]*")
# Dates, times of day, years: without their separators they look like measurements.
_DATE = re.compile(r"\d{1,4}\s*[-./:]\s*\d{1,2}\s*[-./:]\s*\d{1,4}|\b\d{1,2}:\d{2}\b|\b(?:19|20)\d{2}\b")
# "DR 60" is a setting of ultrasound, "Dr. Long" a person.
_TITLE = re.compile(r"\b(?:dr|mr|mrs|ms|prof)\b[.:]?\s*[^\W\d_]", re.IGNORECASE)
_LONGEST_NUMBER = 4
# Characters that OCR confuses.
_OCR_CONFUSIONS = str.maketrans("0158|!", "oisbii")


def is_allowed_text(text: str, modality: str, identity: IdentifyingText) -> bool:
    """Whether a text may stay in an image.

    Parameters
    ----------
    text
        As recognized.
    modality
        (0008,0060); decides which words are known.
    identity
        Words that identify a person.

    Returns
    -------
    bool
    """
    if _DATE.search(text) or _TITLE.search(text) or not _SEPARATORS.fullmatch(_LETTERS_OR_DIGITS.sub("", text)):
        return False
    compact = re.sub(r"\s", "", text)
    if identity.contains(compact) or any(identity.contains(word) for word in text.split()):
        return False
    known = _allowed_words(modality.upper())
    words = _WORD.findall(text)
    if any(identity.contains(word) for word in words):
        return False
    return bool(words) and all(_is_allowed_word(word, known) for word in words)


def _is_allowed_word(word: str, known: frozenset[str]) -> bool:
    # A known word stays one word even if OCR read a letter as a digit; others are split: "5cm".
    if any(character.isalpha() for character in word) and _fold(word) in known:
        return True
    for part in _LETTERS_OR_DIGITS.findall(word):
        if part[0].isdigit():
            if sum(character.isdigit() for character in part) > _LONGEST_NUMBER:
                return False
        elif not _is_known(part, known):
            return False
    return True


def _is_known(word: str, known: frozenset[str]) -> bool:
    folded = _fold(word)
    if folded in known:
        return True
    # OCR joins words that are close together: "PAERECT".
    return any(folded[:cut] in known and folded[cut:] in known for cut in range(2, len(folded) - 1))


def _fold(word: str) -> str:
    return word.casefold().translate(_OCR_CONFUSIONS).replace("l", "i")


@cache
def _allowed_words(modality: str) -> frozenset[str]:
    table = tomllib.loads(files("medhub.science.deid").joinpath("tables/harmless.toml").read_text("utf-8"))
    group = table["same_as"].get(modality, modality)
    text = f"{table['all']} {table['modality'].get(group, '')}"
    return frozenset(_fold(word) for word in text.split())
