# SPDX-License-Identifier: Apache-2.0
"""Action C on texts: only known terms stay; standard codes and the links between parts of an object stay whole."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from pydicom import DataElement

from medhub.science.deid.attributes.element_context import ElementContext
from medhub.science.deid.attributes.element_values import from_strings, to_strings
from medhub.science.deid.coded_values import coded_values
from medhub.science.deid.free_text import clean_text
from medhub.science.deid.replacement_values import DUMMIES
from medhub.science.deid.standard_codes import CODE_KEYWORDS, VALUE_KEYWORDS, StandardCode, is_version

# The designator of a scheme of which nothing is known but that it is private (PS3.16, chapter 8).
_PRIVATE_SCHEME = "99REPLACED"
_IDENTIFIERS = ("ID", "Identifier", "FrameLabelVector")


def clean_texts(context: ElementContext, reason: str) -> DataElement:
    """Reduce the values of a text attribute to known terms.

    Parts of a code of a published scheme stay. A text that identifies a part of the object gets a keyed name where
    terms would be lost, so that different parts stay different. A required attribute that would be empty gets a dummy.
    """
    tag, vr, keyword = context.tag, context.vr, context.keyword
    texts = to_strings(context.value)
    if context.item.code is not None and keyword in CODE_KEYWORDS | {"CodeMeaning"}:
        cleaned = [_clean_code_part(context, context.item.code, text.strip()) for text in texts]
    else:
        terms = coded_values(keyword)
        cleaned = [text if text in terms else clean_text(text, context.run.identity) for text in texts]
        if keyword.endswith(_IDENTIFIERS):
            subject = context.run.subject
            cleaned = [
                new if new == text else subject.alias("ID", text) for text, new in zip(texts, cleaned, strict=True)
            ]
        elif not any(cleaned) and any(texts) and keyword in required_texts():
            cleaned = [_PRIVATE_SCHEME if keyword == "CodingSchemeDesignator" else str(DUMMIES[vr])] * len(texts)
    if cleaned == texts:
        context.record("kept", reason)
    else:
        context.record("cleaned", reason)
    return DataElement(tag, vr, from_strings(cleaned))


def _clean_code_part(context: ElementContext, code: StandardCode, text: str) -> str:
    identity = context.run.identity
    if context.keyword == "CodingSchemeVersion":
        return text if is_version(text) and not identity.contains_any(text) else ""
    if context.keyword in VALUE_KEYWORDS or context.keyword == "CodingSchemeDesignator":
        return text
    if text.casefold() in {meaning.casefold() for meaning in code.meanings}:
        return text
    cleaned = clean_text(text, identity)
    return cleaned if cleaned == text else next(iter(code.meanings), cleaned) or str(DUMMIES["LO"])


@cache
def required_texts() -> frozenset[str]:
    """Keywords of the texts that must have a value in some module."""
    text = files("medhub.science.deid").joinpath("tables/required_texts.txt").read_text("utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())
