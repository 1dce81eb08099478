# SPDX-License-Identifier: Apache-2.0
"""The attributes that may stay, read from ``allowlist.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pydicom.datadict import dictionary_VR, tag_for_keyword


@dataclass(frozen=True)
class AllowList:
    """What may stay of a received DICOM file.

    Attributes
    ----------
    reasons
        For each keyword, why it may stay.
    tags
        For each tag number, its keyword.
    vocabulary
        For each keyword of the value representation CS, the values that may stay.
    """

    reasons: dict[str, str]
    tags: dict[int, str]
    vocabulary: dict[str, frozenset[str]]


@cache
def allow_list() -> AllowList:
    """Read the list that ships with Medhub.

    Returns
    -------
    AllowList
        The list.

    Raises
    ------
    ValueError
        When the list names an attribute that the standard does not, or a code without its values.
    """
    text = files("medhub.science.deid").joinpath("allowlist.toml").read_text("utf-8")
    content = tomllib.loads(text)
    reasons: dict[str, str] = {}
    tags: dict[int, str] = {}
    vocabulary = {keyword: frozenset(values) for keyword, values in content["vocabulary"].items()}
    for group in content["group"]:
        for keyword in group["keywords"]:
            tag = tag_for_keyword(keyword)
            if tag is None:
                raise ValueError(f"{keyword} is no attribute of the standard")
            if dictionary_VR(tag) == "CS" and keyword not in vocabulary:
                raise ValueError(f"{keyword} is a code, and the list does not say which values may stay")
            reasons[keyword] = group["reason"]
            tags[tag] = keyword
    return AllowList(reasons, tags, vocabulary)
