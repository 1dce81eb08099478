# SPDX-License-Identifier: Apache-2.0
"""Action D on sequences: one item with the structure of the first, and dummy values."""

from __future__ import annotations

from typing import Any

from pydicom import DataElement, Dataset, Sequence
from pydicom.datadict import dictionary_has_tag, keyword_for_tag
from pydicom.tag import Tag

from medhub.science.deid.attributes.element_context import NestedTooDeep, ObjectContext
from medhub.science.deid.coded_values import coded_values
from medhub.science.deid.replacement_values import DUMMIES


def dummy_sequence(items: Any, run: ObjectContext, depth: int = 0) -> Sequence:
    """Make a sequence of one dummy item from the first received one; an empty sequence stays empty.

    Parameters
    ----------
    items
        Value of the received sequence.
    run
        Limits and the UIDs of the patient.
    depth
        Sequences around this one within the dummy.

    Returns
    -------
    Sequence

    Raises
    ------
    NestedTooDeep
        When sequences lie deeper than the limit.
    """
    first = next(iter(items or ()), None)
    return Sequence([_dummy_item(first, run, depth)] if first is not None else [])


def _dummy_item(item: Dataset, run: ObjectContext, depth: int) -> Dataset:
    if depth > run.max_depth:
        raise NestedTooDeep("sequences lie too deep within one another")
    dummy = Dataset()
    for tag in sorted(item.keys()):
        tag = Tag(tag)
        if tag.is_private or tag.element == 0 or not dictionary_has_tag(tag):
            continue
        try:
            element = item[tag]
            vr, value = str(element.VR), element.value
        except Exception:  # noqa: S112  # an element that cannot be read needs no dummy
            continue
        if vr == "SQ":
            dummy.add(DataElement(tag, "SQ", dummy_sequence(value, run, depth + 1)))
        elif vr == "UI":
            dummy.add(DataElement(tag, "UI", run.subject.replace_uid(str(value))))
        elif vr == "CS" and value in coded_values(keyword_for_tag(tag)):
            dummy.add(DataElement(tag, vr, str(value)))
        else:
            dummy.add(DataElement(tag, vr, DUMMIES.get(vr)))
    return dummy
