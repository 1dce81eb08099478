# SPDX-License-Identifier: Apache-2.0
"""What the last look finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_LONGEST_EXCERPT = 80


@dataclass(frozen=True)
class PhiFinding:
    """Something that says, or may say, who somebody is.

    Attributes
    ----------
    place
        Where: a path of tags, "file name", "pixels" with frame and box, or the part of the file.
    kind
        What it looks like.
    excerpt
        The value itself, cut; who reads findings reads identities.
    """

    location: str
    kind: str
    excerpt: str


def excerpt_of(value: Any) -> str:
    """The beginning of a value, for a finding."""
    text = value if isinstance(value, str) else repr(value[:200]) if isinstance(value, bytes) else str(value)
    return text[:_LONGEST_EXCERPT]
