# SPDX-License-Identifier: Apache-2.0
"""Cache around the de-identifier: the elements that the objects of a series share are de-identified once.

The result for an element at the root depends on the element as received, the profile, the patient, the identifying
words, the SOP class and the private creator of its block, and on nothing else. Where all of these are the same, the
result is taken from the memory of this process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

from cachetools import LRUCache
from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from medhub.science.deid.attributes.deidentifier import (
    MAX_DEPTH,
    DeidentifiedDataset,
    Deidentifier,
    ElementResult,
    object_context,
    read_private_creator,
)
from medhub.science.deid.attributes.element_context import ActionRecord, ItemContext, ObjectContext
from medhub.science.deid.attributes.method_attributes import write_method_attributes
from medhub.science.deid.identifying_text import IdentifyingText
from medhub.science.deid.profile import Profile
from medhub.science.deid.pseudonym import Pseudonym

# A few series that arrive at the same time; each cache takes a few megabytes at most.
_MAX_CACHES = 8
_MAX_ELEMENTS = 4_096
_MAX_VALUE_BYTES = 1_024
_MAX_RESULTS = 64
_MAX_CREATORS = 256

ElementKey = tuple[int, str | None, bytes | None, str]
ActionRecords = tuple[ActionRecord, ...]


@dataclass(slots=True)
class CachedElement(ElementResult):
    """A result that several objects share, with its encoding once it has been written."""

    encoded: bytes = b""  # explicit little endian, UTF-8

    def is_still(self, element: DataElement) -> bool:
        """Whether an element of a dataset has the value and representation of this result."""
        value = element.value
        same = value is self.value or (type(self.value) is MultiValue and type(value) is list and self.value == value)
        return same and self.vr == element.VR


@dataclass(frozen=True)
class CachedDataset(DeidentifiedDataset):
    """A de-identified dataset, and those of its elements that other objects share."""

    shared: Mapping[BaseTag, CachedElement]


@dataclass
class ElementCache:
    """Results for one profile, patient and SOP class."""

    profile: Profile  # a reference, so that the id of the profile is not used again
    elements: dict[ElementKey, CachedElement] = field(default_factory=dict)
    creators: dict[tuple[str | None, bytes | None], str] = field(default_factory=dict)
    _method_elements: dict[tuple[frozenset[str], bool], dict[BaseTag, CachedElement]] = field(default_factory=dict)
    _records: dict[ActionRecords, ActionRecords] = field(default_factory=dict)
    _joined_records: dict[tuple[int, ...], tuple[list[ActionRecords], ActionRecords]] = field(default_factory=dict)

    def add(self, key: ElementKey, result: ElementResult) -> CachedElement:
        """Add a result; a full cache is cleared first."""
        if len(self.elements) >= _MAX_ELEMENTS:
            self.elements.clear()
        cached = self.elements[key] = _to_cached(result, self.intern_records(result.actions))
        return cached

    def intern_records(self, records: ActionRecords) -> ActionRecords:
        """Return the first tuple that is equal to these records of one element."""
        if len(self._records) >= _MAX_ELEMENTS:
            self._records.clear()
        return self._records.setdefault(records, records)

    def join_records(self, groups: list[ActionRecords]) -> ActionRecords:
        """Join the interned records of all elements of an object, into one tuple for all objects with the same."""
        key = tuple(map(id, groups))
        cached = self._joined_records.get(key)
        if cached is not None:
            return cached[1]
        if len(self._joined_records) >= _MAX_RESULTS:
            self._joined_records.clear()
        joined = tuple(record for group in groups for record in group)
        self._joined_records[key] = (groups, joined)  # references to the groups, so that their ids are not used again
        return joined

    def method_elements(self, dates: frozenset[str], graphics: bool) -> dict[BaseTag, CachedElement]:
        """Make the elements of ``write_method_attributes``, once for all objects."""
        elements = self._method_elements.get((dates, graphics))
        if elements is None:
            dataset = Dataset()
            write_method_attributes(dataset, self.profile, dates=dates, graphics=graphics)
            elements = {
                element.tag: CachedElement(str(element.VR), element.value, (), frozenset(), frozenset())
                for element in dataset
            }
            self._method_elements[dates, graphics] = elements
        return elements


_caches: LRUCache[tuple[object, ...], ElementCache] = LRUCache(maxsize=_MAX_CACHES)
_caches_lock = Lock()


def clear_caches() -> None:
    """Forget the results for all profiles and patients."""
    with _caches_lock:
        _caches.clear()


def deidentify_cached(
    dataset: Dataset,
    profile: Profile,
    subject: Pseudonym,
    *,
    max_depth: int = MAX_DEPTH,
    identity: IdentifyingText | None = None,
    elements: Mapping[BaseTag, DataElement | RawDataElement] | None = None,
) -> CachedDataset:
    """Do what ``deidentifier.deidentify`` does, with results of earlier objects where they apply.

    Parameters
    ----------
    dataset, profile, subject, max_depth, identity
        As for ``deidentifier.deidentify``.
    elements
        The elements of the dataset as they were parsed, if some have been converted since: the cache recognizes
        elements by their bytes. None may have been changed.

    Returns
    -------
    CachedDataset

    Raises
    ------
    NestedTooDeep
        When sequences lie deeper than ``max_depth``.
    """
    run = object_context(dataset, profile, subject, max_depth, identity)
    encoding = (str(dataset.original_character_set), *dataset.original_encoding)
    cache = _cache_for(profile, subject, run.identity, run.sop_class, encoding)
    deidentifier = _CachingDeidentifier(run, cache, elements or {})
    new, log = deidentifier.process_root(dataset)
    for tag, cached in cache.method_elements(frozenset(log.dates), "graphics" in log.options).items():
        new.add(cached.element(tag))
        deidentifier.shared[tag] = cached
    return CachedDataset(new, cache.join_records(deidentifier.record_groups), deidentifier.shared)


class _CachingDeidentifier(Deidentifier):
    """A de-identifier that takes elements at the root from a cache."""

    def __init__(
        self, run: ObjectContext, cache: ElementCache, parsed: Mapping[BaseTag, DataElement | RawDataElement]
    ) -> None:
        super().__init__(run)
        self.shared: dict[BaseTag, CachedElement] = {}
        self.record_groups: list[ActionRecords] = []
        self._cache = cache
        self._parsed = parsed

    def process_element(self, dataset: Dataset, tag: BaseTag, item: ItemContext) -> ElementResult:
        """Process an element, or return the cached result if it is at the root and equal to an earlier one."""
        if item.path:
            return super().process_element(dataset, tag, item)
        creator = item.private_creators.get((tag >> 16, (tag & 0xFFFF) >> 8), "") if tag & 0x10000 else ""
        key = _element_key(tag, self._raw_element(dataset, tag), creator)
        result: ElementResult
        if key is None:
            result = super().process_element(dataset, tag, item)
            result.actions = self._cache.intern_records(result.actions)
        else:
            cached = self._cache.elements.get(key)
            if cached is None:
                cached = self._cache.add(key, super().process_element(dataset, tag, item))
            result = self.shared[tag] = cached
        if result.actions:
            self.record_groups.append(result.actions)
        return result

    def read_private_creator(self, dataset: Dataset, tag: BaseTag) -> str:
        """Read a private creator at the root, or return the cached one with the same bytes."""
        raw = self._raw_element(dataset, tag)
        if type(raw) is not RawDataElement:
            return read_private_creator(dataset, tag)
        creator = self._cache.creators.get((raw.VR, raw.value))
        if creator is None:
            creator = read_private_creator(dataset, tag)
            if len(self._cache.creators) < _MAX_CREATORS:
                self._cache.creators[raw.VR, raw.value] = creator
        return creator

    def _raw_element(self, dataset: Dataset, tag: BaseTag) -> DataElement | RawDataElement | None:
        raw = self._parsed.get(tag)
        return raw if raw is not None else dataset.get_item(tag)


def _cache_for(profile: Profile, *rest: object) -> ElementCache:
    """Find or make the cache for a profile and everything else on which results depend."""
    key = (id(profile), *rest)
    with _caches_lock:
        cache = _caches.get(key)
        if cache is None:
            cache = _caches[key] = ElementCache(profile)
        return cache


def _to_cached(result: ElementResult, records: ActionRecords) -> CachedElement:
    return CachedElement(result.vr, result.value, records, result.options, result.dates)


def _element_key(tag: BaseTag, raw: DataElement | RawDataElement | None, creator: str) -> ElementKey | None:
    """Key of an element; ``None`` if it is long, nested, already converted, or depends on other elements."""
    if type(raw) is not RawDataElement or raw.value is None or len(raw.value) > _MAX_VALUE_BYTES:
        return None
    vr: str | None = raw.VR
    if vr is None:  # implicit: the dictionary tells the representation, or other elements do
        try:
            known = dictionary_VR(tag)
        except KeyError:
            return None
        if len(known) != 2 or known == "SQ":
            return None
    elif vr in ("SQ", "UN"):
        return None
    return (int(tag), vr, raw.value, creator)  # comparing tag objects takes longer
