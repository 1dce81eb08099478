# SPDX-License-Identifier: Apache-2.0
"""The attribute confidentiality profiles of PS3.15, table E.1-1 (edition 2024b).

It lies in ``tables/confidentiality.csv``; ``tables/README.md`` names its source and licence. ``tables/supplement.csv``
has rows of the same form for attributes that the table lacks although they tell who somebody is, when or where.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

Step = Literal["X", "Z", "D", "U", "C"]
OptionAction = Literal["K", "C"]

CURVES = range(0x5000, 0x5100, 2)
OVERLAYS = range(0x6000, 0x6100, 2)
_OVERLAY_DATA, _OVERLAY_COMMENTS = 0x3000, 0x4000


@dataclass(frozen=True)
class Rule:
    """One row of the table.

    Attributes
    ----------
    name
        Of the attribute, as the standard has it.
    basic
        Actions of the Basic Profile; with several, the first that the object's definition allows counts: remove (X)
        what is optional, empty (Z) what may be empty, replace (D, or U for UIDs) what may not. Clean (C) occurs in the
        supplement only.
    options
        Action of an option of the profile: keep (K) or clean (C).
    """

    name: str
    basic: tuple[Step, ...]
    options: dict[str, OptionAction]


@cache
def _rules() -> dict[str, Rule]:
    folder = files("medhub.science.deid").joinpath("tables")
    table: dict[str, Rule] = {}
    for name in ("supplement.csv", "confidentiality.csv"):  # a row of the standard replaces ours
        for row in csv.DictReader(folder.joinpath(name).read_text("utf-8").splitlines()):
            options = dict(option.split(":") for option in row["options"].split())
            table[row["tag"]] = Rule(row["name"], tuple(row["basic"].split("/")), options)  # type: ignore[arg-type]
    return table


@cache
def rule_of(tag: int) -> Rule | None:
    """Find the row of an attribute.

    Parameters
    ----------
    tag
        Group and element, as one number of 32 bits.

    Returns
    -------
    Rule | None
        None if the table does not name the attribute.
    """
    group, element = tag >> 16, tag & 0xFFFF
    if group % 2:
        return _rules()["private"]
    if group in CURVES:
        return _rules()["50xxxxxx"]
    if group in OVERLAYS:
        masked = {_OVERLAY_DATA: "60xx3000", _OVERLAY_COMMENTS: "60xx4000"}.get(element)
        return _rules()[masked] if masked else None
    return _rules().get(f"{tag:08x}")


def rules() -> dict[int, Rule]:
    """Return the rows with one concrete tag, by tag."""
    return {int(tag, 16): rule for tag, rule in _rules().items() if "x" not in tag and tag != "private"}
