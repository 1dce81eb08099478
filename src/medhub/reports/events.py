# SPDX-License-Identifier: Apache-2.0
"""Events of reports."""

from __future__ import annotations

from dataclasses import dataclass

from medhub.foundation.events import Event


@dataclass(frozen=True)
class ReportIssued(Event):
    """A report has been written and can be delivered."""

    case_id: str
