# SPDX-License-Identifier: Apache-2.0
"""The actions of PS3.15, table E.1-1, and our own, each a function of an element and the reason for the action.

An action returns the new element, ``None`` if the element is left out, or ``ProcessItems`` if it is a sequence whose
items are de-identified in turn. It records what it did in the log of the element; only values that stay as they are
and are named by no rule go unrecorded.
"""

from __future__ import annotations

from collections.abc import Callable

from pydicom import DataElement, Sequence

from medhub.science.deid.attributes.date_cleaning import clean_age, clean_date, clean_time_zone
from medhub.science.deid.attributes.dummy_sequence import dummy_sequence
from medhub.science.deid.attributes.element_context import (
    MALFORMED,
    TEMPORAL_VRS,
    TEXT_VRS,
    Done,
    ElementContext,
    ProcessItems,
)
from medhub.science.deid.attributes.element_values import (
    contains_identifying_word,
    copy_value,
    from_strings,
    to_strings,
)
from medhub.science.deid.attributes.text_cleaning import clean_texts
from medhub.science.deid.coded_values import coded_values
from medhub.science.deid.private_elements import safe_private
from medhub.science.deid.replacement_values import DUMMIES, EMPTY_PDF, cap_age, has_valid_form

ActionResult = DataElement | ProcessItems | None
ActionFunction = Callable[[ElementContext, str], ActionResult]

IDENTIFYING_WORDS = "it contained words that the file uses as a name, number or location"
_NAMING_VRS = TEXT_VRS | {"CS", "AE", "UR"}
_PATIENT_KEYWORDS = ("PatientName", "PatientID")


def remove(context: ElementContext, reason: str) -> None:
    """X: leave the attribute out."""
    context.record_date_removed()
    context.record("removed", reason)


def discard(context: ElementContext, reason: str) -> None:
    """Leave out an attribute that cannot be read as what it claims to be, whatever its value representation says."""
    context.record("removed", reason)


def empty(context: ElementContext, reason: str) -> DataElement:
    """Z: leave the attribute without a value; name and number of the patient become the code of the patient."""
    context.record_date_removed()
    if context.keyword in _PATIENT_KEYWORDS:
        context.record("replaced", reason)
        return DataElement(context.tag, context.vr, context.run.subject.code)
    context.record("emptied", reason)
    return DataElement(context.tag, context.vr, Sequence() if context.vr == "SQ" else None)


def replace(context: ElementContext, reason: str) -> DataElement:
    """D: write a dummy value that fits the value representation."""
    tag, vr, keyword = context.tag, context.vr, context.keyword
    context.record_date_removed()
    context.record("replaced", reason)
    if keyword == "PatientID":
        return DataElement(tag, "LO", context.run.subject.code)
    if keyword == "EncapsulatedDocument":
        return DataElement(tag, "OB", EMPTY_PDF)
    if vr == "SQ":
        return DataElement(tag, "SQ", dummy_sequence(context.value, context.run))
    if vr == "UI":
        return DataElement(tag, "UI", context.run.subject.uid(str(context.value)))
    if keyword.endswith("Identifier") and vr in TEXT_VRS and context.value:  # different slides stay different
        return DataElement(
            tag, vr, from_strings([context.run.subject.alias("ID", text) for text in to_strings(context.value)])
        )
    return DataElement(tag, vr, DUMMIES.get(vr))


def keep(context: ElementContext, reason: str) -> ActionResult:
    """K: keep the value if it has the form of its value representation; ages above 89 years become 90.

    Where it holds the name of a person, only known terms stay of a text, and nothing of a code.
    """
    if context.vr == "SQ":
        return process_items(context, "kept", reason, clean=context.item.clean)
    if not has_valid_form(context.vr, context.tag, context.value):
        context.record("removed", MALFORMED)
        return None
    if context.vr in _NAMING_VRS and any(map(context.run.identity.contains_name, to_strings(context.value))):
        if context.vr in TEXT_VRS:
            return clean(context, f"{reason}; {IDENTIFYING_WORDS}")
        if any(text not in coded_values(context.keyword) for text in to_strings(context.value)):
            context.record("removed", IDENTIFYING_WORDS)
            return None
    if context.vr in TEMPORAL_VRS:
        context.log.dates.add("kept")
    value = copy_value(context.value)
    if context.vr == "AS" and isinstance(value, str):
        value = cap_age(value)
    context.record("kept", reason)
    return DataElement(context.tag, context.vr, value)


def clean(context: ElementContext, reason: str) -> ActionResult:
    """C: keep what of the value does not identify a person: by the kind of the value."""
    tag, vr, value = context.tag, context.vr, context.value
    if vr == "SQ":
        return process_items(context, "cleaned", reason, clean=True)
    if value in (None, "", b""):
        return DataElement(tag, vr, None)
    if vr in TEMPORAL_VRS:
        return clean_date(context, reason)
    if vr == "AS":
        return clean_age(context, reason)
    if vr == "AE":
        context.record("replaced", reason)
        return DataElement(tag, vr, from_strings([context.run.subject.alias("AE", name) for name in to_strings(value)]))
    if context.keyword == "TimezoneOffsetFromUTC":
        return clean_time_zone(context, reason)
    if vr in TEXT_VRS:
        return clean_texts(context, reason)
    # Bit planes and curves can hold drawn text, which cannot be searched.
    context.record("removed", f"{reason}; it cannot be searched")
    return None


def replace_uids(context: ElementContext, reason: str) -> ActionResult:
    """U: replace UIDs by keyed ones; those of the standard stay. Sequences of references stay, with new UIDs."""
    context.record_date_removed()
    if context.vr == "SQ":
        return process_items(context, "kept", reason, clean=context.item.clean)
    if context.vr != "UI":
        context.record("removed", f"{reason}; it is not a UID")
        return None
    return write_uids(context, reason, [context.run.subject.replace_uid(uid) for uid in to_strings(context.value)])


def keep_or_remove_private(context: ElementContext, reason: str) -> DataElement | None:
    """Keep a private attribute only under the option safe-private and if it is known to identify nobody."""
    tag, vr = context.tag, context.vr
    known = safe_private()
    in_force = "safe-private" in context.run.profile.options
    if tag.is_private_creator:
        creator = str(context.value or "").strip()
        if in_force and known.has_creator(tag.group, creator):
            return DataElement(tag, "LO", creator)
        context.record("removed", reason)
        return None
    creator = context.item.private_creators.get((tag.group, tag.element >> 8), "")
    nested_or_named = vr in ("SQ", "UN", "PN")
    if in_force and creator and not nested_or_named and known.holds(context.item.sequence_tags, tag, creator, vr):
        context.log.options.add("safe-private")
        texts = to_strings(context.value) if vr in TEXT_VRS else []
        if any(contains_identifying_word(text, context.run.identity) for text in texts):
            context.record("removed", IDENTIFYING_WORDS)
            return None
        context.record("kept", "option safe-private")
        return DataElement(tag, vr, copy_value(context.value))
    context.record("removed", reason)
    return None


def process_items(context: ElementContext, done: Done | None, reason: str, *, clean: bool) -> ProcessItems | None:
    """Keep a sequence, whose items are de-identified in turn; ``done`` is recorded unless it is ``None``."""
    if not isinstance(context.value, Sequence):
        context.record("removed", "it cannot be read as a sequence")
        return None
    if done is not None:
        context.record(done, reason)
    return ProcessItems(clean)


def write_uids(context: ElementContext, reason: str, uids: list[str]) -> DataElement:
    """Write UIDs, and record it if they differ from the received ones."""
    if uids != to_strings(context.value):
        context.record("new UID", reason)
    return DataElement(context.tag, "UI", from_strings(uids))
