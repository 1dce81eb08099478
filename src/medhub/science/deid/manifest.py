# SPDX-License-Identifier: Apache-2.0
"""Manifest of an object: what was done to each attribute, summarized so that it can be stored; never a value."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.tag import BaseTag

from medhub.science.deid.attributes.element_context import ActionRecord
from medhub.science.deid.identity_cache import cached_by_identity

_ITEM = re.compile(r"\[\d+\]")
# No device writes an object that needs more lines.
MAX_LINES = 4_000


@dataclass(frozen=True)
class ManifestLine:
    """What was done to one attribute, in all items of its sequences.

    Attributes
    ----------
    path
        Tags, with ``[*]`` after each sequence.
    name
        Keyword of the attribute, or "private" or "unknown".
    vr
        Value representation.
    done
        What was done.
    rule
        The row of the table, the option or the special rule that required it.
    count
        Number of times.
    """

    path: str
    name: str
    vr: str
    done: str
    rule: str
    count: int


@cached_by_identity
def manifest_of(actions: tuple[ActionRecord, ...]) -> tuple[ManifestLine, ...]:
    """Summarize actions over the items of sequences, in the order of the first of each kind.

    Parameters
    ----------
    actions
        As ``deidentify`` returns them.

    Returns
    -------
    tuple of ManifestLine
        At most ``MAX_LINES``; the last one then says how many kinds more there were.
    """
    counts = Counter(
        (_ITEM.sub("[*]", action.path), action.name, action.vr, action.done, action.rule) for action in actions
    )
    lines = [ManifestLine(*kind, count) for kind, count in counts.items()]
    if len(lines) > MAX_LINES:
        rest = lines[MAX_LINES - 1 :]
        words = f"{len(rest)} kinds of actions more"
        more = ManifestLine("", "more", "", "removed or cleaned", words, sum(line.count for line in rest))
        return (*lines[: MAX_LINES - 1], more)
    return tuple(lines)


def record_removed(actions: tuple[ActionRecord, ...], tags: Mapping[BaseTag, str]) -> tuple[ActionRecord, ...]:
    """Record that attributes which the rules keep were removed after all.

    Parameters
    ----------
    actions
        As ``deidentify`` returns them.
    tags
        Attributes at the root that were removed, each with the reason.

    Returns
    -------
    tuple of ActionRecord
        ``actions`` itself without any tag.
    """
    paths = {f"({tag.group:04X},{tag.element:04X})": tag for tag in tags}
    if not paths:
        return actions
    others = tuple(action for action in actions if action.path not in paths)
    removed = []
    for path, tag in paths.items():
        vr = dictionary_VR(tag) if dictionary_has_tag(tag) else "UN"
        removed.append(ActionRecord(path, keyword_for_tag(tag) or "unknown", vr, "removed", tags[tag]))
    return (*others, *removed)
