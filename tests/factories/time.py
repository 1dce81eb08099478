# SPDX-License-Identifier: Apache-2.0
"""A clock that tests can advance, to let time pass without waiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from medhub.foundation import clock


class MovableClock:
    """Replaces ``clock.now`` by a clock that a test can advance."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = timedelta(0)
        monkeypatch.setattr(clock, "now", self.now)

    def now(self) -> datetime:
        """The present time of this clock."""
        return datetime.now(UTC) + self.ahead

    def advance(self, **by: float) -> None:
        """Advance the clock, as by ``advance(hours=2)``."""
        self.ahead += timedelta(**by)
