# SPDX-License-Identifier: Apache-2.0
"""Values of coded attributes that are terms of the standard, read from ``tables/codes.toml``."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

_SAME_TERMS = {"FrameType": "ImageType"}


def coded_values(keyword: str) -> frozenset[str]:
    """Return the defined terms of an attribute, with those that any attribute can have."""
    return _table().get(_SAME_TERMS.get(keyword, keyword), _table()["Any"])


@cache
def _table() -> dict[str, frozenset[str]]:
    text = files("medhub.science.deid").joinpath("tables/codes.toml").read_text("utf-8")
    table = tomllib.loads(text)
    return {keyword: frozenset((*values, *table["Any"])) for keyword, values in table.items()}
