# SPDX-License-Identifier: Apache-2.0
"""What was made of elements before, so that the many that the objects of a series share are cleaned once.

What the engine makes of an element at the root depends on the element as received, the profile, the person, the words
that identify somebody, the kind of object and the owner of a private block, and on nothing else. Where all of these
are the same, so is the result. It is kept in the memory of this process alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

from pydicom import DataElement
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

# A handful of series that come in at the same time; each case holds a few megabytes at most.
_MOST_CASES = 8
_MOST_ELEMENTS = 4_096
_LONGEST_VALUE = 1_024
_MOST_RESULTS = 64
MOST_CREATORS = 256

A = TypeVar("A")
R = TypeVar("R")

Key = tuple[int, str | None, bytes | None, str]


@dataclass(slots=True)
class CachedResult:
    """What became of an element: what is passed on of it, if anything, and what was noted."""

    vr: str  # empty where nothing is passed on
    value: Any
    actions: tuple[Any, ...]
    applied: frozenset[str]
    dates: frozenset[str]
    encoded: bytes = b""  # as it is written, explicit little endian in UTF-8; once somebody has done so

    def element(self, tag: BaseTag) -> DataElement:
        """What is passed on, for one object; several values in a list of its own, which may be changed."""
        value = [*self.value] if type(self.value) is MultiValue else self.value
        return DataElement(tag, self.vr, value, already_converted=True)

    def is_still(self, element: DataElement) -> bool:
        """Whether an element of the cleaned dataset is as it was made."""
        value = element.value
        same = value is self.value or (type(self.value) is MultiValue and type(value) is list and self.value == value)
        return same and self.vr == element.VR


@dataclass
class ElementContext:
    """What was made of elements under one profile, for one person and kind of object."""

    profile: object  # held, so that its id stays its own
    made: dict[Key, CachedResult] = field(default_factory=dict)
    marks: dict[tuple[frozenset[str], bool], dict[BaseTag, CachedResult]] = field(default_factory=dict)
    creators: dict[tuple[str | None, bytes | None], str] = field(default_factory=dict)
    _pieces: dict[tuple[Any, ...], tuple[Any, ...]] = field(default_factory=dict)
    _together: dict[tuple[int, ...], tuple[list[tuple[Any, ...]], tuple[Any, ...]]] = field(default_factory=dict)

    def keep(self, key: Key, made: CachedResult) -> None:
        """Remember what was made; all is forgotten when it gets too much."""
        if len(self.made) >= _MOST_ELEMENTS:
            self.made.clear()
        made.actions = self.piece(made.actions)
        self.made[key] = made

    def piece(self, actions: tuple[Any, ...]) -> tuple[Any, ...]:
        """The actions of one element, in the same tuple for all of which they are equal."""
        if len(self._pieces) >= _MOST_ELEMENTS:
            self._pieces.clear()
        return self._pieces.setdefault(actions, actions)

    def together(self, pieces: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        """The actions of all elements, one after the other, in the same tuple for all objects of these pieces."""
        key = tuple(map(id, pieces))
        known = self._together.get(key)
        if known is not None:
            return known[1]
        if len(self._together) >= _MOST_RESULTS:
            self._together.clear()
        found = tuple(one for piece in pieces for one in piece)
        self._together[key] = (pieces, found)  # holds the pieces, so that their ids stay their own
        return found


_cases: OrderedDict[tuple[object, ...], ElementContext] = OrderedDict()


def context_of_element(profile: object, *rest: object) -> ElementContext:
    """What is remembered for a profile and everything else on which the result depends."""
    key = (id(profile), *rest)
    case = _cases.get(key)
    if case is None:
        case = _cases[key] = ElementContext(profile)
        if len(_cases) > _MOST_CASES:
            _cases.popitem(last=False)
    else:
        _cases.move_to_end(key)
    return case


def deduplicated(function: Callable[[A], R]) -> Callable[[A], R]:
    """Work a result out once for each object that is given, the object itself: nothing is compared or hashed.

    For objects that never change, and are given again and again.
    """
    results: OrderedDict[int, tuple[A, R]] = OrderedDict()  # each holds its object, so that the id stays its own

    @wraps(function)
    def remembering(given: A) -> R:
        known = results.get(id(given))
        if known is not None:
            return known[1]
        result = function(given)
        results[id(given)] = (given, result)
        if len(results) > _MOST_RESULTS:
            results.popitem(last=False)
        return result

    return remembering


def cache_key(tag: BaseTag, raw: Any, creator: str) -> Key | None:
    """By what an element is recognized; ``None`` for one that is long, nested, converted, or read by its neighbors."""
    if type(raw) is not RawDataElement or raw.value is None or len(raw.value) > _LONGEST_VALUE:
        return None
    vr: str | None = raw.VR
    if vr is None:  # implicit: the dictionary says what it is, or other elements do
        try:
            known = dictionary_VR(tag)
        except KeyError:
            return None
        if len(known) != 2 or known == "SQ":
            return None
    elif vr in ("SQ", "UN"):
        return None
    return (int(tag), vr, raw.value, creator)  # comparing tags themselves takes longer


def cached_result(element: DataElement | None, actions: list[Any], applied: set[str], dates: set[str]) -> CachedResult:
    """Put together what became of an element."""
    vr, value = ("", None) if element is None else (str(element.VR), element.value)
    return CachedResult(vr, value, tuple(actions), frozenset(applied), frozenset(dates))
