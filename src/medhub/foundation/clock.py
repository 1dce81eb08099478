# SPDX-License-Identifier: Apache-2.0
"""The time, always in UTC and aware of it."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """The moment as ISO 8601 with microseconds and Z, the form that is hashed and sent."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
