# SPDX-License-Identifier: Apache-2.0
"""Identifying words of a dataset (names, numbers, addresses), which are then removed from its other texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

from cachetools import FIFOCache
from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from medhub.science.deid.name_words import fold_word, name_words, parts_of, words_of

_NUMBERS = frozenset(
    tag_for_keyword(keyword)
    for keyword in [
        "PatientID",
        "OtherPatientIDs",
        "AccessionNumber",
        "StudyID",
        "AdmissionID",
        "IssuerOfPatientID",
        "MedicalRecordLocator",
        "ServiceEpisodeID",
        "FillerOrderNumberImagingServiceRequest",
        "PlacerOrderNumberImagingServiceRequest",
        "RequestedProcedureID",
        "ScheduledProcedureStepID",
        "PerformedProcedureStepID",
        "DeviceSerialNumber",
        "PatientInsurancePlanCodeSequence",
        "ClinicalTrialSubjectID",
        "ClinicalTrialSubjectReadingID",
    ]
)
_LOCATIONS = frozenset(
    tag_for_keyword(keyword)
    for keyword in [
        "PatientAddress",
        "PatientTelephoneNumbers",
        "InstitutionName",
        "InstitutionAddress",
        "InstitutionalDepartmentName",
        "StationName",
        "ReferringPhysicianAddress",
        "ReferringPhysicianTelephoneNumbers",
        "RegionOfResidence",
        "CurrentPatientLocation",
        "PatientInstitutionResidence",
        "PhysiciansOfRecord",
        "OrderEnteredBy",
        "OrderEntererLocation",
    ]
)
_IDENTIFYING_TAGS = _NUMBERS | _LOCATIONS
_IDENTIFYING_VRS = ("PN", "SQ")
# Shorter parts of numbers and addresses occur in too many other words. Parts of names count at any length.
_MIN_WORD_LENGTH = 3
_MAX_VALUE_BYTES = 1_024
_MAX_CACHED_ELEMENTS = 256
_MIN_LENGTH_IN_BYTES = 5
_MIN_LENGTH_WITHIN = 4
_FOLDED_BYTES = bytes.maketrans(b"015", b"ois")
_WORD = re.compile(r"[^\W_]+")
# Common words in the names of hospitals.
_COMMON_WORDS = frozenset(
    [
        "hospital",
        "clinic",
        "center",
        "centre",
        "medical",
        "university",
        "department",
        "radiology",
        "radiologie",
        "institute",
        "general",
        "health",
        "street",
        "road",
        "city",
        "the",
        "and",
        "for",
        "von",
        "van",
        "der",
        "des",
        "del",
        "imaging",
        "centrum",
        "klinik",
        "hopital",
    ]
)


@dataclass(frozen=True)
class IdentifyingText:
    """Words that identify a person, folded.

    Attributes
    ----------
    words
        Each is removed from every text that is cleaned.
    names
        Those of them that are of a person's name; they are removed from every text, also from one that is kept.
    """

    words: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    def __or__(self, other: IdentifyingText) -> IdentifyingText:
        """Join the words of both."""
        return IdentifyingText(self.words | other.words, self.names | other.names)

    def contains(self, word: str) -> bool:
        """Whether a word identifies a person."""
        return fold_word(word) in self.words

    def contains_any(self, text: str) -> bool:
        """Whether a text is, or contains, a word that identifies a person, also as a part of a longer word."""
        return _contains_any(text, self.words)

    def contains_name(self, text: str) -> bool:
        """Whether a text contains a word of a person's name, also with characters between or behind its letters."""
        if not self.names:
            return False
        letters = fold_word("".join(filter(str.isalpha, text)))
        return _contains_any(text, self.names) or any(
            name in letters for name in self.names if len(name) >= _MIN_LENGTH_WITHIN
        )

    def occurs_in(self, data: bytes) -> bool:
        """Whether bytes contain an identifying word, in one or two bytes per character; short words are ignored."""
        plain = data.lower().translate(_FOLDED_BYTES)
        forms = (plain, plain.replace(b"\0", b""))
        return any(word.encode() in form for word in self.words if len(word) >= _MIN_LENGTH_IN_BYTES for form in forms)


def _contains_any(text: str, folded: frozenset[str]) -> bool:
    if fold_word(text) in folded:
        return True
    return any(fold_word(part) in folded for word in words_of(text) for part in (word, *parts_of(word)))


def identifying_text_of_person(texts: Iterable[str]) -> IdentifyingText:
    """Collect identifying words from what is known of a person apart from a file: names, numbers, addresses."""
    words: set[str] = set()
    names: set[str] = set()
    for text in texts:
        if not any(character.isdigit() for character in text):
            names |= name_words(text)
        elif len(text.strip()) >= _MIN_WORD_LENGTH:
            words.add(fold_word(text.strip()))
            words |= {fold_word(word) for word in _WORD.findall(text) if len(word) >= _MIN_WORD_LENGTH}
    return IdentifyingText(frozenset(words | names), frozenset(names))


def identifying_text_of(dataset: Dataset) -> IdentifyingText:
    """Collect the identifying words of a dataset, at every depth.

    Parameters
    ----------
    dataset
        As received.

    Returns
    -------
    IdentifyingText
    """
    words: set[str] = set()
    names: set[str] = set()
    pending = [dataset]
    while pending:
        item = pending.pop()
        encoding = (str(item.original_character_set), *item.original_encoding)
        for tag, raw in list(item.items()):
            # Most elements identify nobody and need no conversion.
            if tag not in _IDENTIFYING_TAGS and not (
                _may_identify(tag) if raw.VR in (None, "UN") else raw.VR in _IDENTIFYING_VRS
            ):
                continue
            key = _cache_key(tag, raw, encoding)
            known = _find_words(key) if key is not None else None
            is_name = raw.VR == "PN"
            if known is None:
                try:
                    element = item[tag]
                    value = element.value
                # A value that cannot be read is removed as well.
                except Exception:  # noqa: S112
                    continue
                if element.VR == "SQ":
                    pending.extend(item for item in value or () if isinstance(item, Dataset))
                    continue
                is_name = element.VR == "PN"
                known = frozenset(word for text in _text_values(element) for word in _identifying_words(element, text))
                if key is not None:
                    _cache_words(key, known)
            words |= known
            if is_name:
                names |= known
    return IdentifyingText(frozenset(words), frozenset(names))


def _cache_key(tag: BaseTag, raw: Any, encoding: tuple[object, ...]) -> tuple[object, ...] | None:
    """Key of an element in the cache; ``None`` if other elements decide how it is read."""
    if type(raw) is not RawDataElement or raw.VR in (None, "UN", "SQ") or len(raw.value or b"") > _MAX_VALUE_BYTES:
        return None
    return (int(tag), raw.VR, raw.value, encoding)


# Words of earlier elements, in the memory of this process: the objects of a series share most of them.
_cached_words: FIFOCache[tuple[object, ...], frozenset[str]] = FIFOCache(maxsize=_MAX_CACHED_ELEMENTS)
_cached_words_lock = Lock()


def _find_words(key: tuple[object, ...]) -> frozenset[str] | None:
    with _cached_words_lock:
        return _cached_words.get(key)


def _cache_words(key: tuple[object, ...], words: frozenset[str]) -> None:
    with _cached_words_lock:
        _cached_words[key] = words


@lru_cache(maxsize=4_096)
def _may_identify(tag: BaseTag) -> bool:
    """Whether an element without a value representation in the file can be a name or a sequence."""
    try:
        return dictionary_VR(tag) in _IDENTIFYING_VRS
    except KeyError:  # private, in an implicit syntax
        return True


def _text_values(element: DataElement) -> list[str]:
    value = element.value
    if value is None or isinstance(value, bytes):
        return []
    values = value if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value]
    return [str(part) for part in values if part not in (None, "")]


def _identifying_words(element: DataElement, value: str) -> Iterator[str]:
    tag = int(element.tag)
    if element.VR == "PN":
        yield from name_words(value)
    elif tag in _NUMBERS:
        if len(value.strip()) >= _MIN_WORD_LENGTH:
            yield fold_word(value.strip())
        for word in _WORD.findall(value):
            if len(word) > _MIN_WORD_LENGTH:
                yield fold_word(word)
    elif tag in _LOCATIONS:
        for word in _WORD.findall(value):
            if len(word) > _MIN_WORD_LENGTH and word.casefold() not in _COMMON_WORDS:
                yield fold_word(word)
