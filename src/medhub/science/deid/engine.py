# SPDX-License-Identifier: Apache-2.0
"""De-identification of a dataset by a profile: PS3.15, Annex E, at every depth of its sequences.

The result is built anew: an attribute is in it because a rule let it in. Nothing is passed on unread; what cannot be
read, is not in the standard's dictionary, or is private and not known to be safe, is left out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydicom import DataElement, Dataset, Sequence
from pydicom.datadict import dictionary_has_tag, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from medhub.science.deid.coded_values import coded_values
from medhub.science.deid.confidentiality_table import OVERLAYS, Rule, rule_of
from medhub.science.deid.element_cache import (
    MOST_CREATORS,
    CachedResult,
    ElementContext,
    cache_key,
    cached_result,
    context_of_element,
)
from medhub.science.deid.free_text import clean_text, vocabulary, words_of
from medhub.science.deid.identifying_text import IdentifyingText, identifying_text_of
from medhub.science.deid.private_elements import SafePrivate, safe_private
from medhub.science.deid.profile import BASIC_CODE, CODES, Profile
from medhub.science.deid.pseudonym import Pseudonym
from medhub.science.deid.replacement_values import (
    DUMMIES,
    NotADate,
    capped_age,
    fits,
    shifted_date,
    shifted_datetime,
)
from medhub.science.deid.requirements import requirement
from medhub.science.deid.uids import is_standard

ENGINE = "medhub-deid 1"
MOST_DEPTH = 32

Done = Literal["removed", "emptied", "replaced", "new UID", "shifted", "cleaned", "kept"]
_TEXT_VRS = frozenset(("LO", "LT", "SH", "ST", "UC", "UT"))
# Written by de-identification itself, and so never taken over from what was received.
_OWN = frozenset(
    tag_for_keyword(keyword)
    for keyword in ("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence")
)
_SHORT_VRS = frozenset(("AE", "CS", "UR"))
_BYTE_VRS = frozenset(("OB", "OD", "OF", "OL", "OV", "OW"))
_SHORTEST_NAME = 4
_ENCRYPTED = 0x04000500
_TEMPORAL = frozenset(("DA", "TM", "DT"))
# Tables without which grey or color is shown wrongly.
_PALETTES = [f"{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue")]
_TABLES = frozenset(("LUTData", *_PALETTES, *(f"Segmented{one}" for one in _PALETTES)))
_UNFIT = "its value does not fit its representation"
_ZONE = re.compile(r"[+-]\d{4}$")


class NestedTooDeep(ValueError):
    """Sequences lie within sequences deeper than is followed."""


@dataclass(frozen=True)
class Action:
    """What was done to one attribute; never its value.

    Attributes
    ----------
    path
        Where it lay: tags, with the number of the item (from 1) after each sequence.
    name
        Its keyword, or "private" or "unknown".
    vr
        Its value representation.
    done
        What was done.
    rule
        By which row of the table, option or special rule.
    """

    path: str
    name: str
    vr: str
    done: Done
    rule: str


@dataclass(frozen=True)
class Cleaned:
    """A dataset without identity, what was done to it, and which of its elements are the same in other objects."""

    dataset: Dataset
    actions: tuple[Action, ...]
    shared: Mapping[BaseTag, CachedResult]


@dataclass
class _Place:
    """Where the walk is."""

    path: str = ""
    parents: tuple[str, ...] = ()  # keywords of the sequences around
    tags: tuple[str, ...] = ()  # their tags, as the list of private elements writes them


@dataclass
class _Work:
    profile: Profile
    subject: Pseudonym
    identity: IdentifyingText
    sop_class: str
    max_depth: int
    case: ElementContext
    elements: Mapping[BaseTag, Any]
    shared: dict[BaseTag, CachedResult] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    pieces: list[tuple[Action, ...]] = field(default_factory=list)  # actions of each element at the root
    applied: set[str] = field(default_factory=set)  # options that did something
    dates: set[str] = field(default_factory=set)  # what became of dates: "removed", "modified", "kept"

    def note(self, place: _Place, tag: BaseTag, vr: str, done: Done, rule: str) -> None:
        name = "private" if tag.is_private else keyword_for_tag(tag) or "unknown"
        self.actions.append(Action(f"{place.path}({tag.group:04X},{tag.element:04X})", name, vr, done, rule))


def deidentify(
    dataset: Dataset,
    profile: Profile,
    subject: Pseudonym,
    *,
    max_depth: int = MOST_DEPTH,
    identity: IdentifyingText | None = None,
    elements: Mapping[BaseTag, Any] | None = None,
) -> Cleaned:
    """Make a dataset without identity.

    Parameters
    ----------
    dataset
        As received; it is not changed. Groups 0000 (commands) and 0002 (file meta information) are left out.
    profile
        What is kept.
    subject
        Whose it is: gives code, date shift and UIDs.
    max_depth
        Sequences within sequences that are followed.
    identity
        Words that say who somebody is; those of the dataset itself if not given.
    elements
        The dataset's elements as they were read, if some were looked at since: by their bytes it is known what was made
        of them before. None may have been changed.

    Returns
    -------
    Cleaned
        The new dataset, with (0012,0062), (0012,0063), (0012,0064) and (0028,0303) saying what was done.

    Raises
    ------
    NestedTooDeep
        When sequences lie deeper than ``max_depth``.
    """
    identity = identity if identity is not None else identifying_text_of(dataset)
    sop_class = _text(dataset, "SOPClassUID")
    encoding = (str(dataset.original_character_set), *dataset.original_encoding)
    work = _Work(
        profile=profile,
        subject=subject,
        identity=identity,
        sop_class=sop_class,
        max_depth=max_depth,
        case=context_of_element(profile, subject, identity.words, sop_class, encoding),
        elements=elements or {},
    )
    cleaned = _walk(dataset, work, _Place(), _Keep(clean=profile.unlisted == "clean"))
    _put_marks(cleaned, work)
    return Cleaned(cleaned, work.case.together(work.pieces), work.shared)


def _put_marks(cleaned: Dataset, work: _Work) -> None:
    """Do ``mark`` with elements that are made once for all objects of a case."""
    said = (frozenset(work.dates), "graphics" in work.applied)
    marks = work.case.marks.get(said)
    if marks is None:
        alone = Dataset()
        mark(alone, work.profile, dates=said[0], graphics=said[1])
        marks = {element.tag: cached_result(element, [], set(), set()) for element in alone}
        work.case.marks[said] = marks
    for tag, made in marks.items():
        cleaned.add(made.element(tag))
        work.shared[tag] = made


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword, "") or "")
    except Exception:  # a value that cannot be read says nothing
        return ""


@dataclass(frozen=True)
class _Keep:
    """How values that no rule names are treated: within content that is being cleaned, as descriptors are."""

    clean: bool = False


def _walk(dataset: Dataset, work: _Work, place: _Place, how: _Keep) -> Dataset:
    if len(place.parents) > work.max_depth:
        raise NestedTooDeep("sequences lie too deep within one another")
    kept: dict[BaseTag, DataElement | RawDataElement] = {}
    added: list[DataElement] = []
    at_root = not place.path
    creators = _creators(dataset, work) if at_root else _creators(dataset, None)
    # In the order of their tags, as numbers: comparing tags themselves takes longer.
    for tag in sorted(dataset.keys(), key=int):
        if not tag & 0xFFFF or tag >> 16 in (0x0000, 0x0002) or tag in _OWN:
            continue
        made = _remembered(dataset, tag, work, how, creators) if at_root else None
        if made is not None:
            work.shared[tag] = made
        else:
            made = _made(dataset, tag, work, place, how, creators)
            if at_root:
                made.actions = work.case.piece(made.actions)
        if made.vr:
            element = made.element(tag)
            if tag & 0x10000 or made.vr == "SQ":
                added.append(element)
            else:
                kept[tag] = element
        if made.actions:
            if at_root:
                work.pieces.append(made.actions)
            else:
                work.actions += made.actions
        if made.applied or made.dates:
            work.applied |= made.applied
            work.dates |= made.dates
    found = Dataset(kept)
    for element in added:  # what takes something over from its surroundings
        found.add(element)
    return found


def _remembered(
    dataset: Dataset, tag: BaseTag, work: _Work, how: _Keep, creators: dict[tuple[int, int], str]
) -> CachedResult | None:
    """What becomes of an element at the root; it is worked out once for all objects that share it."""
    raw = work.elements.get(tag)
    owner = creators.get((tag >> 16, (tag & 0xFFFF) >> 8), "") if tag & 0x10000 else ""
    key = cache_key(tag, raw if raw is not None else dataset.get_item(tag), owner)
    if key is None:
        return None
    made = work.case.made.get(key)
    if made is None:
        made = _made(dataset, tag, work, _Place(), how, creators)
        work.case.keep(key, made)
    return made


def _made(
    dataset: Dataset, tag: BaseTag, work: _Work, place: _Place, how: _Keep, creators: dict[tuple[int, int], str]
) -> CachedResult:
    apart = replace(work, actions=[], applied=set(), dates=set())
    made: DataElement | None = None
    vr = "??"
    try:
        element = dataset[tag]
        vr, _ = str(element.VR), element.value
    # Whatever a hostile element makes its reader raise means that it has no value that could be passed on.
    except Exception:
        apart.note(place, tag, vr, "removed", "it cannot be read")
    else:
        try:
            made = _element(element, vr, apart, place, how, creators)
        except NestedTooDeep:
            raise
        # A value of another kind than its representation says, as "1A" for a number.
        except Exception:
            apart.note(place, tag, vr, "removed", _UNFIT)
    return cached_result(made, apart.actions, apart.applied, apart.dates)


def _element(
    element: DataElement, vr: str, work: _Work, place: _Place, how: _Keep, creators: dict[tuple[int, int], str]
) -> DataElement | None:
    tag = element.tag
    if tag.is_private:
        return _private(element, vr, work, place, how, creators)
    rule = rule_of(tag)
    special = work.profile.special_of(tag)
    if special is not None:
        reason = f"profile: {special.reason}"
        step = {"keep": "K", "remove": "X", "empty": "Z", "replace": "D", "clean": "C"}[special.action]
        return _do(step, element, vr, work, place, how, reason)
    if tag == _ENCRYPTED:
        work.note(place, tag, vr, "removed", "what is encrypted cannot be looked through")
        return None
    if rule is None:
        if not dictionary_has_tag(tag) and not _repeats(tag):
            work.note(place, tag, vr, "removed", "it is not in the dictionary of the standard")
            return None
        return _unlisted(element, vr, work, place, how)
    option, step = _decided(rule, element, work, place)
    if option:
        work.applied.add(option)
    return _do(step, element, vr, work, place, how, f"option {option}" if option else f"table: {'/'.join(rule.basic)}")


def _repeats(tag: BaseTag) -> bool:
    return tag.group in OVERLAYS


def _decided(rule: Rule, element: DataElement, work: _Work, place: _Place) -> tuple[str, str]:
    """Find the option that decides, if one does, and the step: K, C, X, Z, D or U."""
    chosen = [(name, rule.options[name]) for name in work.profile.options if name in rule.options]
    for wanted in ("K", "C"):
        for name, action in chosen:
            if action == wanted:
                return name, wanted
    if len(rule.basic) == 1:
        return "", rule.basic[0]
    level = requirement(work.sop_class, place.parents[-1] if place.parents else "", keyword_for_tag(element.tag))
    if level == 3:
        return "", rule.basic[0]
    if level == 2 and "Z" in rule.basic:
        return "", "Z"
    return "", rule.basic[-1]


def _do(
    step: str, element: DataElement, vr: str, work: _Work, place: _Place, how: _Keep, reason: str
) -> DataElement | None:
    tag, value = element.tag, element.value
    if vr in _TEMPORAL and step in "XZDU":
        work.dates.add("removed")
    if step == "X":
        work.note(place, tag, vr, "removed", reason)
        return None
    if step == "Z":
        if keyword_for_tag(tag) in ("PatientName", "PatientID"):
            work.note(place, tag, vr, "replaced", reason)
            return DataElement(tag, vr, work.subject.code)
        work.note(place, tag, vr, "emptied", reason)
        return DataElement(tag, vr, Sequence() if vr == "SQ" else None)
    if step == "D":
        return _dummy(element, vr, work, place, reason)
    if step == "U":
        return _new_uids(element, vr, work, place, how, reason)
    if step == "K":
        return _kept(element, vr, work, place, how, reason)
    if vr == "SQ":
        return _sequence(element, work, place, _Keep(clean=True), "cleaned", reason)
    return _cleaned(tag, vr, value, work, place, reason)


def _kept(element: DataElement, vr: str, work: _Work, place: _Place, how: _Keep, reason: str) -> DataElement | None:
    if vr == "SQ":
        return _sequence(element, work, place, how, "kept", reason)
    if not fits(vr, element.tag, element.value):
        work.note(place, element.tag, vr, "removed", _UNFIT)
        return None
    if vr in _TEMPORAL:
        work.dates.add("kept")
    value = _copied(element.value)
    if vr == "AS" and isinstance(value, str):
        value = capped_age(value)
    work.note(place, element.tag, vr, "kept", reason)
    return DataElement(element.tag, vr, value)


def _unlisted(element: DataElement, vr: str, work: _Work, place: _Place, how: _Keep) -> DataElement | None:
    """Pass on what the table does not name; but no text that the same file uses as a name or number."""
    tag, value = element.tag, element.value
    if vr == "SQ":
        return _sequence(element, work, place, how, None, "")
    if vr == "UI":
        return _new_uids(element, vr, work, place, how, "a UID that is none of the standard's", quiet=True)
    if vr == "PN":
        work.note(place, tag, vr, "emptied", "names of people are not kept")
        return DataElement(tag, vr, None)
    if how.clean and vr in _TEMPORAL:
        return _cleaned(tag, vr, value, work, place, "dates within content that is cleaned")
    if vr in _TEXT_VRS:
        if how.clean:
            return _cleaned(tag, vr, value, work, place, "text within content that is cleaned")
        return _without_identity(tag, vr, value, work, place)
    if vr == "UN" or not fits(vr, tag, value):
        work.note(place, tag, vr, "removed", _UNFIT)
        return None
    clean = work.profile.unlisted == "clean"
    if not (clean and vr == "CS") and _hides_somebody(vr, value, work.identity):
        work.note(place, tag, vr, "removed", "it held words that the file uses as a name, number or place")
        return None
    if clean:
        return _known_to_the_field(tag, vr, value, work, place)
    return DataElement(tag, vr, _copied(value))


def _known_to_the_field(tag: BaseTag, vr: str, value: Any, work: _Work, place: _Place) -> DataElement | None:
    """Pass on numbers, and codes that are terms of the standard; no bytes that nobody looks through."""
    if vr == "CS":
        known = coded_values(keyword_for_tag(tag))
        several = _several(value)
        kept = [one for one in several if one in known or clean_text(one, work.identity) == one]
        if kept != several:
            work.note(place, tag, vr, "cleaned", "codes that are no terms of the field")
        return DataElement(tag, vr, _joined(kept)) if kept else None
    if vr == "AS":
        return DataElement(tag, vr, capped_age(str(value))) if value else DataElement(tag, vr, None)
    if vr in ("AE", "UR") or (vr in _BYTE_VRS and keyword_for_tag(tag) not in _TABLES):
        if value not in (None, "", b""):
            work.note(place, tag, vr, "removed", "it cannot be looked through")
        return None
    return DataElement(tag, vr, _copied(value))


def _hides_somebody(vr: str, value: Any, identity: IdentifyingText) -> bool:
    """Whether what is no text holds a name: a code that is none, or bytes."""
    if vr in _BYTE_VRS:
        return isinstance(value, bytes) and identity.stands_in(value)
    if vr not in _SHORT_VRS:
        return False
    words = [word for one in _several(value) for word in words_of(one) if len(word) >= _SHORTEST_NAME]
    return any(identity.names(word) and word.casefold() not in vocabulary() for word in words)


def _without_identity(tag: BaseTag, vr: str, value: Any, work: _Work, place: _Place) -> DataElement:
    several = _several(value)
    changed = [clean_text(one, work.identity) if _names_somebody(one, work.identity) else one for one in several]
    if changed != several:
        work.note(place, tag, vr, "cleaned", "it held words that the file uses as a name, number or place")
    return DataElement(tag, vr, _joined(changed))


def _names_somebody(text: str, identity: IdentifyingText) -> bool:
    return identity.names(text.strip()) or any(identity.names(word) for word in words_of(text))


def _cleaned(tag: BaseTag, vr: str, value: Any, work: _Work, place: _Place, reason: str) -> DataElement | None:
    if value in (None, "", b""):
        return DataElement(tag, vr, None)
    if vr in _TEMPORAL:
        return _shifted(tag, vr, value, work, place, reason)
    if vr == "AS":
        fit = fits(vr, tag, value)
        work.note(place, tag, vr, "kept" if fit else "removed", reason if fit else _UNFIT)
        return DataElement(tag, vr, capped_age(str(value))) if fit else None
    if vr == "AE":
        work.note(place, tag, vr, "replaced", reason)
        return DataElement(tag, vr, _joined([work.subject.alias("AE", one) for one in _several(value)]))
    if keyword_for_tag(tag) == "TimezoneOffsetFromUTC":
        if _ZONE.match(str(value).strip()):
            work.note(place, tag, vr, "kept", reason)
            return DataElement(tag, vr, str(value).strip())
        work.note(place, tag, vr, "emptied", reason)
        return DataElement(tag, vr, None)
    if vr in _TEXT_VRS:
        texts = [clean_text(one, work.identity) for one in _several(value)]
        work.note(place, tag, vr, "cleaned", reason)
        return DataElement(tag, vr, _joined(texts))
    # Bit planes and curves can hold writing; what cannot be looked through does not stay.
    work.note(place, tag, vr, "removed", f"{reason}; it cannot be looked through")
    return None


def _shifted(tag: BaseTag, vr: str, value: Any, work: _Work, place: _Place, reason: str) -> DataElement | None:
    if "modified-dates" not in work.profile.options:
        if "full-dates" in work.profile.options:
            work.dates.add("kept")
            return DataElement(tag, vr, _copied(value))
        work.dates.add("removed")
        work.note(place, tag, vr, "emptied", reason)
        return DataElement(tag, vr, None)
    if vr == "TM":  # whole days are shifted, so the time of day stays
        work.dates.add("modified")
        work.note(place, tag, vr, "kept", reason)
        return DataElement(tag, vr, _copied(value))
    shift = shifted_date if vr == "DA" else shifted_datetime
    try:
        moved = [shift(one, work.subject.days) for one in _several(value)]
    except NotADate:
        work.dates.add("removed")
        work.note(place, tag, vr, "emptied", f"{reason}; it is no date that can be shifted")
        return DataElement(tag, vr, None)
    work.dates.add("modified")
    work.note(place, tag, vr, "shifted", reason)
    return DataElement(tag, vr, _joined(moved))


def _dummy(element: DataElement, vr: str, work: _Work, place: _Place, reason: str) -> DataElement:
    tag = element.tag
    keyword = keyword_for_tag(tag)
    work.note(place, tag, vr, "replaced", reason)
    if keyword == "PatientID":
        return DataElement(tag, "LO", work.subject.code)
    if keyword == "EncapsulatedDocument":
        return DataElement(tag, "OB", _EMPTY_PDF)
    if vr == "SQ":
        first = next(iter(element.value or ()), None)
        return DataElement(tag, "SQ", Sequence([_dummy_item(first, work, 0)] if first is not None else []))
    if vr == "UI":
        return DataElement(tag, "UI", work.subject.uid(str(element.value)))
    return DataElement(tag, vr, DUMMIES.get(vr))


def _dummy_item(item: Dataset, work: _Work, depth: int) -> Dataset:
    """An item of the same build whose values say nothing."""
    if depth > work.max_depth:
        raise NestedTooDeep("sequences lie too deep within one another")
    made = Dataset()
    for tag in sorted(item.keys()):
        tag = Tag(tag)
        if tag.is_private or tag.element == 0 or not dictionary_has_tag(tag):
            continue
        try:
            element = item[tag]
            vr, value = str(element.VR), element.value
        except Exception:  # noqa: S112
            continue
        if vr == "SQ":
            first = next(iter(value or ()), None)
            inner = [_dummy_item(first, work, depth + 1)] if first is not None else []
            made.add(DataElement(tag, "SQ", Sequence(inner)))
        elif vr == "UI":
            made.add(DataElement(tag, "UI", _standard_or_new(str(value), work)))
        else:
            made.add(DataElement(tag, vr, DUMMIES.get(vr)))
    return made


def _new_uids(
    element: DataElement, vr: str, work: _Work, place: _Place, how: _Keep, reason: str, *, quiet: bool = False
) -> DataElement | None:
    if vr == "SQ":  # references: they stay, and what they refer to has new UIDs too
        return _sequence(element, work, place, how, "kept", reason)
    if vr != "UI":
        work.note(place, element.tag, vr, "removed", f"{reason}; it is no UID")
        return None
    before = _several(element.value)
    keeps = quiet and "uids" in work.profile.options
    after = before if keeps else [_standard_or_new(one, work) for one in before]
    if after != before:
        work.note(place, element.tag, vr, "new UID", reason)
    return DataElement(element.tag, "UI", _joined(after))


def _standard_or_new(uid: str, work: _Work) -> str:
    uid = uid.strip("\0 ")
    return uid if not uid or is_standard(uid) else work.subject.uid(uid)


def _sequence(
    element: DataElement, work: _Work, place: _Place, how: _Keep, done: Done | None, reason: str
) -> DataElement | None:
    tag = element.tag
    value = element.value
    if not isinstance(value, Sequence):
        work.note(place, tag, "SQ", "removed", "it cannot be read as a sequence")
        return None
    if done is not None:
        work.note(place, tag, "SQ", done, reason)
    items = []
    for number, item in enumerate(value, start=1):
        inner = _Place(
            f"{place.path}({tag.group:04X},{tag.element:04X})[{number}]",
            (*place.parents, keyword_for_tag(tag) or "private"),
            (*place.tags, f"({tag.group:04x},{tag.element:04x})"),
        )
        items.append(_walk(item, work, inner, how))
    return DataElement(tag, "SQ", Sequence(items))


def _creators(dataset: Dataset, work: _Work | None) -> dict[tuple[int, int], str]:
    """Whose each private block is: (group, block) to creator; at the root, ``work`` knows them by their bytes."""
    found: dict[tuple[int, int], str] = {}
    for tag, element in list(dataset.items()):
        if not tag & 0x10000 or not 0x10 <= tag & 0xFFFF <= 0xFF:
            continue
        raw = work.elements.get(tag, element) if work is not None else None
        key = (raw.VR, raw.value) if type(raw) is RawDataElement else None
        known = work.case.creators.get(key) if work is not None and key is not None else None
        if known is None:
            try:
                known = str(dataset[tag].value or "").strip()
            except Exception:  # noqa: S112  # a creator that cannot be read owns nothing
                continue
            if work is not None and key is not None and len(work.case.creators) < MOST_CREATORS:
                work.case.creators[key] = known
        found[tag >> 16, tag & 0xFFFF] = known
    return found


def _private(
    element: DataElement, vr: str, work: _Work, place: _Place, how: _Keep, creators: dict[tuple[int, int], str]
) -> DataElement | None:
    tag = element.tag
    known: SafePrivate = safe_private()
    wanted = "safe-private" in work.profile.options
    if tag.is_private_creator:
        creator = str(element.value or "").strip()
        if wanted and known.has_creator(tag.group, creator):
            return DataElement(tag, "LO", creator)
        work.note(place, tag, vr, "removed", "table: X")
        return None
    creator = creators.get((tag.group, tag.element >> 8), "")
    if wanted and creator and vr not in ("SQ", "UN", "PN") and known.holds(place.tags, tag, creator, vr):
        work.applied.add("safe-private")
        if vr in _TEXT_VRS and any(_names_somebody(one, work.identity) for one in _several(element.value)):
            work.note(place, tag, vr, "removed", "it held words that the file uses as a name, number or place")
            return None
        work.note(place, tag, vr, "kept", "option safe-private")
        return DataElement(tag, vr, _copied(element.value))
    work.note(place, tag, vr, "removed", "table: X")
    return None


def _several(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, MultiValue | list | tuple):
        return [str(one) for one in value]
    return [str(value)]


def _joined(values: list[str]) -> Any:
    values = [one for one in values if one] if len(values) == 1 else values
    return values[0] if len(values) == 1 else values or None


def _copied(value: Any) -> Any:
    return list(value) if isinstance(value, MultiValue) else value


def mark(dataset: Dataset, profile: Profile, *, dates: Collection[str], graphics: bool = False) -> None:
    """Say in a dataset what was done to it, and only that (PS3.15, E.1.1).

    Parameters
    ----------
    dataset
        The cleaned dataset.
    profile
        What was kept.
    dates
        What became of dates: of "removed", "modified", "kept".
    graphics
        Whether graphics were looked through.
    """
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = [ENGINE, f"{profile.name} {profile.version}"]
    codes = [] if profile.overrides_basic() else [BASIC_CODE]
    codes += [CODES[name] for name in profile.options if name != "graphics" or graphics]
    if codes:
        dataset.DeidentificationMethodCodeSequence = Sequence([method_code(*one) for one in codes])
    said = "MODIFIED" if "modified" in dates else "UNMODIFIED" if set(dates) == {"kept"} else "REMOVED"
    if dates:
        dataset.LongitudinalTemporalInformationModified = said


def method_code(value: str, meaning: str) -> Dataset:
    """An item of (0012,0064)."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


# One empty page: an encapsulated document stays a document.
_EMPTY_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]>>endobj\nxref\n0 4\n0000000000 65535 f \n"
    b"0000000009 00000 n \n0000000052 00000 n \n0000000101 00000 n \ntrailer<</Size 4/Root 1 0 R>>\nstartxref\n164\n"
    b"%%EOF\n"
)
