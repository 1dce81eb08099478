# SPDX-License-Identifier: Apache-2.0
"""Patterns of personal data in texts and bytes: known names in many forms, names, dates, numbers and addresses."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import AnyStr, Generic

from medhub.science.deid.phi_scan.findings import PhiFinding, excerpt_of

# Patient codes of this hub, and dummy values. Digits alone are not a code.
_CODES = r"[A-Z]{1,2}-(?=\d*[A-Z])(?:[2-7A-Z]{12}|[2-7A-Z]{8}|[2-9A-Z]{6})(?![\w-])"
CODE = re.compile(rf"(?:{_CODES}|REPLACED|ANONYM\w*|)$")
# Values that identify nobody but look like numbers of people: codes, UIDs of the standard, random UIDs, and hashes.
_MEANINGLESS = re.compile(
    rf"\b{_CODES}|\b2\.25\.\d{{1,39}}\b|\b1\.2\.840\.10008(?:\.\d+)+|"
    r"\b(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{128})\b|\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"
)
_PERSON_NAME = re.compile(
    r"\b(?i:mr|mrs|ms|miss|dr|prof|herr|frau|se[nñ]ora?|mme|m\.d|rn)\b\.?\s+[A-Z][\w'-]+|"
    r"[^\W\d_][\w'’-]*\^[^\W\d_][\w'’-]*|"
    r"\b[A-Z][A-Za-z'-]{2,},\s?(?!Inc\b|Ltd\b|Corp\b|Llc\b|Gmb)[A-Z][a-z'-]{2,}\b|"
    r"\b(?i:patient|name|physician|doctor|technologist|operator|referred by|seen by)\s*[:=]\s*[A-Z][\w'-]+",
)
_PERSON_NAME_LOWER = re.compile(r"\b(?:mr|mrs|ms|dr|prof)\.\s?[a-z][\w'-]{2,}", re.IGNORECASE)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("e-mail", re.compile(r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+")),
    ("web address", re.compile(r"\b(?:https?|ftp)://\S+|\bwww\.[\w.-]+", re.IGNORECASE)),
    ("network address", re.compile(r"\b(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\b", re.IGNORECASE)),
    (
        "network address",
        re.compile(r"(?<![\w.])(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}(?![\w.])"),
    ),
    ("social security number", re.compile(r"\b\d{3}-\d{2}-\d{4}\b")),
    (
        "date",
        re.compile(
            r"(?<!\d)(?:19|20)\d{2}([-./]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?!\d)|"
            r"(?<!\d)(?:0?[1-9]|[12]\d|3[01])([-./])(?:0?[1-9]|1[0-2])\2(?:(?:19|20)\d{2}|\d{2})(?!\d)|"
            r"(?<!\d)(?:0?[1-9]|1[0-2])([-./])(?:0?[1-9]|[12]\d|3[01])\3(?:(?:19|20)\d{2}|\d{2})(?!\d)|"
            rf"\b\d{{1,2}}(?:st|nd|rd|th)?[\s-]{_MONTH}[\s,.-]+\d{{2,4}}\b|\b{_MONTH}\.?\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}}\b",
            re.IGNORECASE,
        ),
    ),
    ("telephone number", re.compile(r"(?<![\d.])\+?\(?\d{2,4}\)?[\s./-]\(?\d{2,4}\)?[\s./-]?\d{3,8}(?![\d.])")),
    (
        "number of a person",
        re.compile(r"\b(?:mrn|ssn|nhs|pid|acc|accession|case|visit|id|no)\s?[#:.=]+\s?\w*\d\w*", re.IGNORECASE),
    ),
    ("number of a person", re.compile(r"(?<![\d.,])\d{7,}(?![\d.,])")),
    ("number of a person", re.compile(r"\b(?=[A-Z0-9-]{0,40}\d{4})[A-Z]{1,4}-?\d{4,}(?:-\d+)*\b")),
    ("age above 89", re.compile(r"\b(?:9\d|1[0-2]\d)[\s-]?(?:y|yr|yrs|yo|y/o|years?)\b", re.IGNORECASE)),
    (
        "address",
        re.compile(
            r"\b\d{1,5}\s[A-Z][\w'-]+(?:\s[A-Z][\w'-]+){0,5}\s(?:st|street|ave|avenue|rd|road|ln|lane|blvd|drive|dr|way|court|jalan)\b|"
            r"\b(?:jalan|rue|via|calle)\s[A-Z]\w+|\b[A-Z][\w]{1,40}(?:stra(?:ss|ß)e|straat|weg|gasse)\s\d+|\b[A-Z]{2}\s\d{5}(?:-\d{4})?\b",
            re.IGNORECASE,
        ),
    ),
    ("position", re.compile(r"[-+]?\d{1,2}\.\d{4,}\s*[,;]\s*[-+]?\d{1,3}\.\d{4,}")),
)
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_HEXADECIMAL = re.compile(rb"(?:[0-9a-f]{2}){5,}", re.IGNORECASE)
_MAX_BASE64_BYTES = 8 * 1024**2
# Shorter known words are searched as complete words only, and not in bytes, where any three letters occur by chance.
_MIN_LENGTH_IN_TEXT = 5
_FEW_FORMS = 40
_WORD, _NUMBER = re.compile(r"[^\W_]+"), re.compile(r"\d+")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "oe", "å": "aa", "æ": "ae"})
_SPECIAL_LETTERS = str.maketrans(
    {"đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ł": "l", "ŋ": "n", "ø": "o", "þ": "th", "œ": "oe", "æ": "ae"}
)
_JOINER = r"['`´‘’ʼ\-‐‑]"
_JOINED = re.compile(rf"(?<=\w){_JOINER}(?=\w)")
_BETWEEN = re.compile(r"[\s,.;/_]+")
_SPACED_LETTERS = re.compile(r"(?<!\w)[^\W\d_](?:[\s._,-]{1,2}[^\W\d_](?!\w))+")
_SHORTEST_NUMBER, _WORDS_OF_A_NAME = 3, 3
# Parts of names and titles that many people share.
_SHARED = frozenset(
    (
        *("al", "bin", "bint", "binti", "da", "de", "del", "della", "der", "des", "di", "do", "dos", "dr", "du", "el"),
        *("herr", "ibn", "jr", "la", "le", "md", "mme", "mr", "mrs", "ms", "of", "phd", "prof", "sr", "st", "the"),
        *("van", "von"),
    )
)
# Characters that OCR confuses.
_SIMILAR_CHARACTERS = str.maketrans("01|!il5$8z2q9", "olllllssbzzgg")


class _Index(Generic[AnyStr]):
    """Finds which of many words occur in a text, in about the time of a search for one.

    Parameters
    ----------
    forms
        Searched form to known name or number.
    head
        Length of the prefix that is looked up first; words are not shorter.
    """

    def __init__(self, forms: Mapping[AnyStr, str], head: int) -> None:
        self._forms: dict[AnyStr, str] = dict(forms)
        self._head = head
        self._by_head: dict[AnyStr, list[AnyStr]] = defaultdict(list)
        for form in forms:
            self._by_head[form[:head]].append(form)

    def hits(self, text: AnyStr) -> set[str]:
        """Return the known names and numbers that occur in a text."""
        if len(self._forms) <= _FEW_FORMS:
            return {known_form for form, known_form in self._forms.items() if form in text}
        heads = {text[at : at + self._head] for at in range(len(text) - self._head + 1)} & self._by_head.keys()
        return {self._forms[form] for head in heads for form in self._by_head[head] if form in text}


class PhiPatterns:
    """Searches texts and bytes for personal data.

    Parameters
    ----------
    known_names
        Names and numbers of people that must not occur.
    """

    def __init__(self, known_names: Iterable[str] = ()) -> None:
        parts = {part for name in known_names for part in _searched_parts(name.strip())}
        # Numbers are searched among the numbers of a text, short names among its words, others anywhere in it. A
        # name in a logographic script has one to three characters, and no spaces around it.
        self._characters = frozenset(part for part in parts if len(part) == 1 and not part.isascii())
        parts -= self._characters
        self._numbers = frozenset(part for part in parts if part.isdigit())
        self._short = frozenset(
            part for part in parts - self._numbers if len(part) < _MIN_LENGTH_IN_TEXT and part.isascii()
        )
        names = parts - self._numbers - self._short
        self._names = _Index({part: part for part in names}, 2)
        self._backwards = _Index({part[::-1]: part for part in names}, 2)
        forms: dict[bytes, str] = {}
        for part in names | self._numbers:
            encoded = [part.encode(), part.encode("latin-1", "ignore")]
            encoded += [part.encode("utf-16-le"), part.encode("utf-16-be"), part[::-1].encode()]
            forms |= {
                form: part
                for form in encoded
                if len(form)
                >= (_MIN_LENGTH_IN_TEXT if len(part) >= _MIN_LENGTH_IN_TEXT else 3 * _MIN_LENGTH_IN_TEXT // 2)
            }
        self._bytes = _Index(forms, _MIN_LENGTH_IN_TEXT)
        self._misread = {form: part for part in parts if len(form := fold_similar_characters(part)) >= 4}
        self._any = bool(parts or self._characters)

    def scan(self, location: str, text: str, *, dates: bool = True) -> Iterator[PhiFinding]:
        """Scan a text; ``dates`` decides whether a date is a finding."""
        yield from self.find_known(location, text)
        if CODE.fullmatch(text):
            return
        rest = _MEANINGLESS.sub(" ", unicodedata.normalize("NFKC", text))
        for kind, pattern in _KINDS:
            if dates or kind != "date":
                yield from (PhiFinding(location, kind, excerpt_of(match.group())) for match in pattern.finditer(rest))
        for pattern in (_PERSON_NAME, _PERSON_NAME_LOWER):
            yield from (
                PhiFinding(location, "name of a person", excerpt_of(match.group())) for match in pattern.finditer(rest)
            )
        if len(text) >= 16:
            for inside in _decode_base64(text.encode("utf-8", "ignore")):
                if sum(32 <= byte < 127 for byte in inside) >= 0.95 * len(inside):
                    yield from self.scan(f"{location}, base64", inside.decode("latin-1"), dates=dates)

    def find_known(self, location: str, text: str, *, short: bool = True) -> Iterator[PhiFinding]:
        """Find known names and numbers in a text, also without accents, reversed, and as hexadecimal digits.

        ``short`` includes those of three or four characters, which measured values often are.
        """
        if not self._any:
            return
        lower = text.casefold()
        forms = {lower, fold_letters(lower), without_apostrophes(fold_letters(lower))}
        spaced = {"".join(_WORD.findall(run)) for run in _SPACED_LETTERS.findall(lower)}
        hits = {name for form in forms | spaced for name in self._names.hits(form)}
        if short:
            words = {word for form in forms for word in _WORD.findall(form)}
            words |= {word.rstrip("0123456789") for word in words}
            words |= spaced
            hits |= self._short & words
            hits |= self._characters & set(lower)
        hits |= {
            name for run in _SPACED_LETTERS.findall(lower) for name in self._names.hits("".join(_WORD.findall(run)))
        }
        hits |= {
            number
            for number in self._numbers & set(_NUMBER.findall(lower))
            if short or len(number) >= _MIN_LENGTH_IN_TEXT
        }
        hits |= self._backwards.hits(lower)
        hits |= {
            name for inside in _decode_hexadecimal(text.encode("utf-8", "ignore")) for name in self._names.hits(inside)
        }
        hits -= {form for name in hits for form in _forms(name) if form != name}  # the same name, written otherwise
        yield from (PhiFinding(location, "known identity", name) for name in sorted(hits))

    def find_known_in_bytes(self, location: str, data: bytes) -> Iterator[PhiFinding]:
        """Find known names and numbers in bytes: as UTF-8, UTF-16, hexadecimal digits, and base64."""
        if not self._any:
            return
        lower = data.lower()
        hits = {name for name in self._bytes.hits(lower) if name not in self._numbers or _occurs_alone(name, lower)}
        hits |= {name for inside in _decode_hexadecimal(data) for name in self._names.hits(inside)}
        yield from (PhiFinding(location, "known identity", name) for name in sorted(hits))
        packed = {
            name for inside in _decode_base64(data[:_MAX_BASE64_BYTES]) for name in self._bytes.hits(inside.lower())
        }
        yield from (PhiFinding(f"{location}, base64", "known identity", name) for name in sorted(packed))

    def find_misread(self, text: str) -> str | None:
        """Find a known name or number in a text from OCR, which confuses similar characters."""
        folded = fold_similar_characters(text)
        return next(
            (part for form, part in self._misread.items() if form in folded or _contains_with_error(form, folded)),
            None,
        )


def _occurs_alone(number: str, lower: bytes) -> bool:
    """Whether a number occurs in bytes, and not only within a longer one."""
    if any(number.encode(form) in lower for form in ("utf-16-le", "utf-16-be")):
        return True
    return re.search(rb"(?<!\d)" + number.encode() + rb"(?!\d)", lower) is not None


def _searched_parts(name: str) -> Iterator[str]:
    """The forms of a name or number that are searched, casefolded: the parts of a name, alone and as one word."""
    lower = unicodedata.normalize("NFC", name).casefold()
    if any(character.isdigit() for character in name):
        yield from (form for form in _forms(lower) if len(form) >= _SHORTEST_NUMBER)
        yield from (
            form for part in re.split(r"[\s^,=.;/_]+", lower) for form in _forms(part) if len(form) >= _SHORTEST_NUMBER
        )
        return
    for group in lower.split("="):
        components = [[word for word in _BETWEEN.split(component) if word] for component in group.split("^")]
        own = [[word for word in words if word not in _SHARED] or words for words in components if words]
        words = [word for component in own for word in component]
        yield from _forms(group)
        if 1 < len(words) <= _WORDS_OF_A_NAME:
            joined = (without_apostrophes(fold_letters("".join(order))) for order in (words, words[::-1]))
            yield from (word for word in joined if len(word) > 1)
        for word in words:
            complete = "^" in group and own[0] == [word]
            yield from (form for form in _forms(word) if len(form) > 1 or not form.isascii() or complete)
            yield from (part for part in re.split(_JOINER, fold_letters(word)) if len(part) >= _SHORTEST_NUMBER)


def _forms(text: str) -> set[str]:
    folded = fold_letters(text)
    return {text, folded, without_apostrophes(folded), text.translate(_UMLAUTS)} - {""}


def fold_letters(text: str) -> str:
    """Replace letters by those of the basic alphabet that people write instead, also where Unicode has no accent."""
    return remove_accents(text.translate(_SPECIAL_LETTERS))


def without_apostrophes(text: str) -> str:
    """Remove apostrophes and hyphens within words, which many texts leave out."""
    return _JOINED.sub("", text)


def remove_accents(text: str) -> str:
    """Remove accents, and normalize characters to one width."""
    return "".join(
        character for character in unicodedata.normalize("NFKD", text) if not unicodedata.combining(character)
    )


def fold_similar_characters(text: str) -> str:
    """Reduce a text to letters and digits, with one character for all that look similar."""
    return "".join(
        character for character in remove_accents(text.casefold()) if character.isalnum() or character in "|!$"
    ).translate(_SIMILAR_CHARACTERS)


def _contains_with_error(form: str, text: str) -> bool:
    """Whether a word of six characters or more occurs with one character wrong, missing or added."""
    if len(form) < 6:
        return False
    half = len(form) // 2
    if form[:half] not in text and form[half:] not in text:
        return False
    # Sellers' algorithm: the smallest number of changes between the word and any part of the text.
    row = [0] * (len(text) + 1)
    for number, sign in enumerate(form, start=1):
        before, row = row, [number] + [0] * len(text)
        for at, other in enumerate(text, start=1):
            row[at] = min(before[at - 1] + (sign != other), before[at] + 1, row[at - 1] + 1)
    return min(row) <= 1


def _decode_hexadecimal(data: bytes) -> Iterator[str]:
    """Decode runs of hexadecimal digits, casefolded."""
    for run in _HEXADECIMAL.findall(data):
        inside = bytes.fromhex(run[: len(run) // 2 * 2].decode())
        yield inside.decode("utf-8", "replace").casefold()


def _decode_base64(data: bytes) -> Iterator[bytes]:
    for run in _BASE64.findall(data):
        # Each run is decoded alone and padded, since its padding may be missing or belong to other text.
        bare = run.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        bare = bare[: len(bare) - (len(bare) % 4 == 1)]
        try:
            yield base64.b64decode(bare + b"=" * (-len(bare) % 4))
        except (binascii.Error, ValueError):
            continue
