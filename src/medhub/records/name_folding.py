# SPDX-License-Identifier: Apache-2.0
"""Names as people type them: one form for the spellings of a word, and the parts of a word by which it is found.

Folding ignores case, accents, the letters that accents cannot explain (đ ł ø æ ı), old and new forms of Han
characters, katakana and hiragana, the forms of Arabic letters, and digits of other scripts.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from importlib import resources
from itertools import pairwise

MAX_PREFIX = 24
_MAX_SUBSTRINGS_OF = 12  # characters of a Han, kana or Hangul word, all of whose parts are indexed
_MAX_WORDS = 24

_JOINER = "\x01"  # joins a word or separates two: O'Brien, Smith-Jones, J.R.
_JOINERS = frozenset("'’‘ʼ`´ʹʻʿʾ＇.-‐‑‒–—־·・․\u200b\u200c\u200d")
_SPELLED_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa", "ə": "a"})
_LATIN = re.compile(r"LATIN (?:SMALL|CAPITAL) (?:LETTER|LIGATURE) (.+?)(?: WITH .+)?")
_LATIN_LETTERS = {
    "DOTLESS I": "i", "DOTLESS J": "j", "ETH": "d", "THORN": "th", "ENG": "ng", "SCHWA": "e", "OPEN E": "e",
    "OPEN O": "o", "KRA": "k", "SHARP S": "ss", "LONG S": "s", "AFRICAN D": "d", "EZH": "z", "IOTA": "i",
    "UPSILON": "u", "ESH": "sh", "REVERSED E": "e", "TURNED E": "e", "SCRIPT G": "g", "ALPHA": "a", "SALTILLO": "",
    "GLOTTAL STOP": "",
}  # fmt: skip
_OTHER_LETTERS = {
    # Arabic script: forms of alef, ya, kaf, ha and ta marbuta; hamza and the stretching mark are often left out.
    "ٱ": "ا", "ى": "ي", "ی": "ي", "ې": "ي", "ے": "ي", "ۍ": "ي", "ک": "ك", "ڪ": "ك", "ة": "ه", "ە": "ه", "ہ": "ه",
    "ھ": "ه", "ۃ": "ه", "ء": "", "ـ": "",
    # Final letters of Hebrew.
    "ך": "כ", "ם": "מ", "ן": "נ", "ף": "פ", "ץ": "צ",
    # Cyrillic letters that are typed without their mark.
    "ѐ": "е", "ѝ": "и", "ґ": "г",
}  # fmt: skip
_VOICING_MARKS = frozenset("\u3099\u309a")
_CJK = re.compile(r"[\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff々〆]+")
_ARABIC_ARTICLE = "ال"


def fold_text(text: str) -> str:
    """A text without case, accents and punctuation, in one spelling; words are separated by one space."""
    return " ".join(_fold(text).replace(_JOINER, "").split())


def words_of(text: str) -> list[list[str]]:
    """The words of a text; a word such as O'Brien is given by its parts, o and brien."""
    return [parts for chunk in _fold(text).split() if (parts := [part for part in chunk.split(_JOINER) if part])]


def index_words(text: str) -> set[str]:
    """All words by which a text is found: parts, joined parts, joined neighbors, and the words without an article."""
    words: set[str] = set()
    for spelling in _spellings(text):
        chunks = words_of(spelling)[:_MAX_WORDS]
        joined = ["".join(parts) for parts in chunks]
        words.update(part for parts in chunks for part in parts)
        words.update(joined)
        words.update(first + second for first, second in pairwise(joined))
        words.add("".join(joined))
    words |= {word.removeprefix(_ARABIC_ARTICLE) for word in words if len(word) > len(_ARABIC_ARTICLE) + 1}
    words |= {run for word in words for run in _split_scripts(word)}
    return words - {""}


def name_terms(name: str) -> set[str]:
    """The words of a name with their beginnings; of Han, kana and Hangul words every part."""
    terms: set[str] = set()
    for word in index_words(name):
        terms.add(word)
        if not _CJK.fullmatch(word):
            terms.update(word[:length] for length in range(2, min(len(word), MAX_PREFIX) + 1))
        elif len(word) <= _MAX_SUBSTRINGS_OF:
            terms.update(word[i:j] for i in range(len(word)) for j in range(i + 1, len(word) + 1))
        else:
            terms.update(word[i : i + length] for length in (1, 2, 3) for i in range(len(word) - length + 1))
    return terms


def query_alternatives(query: str) -> list[list[list[str]]]:
    """What is searched for: for each word of a query its alternatives, each a list of terms that must all match.

    A single letter beside longer words is ignored, since it is no more than the beginning of a word.
    """
    by_spelling = [words_of(spelling)[:_MAX_WORDS] for spelling in _spellings(query)]
    chunks = [[spelling[i] for spelling in by_spelling if i < len(spelling)] for i in range(len(by_spelling[0]))]
    alternatives = [
        [*(["".join(parts)] for parts in spellings), *(parts for parts in spellings if len(parts) > 1)]
        for spellings in chunks
    ]
    longer = [word for word in alternatives if any(len(t) > 1 or _CJK.fullmatch(t) for terms in word for t in terms)]
    return longer or alternatives


def names_agree(first: str, second: str) -> bool:
    """Whether the words of one name, in any order, are all among those of the other.

    The representations of a DICOM name (``YAMADA^TARO=山田^太郎``) are compared each by itself.
    """
    return any(
        _same_words(name, other)
        for name in first.split("=")
        for other in second.split("=")
        if name.strip("^ ") and other.strip("^ ")
    )


def _same_words(first: str, second: str) -> bool:
    for name in _spellings(first):
        for other in _spellings(second):
            words, other_words = ({"".join(parts) for parts in words_of(text)} for text in (name, other))
            if words and other_words and (words <= other_words or other_words <= words):
                return True
            if words and _joined(name) == _joined(other):
                return True
    return False


def _joined(text: str) -> str:
    return fold_text(text).replace(" ", "")


def _spellings(text: str) -> list[str]:
    """The text, and the text with ä as ae, ø as oe, å as aa."""
    composed = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold())
    spelled = composed.translate(_SPELLED_OUT)
    return [text] if spelled == composed else [text, spelled]


def _split_scripts(word: str) -> list[str]:
    """The runs of Han, kana and Hangul characters of a word, and the runs of others."""
    runs = _CJK.findall(word)
    return [*runs, *(part for part in _CJK.split(word) if part)] if runs else []


def _fold(text: str) -> str:
    # Normalized before and after casefolding, because of characters such as 𝐀 and ŉ.
    text = "".join(_JOINER if c in _JOINERS else c for c in text)
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    folded = unicodedata.normalize("NFC", "".join(map(_fold_character, decomposed)))
    return "".join(map(_fold_composed, folded)).strip()


@lru_cache(maxsize=4096)
def _fold_character(character: str) -> str:
    if character == _JOINER or character in _JOINERS:
        return _JOINER
    category = unicodedata.category(character)
    if character in _VOICING_MARKS:
        return character
    if unicodedata.combining(character) or (category in {"Cf", "Lm"} and character not in "ー々〆"):
        return ""
    if category in {"Mn", "Mc"}:
        return character
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if not character.isalnum():
        return " "
    return _OTHER_LETTERS.get(character, character)


@lru_cache(maxsize=4096)
def _fold_composed(character: str) -> str:
    if "\u30a1" <= character <= "\u30f6":  # katakana
        return chr(ord(character) - 0x60)
    if character.isascii() or not character.isalpha():
        return character
    if match := _LATIN.fullmatch(unicodedata.name(character, "")):
        letter = match[1]
        return _LATIN_LETTERS.get(letter, letter.lower() if len(letter) <= 2 else character)
    return _han_variants().get(character, character)


@lru_cache(maxsize=1)
def _han_variants() -> dict[str, str]:
    """Han characters and the one that stands for their group."""
    text = resources.files(__package__).joinpath("han_variants.txt").read_text("utf-8")
    groups = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {character: group[0] for group in groups for character in group}
