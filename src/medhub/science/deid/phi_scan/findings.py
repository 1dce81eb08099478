# SPDX-License-Identifier: Apache-2.0
"""Findings of the PHI scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_LONGEST_EXCERPT = 80


@dataclass(frozen=True)
class PhiFinding:
    """Something that identifies, or may identify, a person.

    Attributes
    ----------
    location
        A path of tags, "file name", "pixels" with frame and box, or the part of the file.
    kind
        Kind of the finding.
    excerpt
        The value itself, shortened; it may contain identities.
    """

    location: str
    kind: str
    excerpt: str


def excerpt_of(value: Any) -> str:
    """Shorten a value for a finding."""
    text = value if isinstance(value, str) else repr(value[:200]) if isinstance(value, bytes) else str(value)
    return text[:_LONGEST_EXCERPT]
