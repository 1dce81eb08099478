# SPDX-License-Identifier: Apache-2.0
"""The table of actions: codes of PS3.15, table E.1-1a, and our own, with the function that carries each out."""

from __future__ import annotations

from collections.abc import Mapping

from medhub.science.deid.attributes.actions import (
    ActionFunction,
    ActionResult,
    clean,
    discard,
    empty,
    keep,
    keep_or_remove_private,
    remove,
    replace,
    replace_uids,
)
from medhub.science.deid.attributes.element_context import ElementContext
from medhub.science.deid.attributes.unlisted_attributes import keep_unlisted
from medhub.science.deid.requirements import requirement


def by_requirement(
    *, optional: ActionFunction, may_be_empty: ActionFunction, required: ActionFunction
) -> ActionFunction:
    """Combine actions into one that depends on how strongly the object requires the attribute (PS3.5, 7.4)."""

    def apply_by_type(context: ElementContext, reason: str) -> ActionResult:
        parents = context.item.sequence_keywords
        level = requirement(context.run.sop_class, parents[-1] if parents else "", context.keyword)
        action = optional if level == 3 else may_be_empty if level == 2 else required
        return action(context, reason)

    return apply_by_type


ACTIONS: Mapping[str, ActionFunction] = {
    # PS3.15, table E.1-1a.
    "X": remove,
    "Z": empty,
    "D": replace,
    "K": keep,
    "C": clean,
    "U": replace_uids,
    "X/Z": by_requirement(optional=remove, may_be_empty=empty, required=empty),
    "X/D": by_requirement(optional=remove, may_be_empty=replace, required=replace),
    "Z/D": by_requirement(optional=empty, may_be_empty=empty, required=replace),
    "X/Z/D": by_requirement(optional=remove, may_be_empty=empty, required=replace),
    # X/Z/U* of the standard: a sequence of references stays, and its UIDs are replaced as everywhere else.
    "X/Z/U": replace_uids,
    # Our own, for attributes without a row.
    "private": keep_or_remove_private,
    "unlisted": keep_unlisted,
    "discard": discard,
}
