# SPDX-License-Identifier: Apache-2.0
"""Private elements that are known to identify nobody (The Cancer Imaging Archive's list; see ``tables/README.md``)."""

from __future__ import annotations

import csv
import re
from functools import cache
from importlib.resources import files

from pydicom.tag import BaseTag

_ITEM = re.compile(r"\[<\d+>\]")


class SafePrivate:
    """The list of safe private elements."""

    def __init__(self, known: frozenset[tuple[str, str]]) -> None:
        self._known = known
        last = (element.rpartition("(")[2].split(",", 1) for element, _ in known)
        self._creators = frozenset((group, rest.rpartition(",")[0]) for group, rest in last)

    def has_creator(self, group: int, creator: str) -> bool:
        """Whether anything of a creator in a group is known to be safe."""
        return (f"{group:04x}", creator.casefold()) in self._creators

    def holds(self, around: tuple[str, ...], tag: BaseTag, creator: str, vr: str) -> bool:
        """Whether an element is known to be safe.

        Parameters
        ----------
        around
            Tags of the enclosing sequences, as ``(gggg,eeee)``.
        tag
            Its tag.
        creator
            Private creator of its block.
        vr
            Its value representation.

        Returns
        -------
        bool
        """
        step = f"({tag.group:04x},{creator.casefold()},{tag.element & 0xFF:02x})"
        return ("".join((*around, step)), vr) in self._known


@cache
def safe_private() -> SafePrivate:
    """Read the included list."""
    text = files("medhub.science.deid").joinpath("tables/safe_private.csv").read_text("utf-8")
    rows = csv.DictReader(text.splitlines())
    return SafePrivate(frozenset((_ITEM.sub("", row["element"]), row["vr"]) for row in rows))
