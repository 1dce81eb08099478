# SPDX-License-Identifier: Apache-2.0
"""SOP class extended negotiation of queries and retrievals (PS3.4, C.5.1.1 and C.5.2.1).

A node requests options by one byte each. Without negotiation the basic rules of matching apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medhub.entrypoints.dimse.presentation_contexts import QUERY_CLASSES

_FIND_CLASSES = frozenset(uid for uid in QUERY_CLASSES if uid.endswith(".1"))


@dataclass(frozen=True)
class QueryOptions:
    """The options of a C-FIND that a node has negotiated.

    Attributes
    ----------
    combine_date_time
        StudyDate and StudyTime are matched as one range.
    fuzzy
        Names match by the beginnings of their words.
    """

    combine_date_time: bool
    fuzzy: bool


def query_options(requested: bytes) -> QueryOptions:
    """The options that are requested and supported."""
    return QueryOptions(combine_date_time=requested[1:2] == b"\x01", fuzzy=requested[2:3] == b"\x01")


def answer_negotiation(requested: Mapping[str, bytes]) -> dict[str, bytes]:
    """The answer to the options that a node requests for each SOP class, with as many bytes as requested.

    Relational queries and retrievals (the first byte) are always answered.
    """
    answers = {}
    for sop_class, options in requested.items():
        if sop_class not in QUERY_CLASSES or not options:
            continue
        answer = b"\x01"
        if sop_class in _FIND_CLASSES:
            supported = query_options(options)
            answer += bytes((supported.combine_date_time, supported.fuzzy))
        answers[str(sop_class)] = answer[: len(options)].ljust(len(options), b"\x00")
    return answers
