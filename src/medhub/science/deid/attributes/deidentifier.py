# SPDX-License-Identifier: Apache-2.0
"""De-identification of a dataset by a profile (PS3.15, Annex E), at every depth of its sequences.

The new dataset starts empty, and an attribute enters it only if an action returns it. Attributes that cannot be read,
that the standard does not know, or that are private and not known to be safe, stay out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydicom import DataElement, Dataset, Sequence
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from medhub.science.deid.attributes.action_selection import select_action
from medhub.science.deid.attributes.action_table import ACTIONS
from medhub.science.deid.attributes.element_context import (
    MALFORMED,
    ActionLog,
    ActionRecord,
    ElementContext,
    ItemContext,
    NestedTooDeep,
    ObjectContext,
    ProcessItems,
)
from medhub.science.deid.attributes.method_attributes import METHOD_TAGS, write_method_attributes
from medhub.science.deid.identifying_text import IdentifyingText, identifying_text_of
from medhub.science.deid.profile import Profile
from medhub.science.deid.pseudonym import Pseudonym
from medhub.science.deid.standard_codes import read_standard_code

MAX_DEPTH = 32
_SKIPPED_GROUPS = (0x0000, 0x0002)  # commands and file meta information


@dataclass(frozen=True)
class DeidentifiedDataset:
    """A dataset without identity, and what was done to each attribute."""

    dataset: Dataset
    actions: tuple[ActionRecord, ...]


@dataclass(slots=True)
class ElementResult:
    """What is written for an element, if anything, and what was done to it."""

    vr: str  # empty if the element is left out
    value: Any
    actions: tuple[ActionRecord, ...]
    options: frozenset[str]
    dates: frozenset[str]

    def element(self, tag: BaseTag) -> DataElement:
        """Make the new element; a list of values is copied, since it may be changed."""
        value = [*self.value] if type(self.value) is MultiValue else self.value
        return DataElement(tag, self.vr, value, already_converted=True)


def deidentify(
    dataset: Dataset,
    profile: Profile,
    subject: Pseudonym,
    *,
    max_depth: int = MAX_DEPTH,
    identity: IdentifyingText | None = None,
) -> DeidentifiedDataset:
    """De-identify a dataset.

    Parameters
    ----------
    dataset
        As received; it is not changed. Groups 0000 (commands) and 0002 (file meta information) are left out.
    profile
        The rules.
    subject
        Code, date shift and UIDs of the patient.
    max_depth
        Greatest number of sequences within one another.
    identity
        Words that identify a person; by default those of the dataset itself.

    Returns
    -------
    DeidentifiedDataset
        The new dataset, with (0012,0062), (0012,0063), (0012,0064) and (0028,0303).

    Raises
    ------
    NestedTooDeep
        When sequences lie deeper than ``max_depth``.
    """
    run = object_context(dataset, profile, subject, max_depth, identity)
    new, log = Deidentifier(run).process_root(dataset)
    write_method_attributes(new, profile, dates=log.dates, graphics="graphics" in log.options)
    return DeidentifiedDataset(new, tuple(log.records))


def object_context(
    dataset: Dataset, profile: Profile, subject: Pseudonym, max_depth: int, identity: IdentifyingText | None
) -> ObjectContext:
    """Collect what holds for all elements of a dataset; see ``deidentify``."""
    identity = identity if identity is not None else identifying_text_of(dataset)
    try:
        sop_class = str(dataset.get("SOPClassUID", "") or "")
    except Exception:  # a UID that cannot be read names no class
        sop_class = ""
    return ObjectContext(profile, subject, identity, sop_class, max_depth)


class Deidentifier:
    """Walks through the elements of a dataset, at every depth, and applies the action of each."""

    def __init__(self, run: ObjectContext) -> None:
        self.run = run

    def process_root(self, dataset: Dataset) -> tuple[Dataset, ActionLog]:
        """De-identify the elements of a dataset, without declaring the method in it."""
        log = ActionLog()
        creators = read_private_creators(dataset, self.read_private_creator)
        item = ItemContext(private_creators=creators, clean=self.run.profile.unlisted == "clean")
        return self._process_item(dataset, item, log), log

    def _process_item(self, dataset: Dataset, item: ItemContext, log: ActionLog) -> Dataset:
        """De-identify the elements of a dataset or sequence item, and add to the log what was done."""
        if len(item.sequence_tags) > self.run.max_depth:
            raise NestedTooDeep("sequences lie too deep within one another")
        elements: dict[BaseTag, DataElement | RawDataElement] = {}
        dependent: list[DataElement] = []
        # In the order of their tags as numbers: comparing tag objects takes longer.
        for tag in sorted(dataset.keys(), key=int):
            if not tag & 0xFFFF or tag >> 16 in _SKIPPED_GROUPS or tag in METHOD_TAGS:
                continue
            result = self.process_element(dataset, tag, item)
            if result.vr:
                if tag & 0x10000 or result.vr == "SQ":
                    dependent.append(result.element(tag))
                else:
                    elements[tag] = result.element(tag)
            if result.actions:
                log.records += result.actions
            if result.options or result.dates:
                log.options |= result.options
                log.dates |= result.dates
        new = Dataset(elements)
        for element in dependent:  # sequences and private elements refer to the dataset that they are added to
            new.add(element)
        return new

    def process_element(self, dataset: Dataset, tag: BaseTag, item: ItemContext) -> ElementResult:
        """Select the action for an element and apply it."""
        log = ActionLog()
        context = ElementContext(self.run, item, tag, "??", None, log)
        new: DataElement | None = None
        try:
            element = dataset[tag]
            context.vr, context.value = str(element.VR), element.value
        # A hostile element may make its reader raise anything; it has no value that could be written.
        except Exception:
            context.record("removed", "it cannot be read")
        else:
            try:
                new = self._apply_action(context)
            except NestedTooDeep:
                raise
            # A value of another type than its representation requires, as "1A" for a number.
            except Exception:
                context.record("removed", MALFORMED)
        vr, value = ("", None) if new is None else (str(new.VR), new.value)
        return ElementResult(vr, value, tuple(log.records), frozenset(log.options), frozenset(log.dates))

    def read_private_creator(self, dataset: Dataset, tag: BaseTag) -> str:
        """Read a private creator at the root."""
        return read_private_creator(dataset, tag)

    def _apply_action(self, context: ElementContext) -> DataElement | None:
        selected = select_action(context.tag, self.run.profile)
        if selected.option:
            context.log.options.add(selected.option)
        result = ACTIONS[selected.code](context, selected.reason)
        return self._process_sequence(context, result.clean) if isinstance(result, ProcessItems) else result

    def _process_sequence(self, context: ElementContext, clean: bool) -> DataElement:
        tag, around = context.tag, context.item
        items = []
        for number, dataset in enumerate(context.value, start=1):
            item = ItemContext(
                path=f"{around.path}({tag.group:04X},{tag.element:04X})[{number}]",
                sequence_keywords=(*around.sequence_keywords, context.keyword or "private"),
                sequence_tags=(*around.sequence_tags, f"({tag.group:04x},{tag.element:04x})"),
                private_creators=read_private_creators(dataset),
                clean=clean,
                code=read_standard_code(dataset),
            )
            items.append(self._process_item(dataset, item, context.log))
        return DataElement(tag, "SQ", Sequence(items))


def read_private_creator(dataset: Dataset, tag: BaseTag) -> str:
    """Read who reserves a block of private elements."""
    return str(dataset[tag].value or "").strip()


def read_private_creators(
    dataset: Dataset, read_creator: Callable[[Dataset, BaseTag], str] = read_private_creator
) -> dict[tuple[int, int], str]:
    """Read who reserves which block of a dataset: (group, block) to private creator (PS3.5, 7.8.1)."""
    creators: dict[tuple[int, int], str] = {}
    for tag in list(dataset.keys()):
        if not tag & 0x10000 or not 0x10 <= tag & 0xFFFF <= 0xFF:
            continue
        try:
            creators[tag >> 16, tag & 0xFFFF] = read_creator(dataset, tag)
        except Exception:  # noqa: S112  # a creator that cannot be read reserves nothing
            continue
    return creators
