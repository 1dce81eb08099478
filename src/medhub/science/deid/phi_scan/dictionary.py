# SPDX-License-Identifier: Apache-2.0
"""Words that the texts of DICOM objects consist of; any other word may be the name of a person or of a place.

The dictionary is not that of the de-identification: it takes every word of the standard's attribute names, defined
terms and code meanings, in any case.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from pydicom._dicom_dict import DicomDictionary
from pydicom.sr._concepts_dict import concepts as _concepts

_WORD = re.compile(r"[^\W_]+")
_SHORTEST_LATIN = 3
_GREEK = range(0x370, 0x400)
_UNITS = frozenset(
    (
        *(
            "khz",
            "mhz",
            "kev",
            "kvp",
            "mas",
            "mci",
            "mbq",
            "mgy",
            "deg",
            "yrs",
            "min",
            "sec",
            "bpm",
            "fps",
            "pix",
            "mmhg",
        ),
        *("replaced", "anonymous", "anonymized"),  # dummies
    )
)


@cache
def _dictionary() -> frozenset[str]:
    words = set(_UNITS)
    known: Any = _concepts
    meanings = (meaning for codes in known.values() for terms in codes.values() for meaning, _ in terms.values())
    for text in (*(entry[2] for entry in DicomDictionary.values()), *meanings):
        words.update(_words(text))
    tables = files("medhub.science.deid").joinpath("tables")
    for line in tables.joinpath("words.txt").read_text("utf-8").splitlines():
        words.update(_words(line.split("#")[0]))
    words.update(_words(tables.joinpath("codes.toml").read_text("utf-8")))
    return frozenset(words)


def unknown_words(text: str) -> list[str]:
    """List the words of a text that no dictionary has.

    Parameters
    ----------
    text
        Of an attribute.

    Returns
    -------
    list[str]
        Words of Latin letters from three letters on, and every word of another script; words with digits are left to
        the patterns of numbers.
    """
    known = _dictionary()
    return [
        word
        for word in _WORD.findall(unicodedata.normalize("NFC", text))
        if not any(character.isdigit() for character in word)
        and (len(word) >= _SHORTEST_LATIN or not _is_latin_or_sign(word))
        and word.casefold() not in known
    ]


def _words(text: str) -> Iterator[str]:
    return (word.casefold() for word in _WORD.findall(text))


def _is_latin_or_sign(word: str) -> bool:
    return all(ord(character) < 0x250 or (len(word) == 1 and ord(character) in _GREEK) for character in word)
