# SPDX-License-Identifier: Apache-2.0
"""Events of review."""

from __future__ import annotations

from dataclasses import dataclass

from medhub.foundation.events import Event


@dataclass(frozen=True)
class CaseSigned(Event):
    """A person has signed a case."""

    case_id: str
