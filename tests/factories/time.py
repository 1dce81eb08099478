# SPDX-License-Identifier: Apache-2.0
"""Letting time pass without waiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from medhub.foundation import clock


class Hands:
    """The hands of the clock, which a test may move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = timedelta(0)
        monkeypatch.setattr(clock, "now", self.now)

    def now(self) -> datetime:
        """The moment that the hands show."""
        return datetime.now(UTC) + self.ahead

    def move(self, **by: float) -> None:
        """Move the hands, as ``move(hours=2)``."""
        self.ahead += timedelta(**by)
