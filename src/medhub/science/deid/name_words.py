# SPDX-License-Identifier: Apache-2.0
"""Words of a person's name, in every script and of any length, and the forms in which texts write them.

A text may write a name without diacritics, apostrophes or hyphens, in another order, in another case, or as one word;
the words of a name are folded so that each of these forms is the same word.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Literal

_APOSTROPHES = "'\u2018\u2019\u02bc\u02bb`\u00b4\uff07"
_HYPHENS = "-\u2010\u2011\u2012\u2013\u00ad"
_JOINERS = f"[{re.escape(_APOSTROPHES + _HYPHENS)}]"


def _marks() -> str:
    """The combining marks as ranges of a character class: vowels of Thai or Hindi, accents."""
    marks = [code for code in range(0x300, 0x1F000) if _is_mark(code)]
    ranges: list[list[int]] = []
    for code in marks:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


def _is_mark(code: int) -> bool:
    return unicodedata.category(chr(code)).startswith("M")


def _word_pattern(letter: str) -> re.Pattern[str]:
    return re.compile(rf"{letter}+(?:{_JOINERS}{letter}+)*")


_ASCII_WORD = _word_pattern("[^\\W_]")
_WORD = _word_pattern(rf"(?:[^\W_]|[{_marks()}])")
_SPLIT = re.compile(_JOINERS)
_LETTERS_WITHOUT_DECOMPOSITION = str.maketrans(
    {"đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ł": "l", "ŋ": "n", "ø": "o", "þ": "th", "æ": "ae", "œ": "oe", "ə": "e"}
)
# Characters that OCR confuses, and those within words that some texts leave out.
_FOLDED = str.maketrans("015", "ois", _APOSTROPHES + _HYPHENS)
_GERMAN = (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ø", "oe"), ("å", "aa"))
# Prefix and suffix of a name (PS3.5, 6.2.1) are titles; only longer words of them count.
_COMPONENTS_OF_NAME = 3
_SHORTEST_TITLE = 4


@cache
def _shared_words(kind: Literal["particles", "titles"]) -> frozenset[str]:
    """Words beside a name that many people share; they count as names only where a name consists of nothing else."""
    table = tomllib.loads(files("medhub.science.deid").joinpath("tables/name_parts.toml").read_text("utf-8"))
    return frozenset(table[kind].split())


def words_of(text: str) -> list[str]:
    """Split a text into words; apostrophes and hyphens between letters are parts of a word."""
    return word_pattern(text).findall(text)


def word_pattern(text: str) -> re.Pattern[str]:
    """The pattern of the words of a text; that of ASCII texts takes a fraction of the time."""
    return _ASCII_WORD if text.isascii() else _WORD


def parts_of(word: str) -> list[str]:
    """Split a word at its apostrophes and hyphens."""
    return _SPLIT.split(word)


def fold_word(text: str) -> str:
    """Fold a word: case, diacritics, apostrophes, hyphens and characters that OCR confuses do not matter."""
    text = text.casefold()
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text.translate(_LETTERS_WITHOUT_DECOMPOSITION))
        text = "".join(character for character in decomposed if not unicodedata.combining(character)).casefold()
    return text.translate(_FOLDED)


def name_words(name: str) -> set[str]:
    """Collect the folded words by which a text can name a person.

    Parameters
    ----------
    name
        A person name of DICOM (PS3.5, 6.2.1), with all its component groups, or a name as people write it.

    Returns
    -------
    set[str]
        Each word of the name, its parts at hyphens and apostrophes, and family and given name as one word. A single
        Latin letter counts only as a complete family name; particles and titles count where there is nothing else.
    """
    words: set[str] = set()
    for group in unicodedata.normalize("NFC", name).split("="):
        components = [words_of(component) for component in group.split("^")]
        named = [_distinctive(component) for component in components[:_COMPONENTS_OF_NAME]]
        for number, component in enumerate(named):
            for word in component:
                words.update(_forms(word, alone=number == 0 and len(component) == 1))
        for component in components[_COMPONENTS_OF_NAME:]:
            words |= {
                fold_word(word)
                for word in component
                if len(word) >= _SHORTEST_TITLE and fold_word(word) not in _shared_words("titles")
            }
        family, given = ("".join(component) for component in (*named, [], [])[:2])
        if family and given:
            words |= {fold_word(family + given), fold_word(given + family)}
        elif named and 1 < len(named[0]) <= _COMPONENTS_OF_NAME:
            words |= {fold_word("".join(named[0])), fold_word("".join(reversed(named[0])))}
    return {word for word in words if word and not word.isdigit()}


def _distinctive(words: list[str]) -> list[str]:
    """The words of a component that few people share, or all of them if there are no others."""
    shared = _shared_words("particles") | _shared_words("titles")
    own = [word for word in words if fold_word(word) not in shared and not word.isdigit()]
    return own if any(len(fold_word(word)) > 1 for word in own) or not words else words


def _forms(word: str, *, alone: bool) -> Iterator[str]:
    for part in {word, *parts_of(word)}:
        folded = fold_word(part)
        if len(folded) == 1 and folded.isascii() and not (alone and part == word):
            continue
        if part != word and folded in _shared_words("particles"):
            continue
        yield folded
        expanded = part.casefold()
        for letter, letters in _GERMAN:
            expanded = expanded.replace(letter, letters)
        yield fold_word(expanded)
