# SPDX-License-Identifier: Apache-2.0
"""What an action knows of the element that it is applied to, and where it records what it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from pydicom.datadict import keyword_for_tag
from pydicom.tag import BaseTag

from medhub.science.deid.identifying_text import IdentifyingText
from medhub.science.deid.profile import Profile
from medhub.science.deid.pseudonym import Pseudonym
from medhub.science.deid.standard_codes import StandardCode

Done = Literal["removed", "emptied", "replaced", "new UID", "shifted", "cleaned", "kept"]
TEMPORAL_VRS = frozenset(("DA", "TM", "DT"))
TEXT_VRS = frozenset(("LO", "LT", "SH", "ST", "UC", "UT"))
MALFORMED = "its value does not fit its value representation"


class NestedTooDeep(ValueError):
    """Sequences lie within one another deeper than the limit."""


@dataclass(frozen=True)
class ActionRecord:
    """What was done to one attribute; it never holds the value.

    Attributes
    ----------
    path
        Tags, with the number of the item (from 1) after each sequence.
    name
        Keyword of the attribute, or "private" or "unknown".
    vr
        Value representation.
    done
        What was done.
    rule
        The row of the table, the option or the special rule that required it.
    """

    path: str
    name: str
    vr: str
    done: Done
    rule: str


@dataclass(frozen=True)
class ObjectContext:
    """What holds for all elements of one object.

    Attributes
    ----------
    profile
        The rules.
    subject
        Code, date shift and UIDs of the patient.
    identity
        Words that identify a person and are removed from texts.
    sop_class
        SOP Class UID; it decides which attributes are required.
    max_depth
        Greatest number of sequences within one another.
    """

    profile: Profile
    subject: Pseudonym
    identity: IdentifyingText
    sop_class: str
    max_depth: int


@dataclass(frozen=True)
class ItemContext:
    """The dataset or sequence item that holds an element.

    Attributes
    ----------
    path
        Tags and item numbers of the enclosing sequences; empty at the root.
    sequence_keywords, sequence_tags
        Keywords and ``(gggg,eeee)`` tags of the enclosing sequences.
    private_creators
        Private creator by group and block (PS3.5, 7.8.1).
    clean
        Whether values that no rule names are cleaned as descriptors are.
    code
        The code of a published scheme that the item is, if it is one.
    """

    path: str = ""
    sequence_keywords: tuple[str, ...] = ()
    sequence_tags: tuple[str, ...] = ()
    private_creators: Mapping[tuple[int, int], str] = field(default_factory=dict)
    clean: bool = False
    code: StandardCode | None = None


@dataclass(slots=True)
class ActionLog:
    """What was done so far.

    Attributes
    ----------
    records
        One entry for each attribute that was acted on.
    options
        Options of the profile that decided on an attribute.
    dates
        How dates were treated: any of "removed", "modified" and "kept".
    """

    records: list[ActionRecord] = field(default_factory=list)
    options: set[str] = field(default_factory=set)
    dates: set[str] = field(default_factory=set)


@dataclass(slots=True)
class ElementContext:
    """One element, where it is, and the log of what is done to it."""

    run: ObjectContext
    item: ItemContext
    tag: BaseTag
    vr: str
    value: Any
    log: ActionLog

    @property
    def keyword(self) -> str:
        """Keyword of the element; empty for private and unknown ones."""
        return keyword_for_tag(self.tag)

    def record(self, done: Done, rule: str) -> None:
        """Record what was done to the element, and by which rule."""
        tag = self.tag
        name = "private" if tag.is_private else keyword_for_tag(tag) or "unknown"
        path = f"{self.item.path}({tag.group:04X},{tag.element:04X})"
        self.log.records.append(ActionRecord(path, name, self.vr, done, rule))

    def record_date_removed(self) -> None:
        """Record that a date or time is lost, if the element is one."""
        if self.vr in TEMPORAL_VRS:
            self.log.dates.add("removed")


class ProcessItems(NamedTuple):
    """Result of an action on a sequence that stays: its items are to be de-identified in turn.

    Attributes
    ----------
    clean
        Whether values that no rule names are cleaned in the items.
    """

    clean: bool
