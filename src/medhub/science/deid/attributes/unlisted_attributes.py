# SPDX-License-Identifier: Apache-2.0
"""Attributes of the standard that table E.1-1 does not name: they stay, but without identifying words.

Where the profile or the sequence around them asks for cleaning, only numbers and terms of the standard stay of them.
"""

from __future__ import annotations

from typing import Any

from pydicom import DataElement

from medhub.science.deid.attributes.actions import (
    IDENTIFYING_WORDS,
    ActionResult,
    clean,
    process_items,
    write_uids,
)
from medhub.science.deid.attributes.element_context import MALFORMED, TEMPORAL_VRS, TEXT_VRS, ElementContext
from medhub.science.deid.attributes.element_values import (
    copy_value,
    from_strings,
    to_strings,
)
from medhub.science.deid.attributes.text_cleaning import required_texts
from medhub.science.deid.coded_values import coded_values
from medhub.science.deid.color_profiles import clean_color_profile
from medhub.science.deid.free_text import clean_text
from medhub.science.deid.identifying_text import IdentifyingText
from medhub.science.deid.replacement_values import DUMMIES, cap_age, has_valid_form

_SHORT_VRS = frozenset(("AE", "UR"))
_OTHER = "OTHER"
_BYTE_VRS = frozenset(("OB", "OD", "OF", "OL", "OV", "OW"))
UNLISTED_TEXT = "a text that the table does not name"
UNLISTED_DATE = "a date that the table does not name"
# Tables without which gray or color is displayed wrongly.
_PALETTES = [f"{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue")]
_LOOKUP_TABLES = frozenset(("LUTData", *_PALETTES, *(f"Segmented{palette}" for palette in _PALETTES)))


def keep_unlisted(context: ElementContext, reason: str) -> ActionResult:
    """Keep an attribute that the table does not name, as far as it does not identify a person."""
    tag, vr, value = context.tag, context.vr, context.value
    profile, identity = context.run.profile, context.run.identity
    if vr == "SQ":
        return process_items(context, None, reason, clean=context.item.clean)
    if vr == "UI":
        received = to_strings(value)
        uids = received if "uids" in profile.options else [context.run.subject.replace_uid(uid) for uid in received]
        return write_uids(context, "a UID that the standard does not define", uids)
    if vr == "PN":
        context.record("emptied", "names of people are removed")
        return DataElement(tag, vr, None)
    if vr in TEMPORAL_VRS:
        return clean(context, "dates within cleaned content" if context.item.clean else UNLISTED_DATE)
    if vr in TEXT_VRS:
        return clean(context, "text within cleaned content" if context.item.clean else UNLISTED_TEXT)
    if vr == "UN" or not has_valid_form(vr, tag, value):
        context.record("removed", MALFORMED)
        return None
    if vr == "CS":
        return _clean_codes(context)
    if context.keyword == "ICCProfile":
        return _clean_color_profile(context)
    if _holds_identifying_words(vr, context.keyword, value, identity):
        context.record("removed", IDENTIFYING_WORDS)
        return None
    return _keep_known_terms(context) if profile.unlisted == "clean" else DataElement(tag, vr, copy_value(value))


def _clean_codes(context: ElementContext) -> DataElement | None:
    """Keep codes that are terms of the standard, and under a profile that keeps, all that are no names.

    Others become ``OTHER`` where there are several, since the place of a code has a meaning (PS3.3, C.7.6.1.1.2).
    """
    tag, vr, keyword, identity = context.tag, context.vr, context.keyword, context.run.identity
    terms, codes = coded_values(keyword), to_strings(context.value)
    only_known = context.run.profile.unlisted == "clean"

    def may_stay(code: str) -> bool:
        if not code or code.strip() in terms:
            return True
        return clean_text(code, identity) == code if only_known else not identity.contains_any(code)

    cleaned = [code if may_stay(code) else _OTHER for code in codes]
    if cleaned == codes:
        return DataElement(tag, vr, copy_value(context.value))
    if len(codes) == 1:
        if keyword in required_texts():
            context.record("replaced", IDENTIFYING_WORDS)
            return DataElement(tag, vr, DUMMIES[vr])
        context.record("removed", "a code that is no known term")
        return None
    context.record("cleaned", "codes that are not known terms")
    return DataElement(tag, vr, from_strings(cleaned))


def _clean_color_profile(context: ElementContext) -> DataElement | None:
    """Keep the numbers of a color profile, which show the same colors."""
    profile = clean_color_profile(context.value) if isinstance(context.value, bytes) else None
    if profile is None:
        context.record("removed", "it cannot be read as a color profile")
        return None
    context.record("cleaned", "its texts are removed")
    return DataElement(context.tag, context.vr, profile + bytes(len(profile) % 2))


def _keep_known_terms(context: ElementContext) -> DataElement | None:
    """Keep numbers, and codes that are terms of the standard; bytes that cannot be searched are left out."""
    tag, vr, value, keyword = context.tag, context.vr, context.value, context.keyword
    if vr == "AS":
        return DataElement(tag, vr, cap_age(str(value))) if value else DataElement(tag, vr, None)
    if vr in ("AE", "UR") or (vr in _BYTE_VRS and keyword not in _LOOKUP_TABLES):
        if value not in (None, "", b""):
            context.record("removed", "it cannot be searched")
        return None
    return DataElement(tag, vr, copy_value(value))


def _holds_identifying_words(vr: str, keyword: str, value: Any, identity: IdentifyingText) -> bool:
    """Whether a value that is not text holds a name: a code that is no code, or bytes."""
    if vr in _BYTE_VRS:
        return isinstance(value, bytes) and identity.occurs_in(value)
    if vr not in _SHORT_VRS:
        return False
    terms = coded_values(keyword)
    return any(text not in terms and identity.contains_any(text) for text in to_strings(value))
