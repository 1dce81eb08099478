# SPDX-License-Identifier: Apache-2.0
"""The current time, always in UTC with a time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# The clocks of the computers of an installation may differ by this much.
TOLERANCE = timedelta(minutes=1)


def now() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """A time as ISO 8601 with microseconds and Z, as it is hashed and sent."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def is_ahead(moment: datetime, longest: timedelta) -> bool:
    """Whether a time lies further ahead than any wait that is ever set: it comes from a clock that was ahead."""
    return moment > now() + longest + TOLERANCE
