# SPDX-License-Identifier: Apache-2.0
"""Requirement types (1, 2, 3) of attributes whose treatment depends on them (PS3.3; PS3.5, 7.4)."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Requirement = Literal[1, 2, 3]


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(
        files("medhub.science.deid").joinpath("tables/requirements.json").read_text("utf-8")
    )
    return table


def requirement(sop_class: str, parent: str, keyword: str) -> Requirement:
    """Find the requirement type of an attribute in its object.

    Parameters
    ----------
    sop_class
        UID of the object's class.
    parent
        Keyword of the enclosing sequence; empty at the root.
    keyword
        Of the attribute.

    Returns
    -------
    Requirement
        1, it must have a value; 2, it may be empty; 3, it is optional. A condition (1C, 2C) counts as met. In an
        object of an unknown class every attribute counts as required, so that the object stays valid; the replacement
        values identify nobody.
    """
    table = _table()
    number = table["classes"].get(sop_class)
    if number is None:
        return 1
    classes_by_level = table["required"].get(keyword, {}).get(parent, {})
    return next((level for level in (1, 2) if number in classes_by_level.get(str(level), ())), 3)
