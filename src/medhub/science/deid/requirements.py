# SPDX-License-Identifier: Apache-2.0
"""How strongly an object's definition requires the attributes whose treatment depends on it (PS3.3, PS3.5 7.4)."""

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
    """Tell how strongly an attribute is required where it lies.

    Parameters
    ----------
    sop_class
        UID of the object's class.
    parent
        Keyword of the sequence that the attribute lies in; empty at the top.
    keyword
        Of the attribute.

    Returns
    -------
    Requirement
        1, it must have a value; 2, it may be empty; 3, it may be left out. A condition (1C, 2C) counts as met. In an
        object of an unknown class it is taken for required, so that the object stays what it is: what is written in
        its place says nothing either way.
    """
    table = _table()
    number = table["classes"].get(sop_class)
    if number is None:
        return 1
    classes_by_level = table["required"].get(keyword, {}).get(parent, {})
    return next((level for level in (1, 2) if number in classes_by_level.get(str(level), ())), 3)
