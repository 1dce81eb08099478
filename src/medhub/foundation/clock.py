# SPDX-License-Identifier: Apache-2.0
"""The current time, always in UTC with a time zone."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """A time as ISO 8601 with microseconds and Z, as it is hashed and sent."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
