# SPDX-License-Identifier: Apache-2.0
"""What was done to an object, attribute by attribute, short enough to be kept with each: never a value."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from medhub.science.deid.attributes.element_context import ActionRecord
from medhub.science.deid.identity_cache import cached_by_identity

_ITEM = re.compile(r"\[\d+\]")
# An object with more kinds of actions was made to have them.
MAX_LINES = 4_000


@dataclass(frozen=True)
class ManifestLine:
    """What was done to one attribute, wherever in the items of its sequences it lay.

    Attributes
    ----------
    path
        Where it lay: tags, with ``[*]`` after each sequence.
    name
        Its keyword, or "private" or "unknown".
    vr
        Its value representation.
    done
        What was done.
    rule
        By which row of the table, option or special rule.
    count
        How many times.
    """

    path: str
    name: str
    vr: str
    done: str
    rule: str
    count: int


@cached_by_identity
def manifest_of(actions: tuple[ActionRecord, ...]) -> tuple[ManifestLine, ...]:
    """Sum up actions over the items of sequences, in the order of the first of each kind.

    Parameters
    ----------
    actions
        As ``deidentify`` gives them.

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
