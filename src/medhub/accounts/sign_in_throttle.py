# SPDX-License-Identifier: Apache-2.0
"""Throttling of failed sign-ins by growing delays, without a permanent lock."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.orm import Session

from medhub.accounts.models import FailedSignIn
from medhub.errors import TooManyRequests
from medhub.foundation import clock
from medhub.foundation.database import serialize_writers
from medhub.foundation.keys import Keys

# At most 20 guesses an hour at one account: five at once, then waits of 1, 2, 4, 8, 16, 32 and then 60 minutes.
FREE_FAILURES_ACCOUNT = 5
# Many people may share an address, so it may fail more often.
FREE_FAILURES_ORIGIN = 50
MAX_WAIT = timedelta(hours=1)
RESET_AFTER = timedelta(hours=24)


def wait_time(failures: int, free: int) -> timedelta:
    """The waiting time after a number of consecutive failures."""
    if failures < free:
        return timedelta(0)
    doubled: int = 2 ** min(failures - free, 10)
    return min(MAX_WAIT, timedelta(minutes=doubled))


def failure_keys(keys: Keys, email: str, origin: str) -> dict[str, int]:
    """The keyed hashes of an account and an address, each with the failures that it may have without a wait."""
    return {
        keys.fingerprint("failed-sign-ins", f"account {email}".encode()): FREE_FAILURES_ACCOUNT,
        keys.fingerprint("failed-sign-ins", f"origin {origin}".encode()): FREE_FAILURES_ORIGIN,
    }


def refuse_if_blocked(session: Session, failure_keys: dict[str, int]) -> None:
    """Raise ``TooManyRequests`` during a wait."""
    now = clock.now()
    for key in failure_keys:
        row = session.get(FailedSignIn, key)
        if row is not None and row.blocked_until is not None and row.blocked_until > now:
            wait_s = int((row.blocked_until - now).total_seconds()) + 1
            raise TooManyRequests(
                f"Too many failed attempts to sign in. Try again in {_format_wait(wait_s)}.", retry_after_s=wait_s
            )


def count_failure(session: Session, failure_keys: dict[str, int]) -> None:
    """Count a failure, and start a wait after too many."""
    serialize_writers(session, "failed sign-ins")
    now = clock.now()
    for key, free in failure_keys.items():
        row = session.get(FailedSignIn, key)
        if row is None:
            row = FailedSignIn(key=key, failures=0, last_at=now)
            session.add(row)
        elif now - row.last_at > RESET_AFTER:
            row.failures = 0
        row.failures += 1
        row.last_at = now
        wait = wait_time(row.failures, free)
        row.blocked_until = now + wait if wait else None


def clear_failures(session: Session, failure_keys: dict[str, int]) -> None:
    """Delete the failures of an account after a successful sign-in; those of the address stay."""
    for key, free in failure_keys.items():
        row = session.get(FailedSignIn, key)
        if row is not None and free == FREE_FAILURES_ACCOUNT:
            session.delete(row)


def has_failures(session: Session, failure_keys: dict[str, int]) -> bool:
    """Whether an account has failures."""
    return any(
        session.get(FailedSignIn, key) is not None
        for key, free in failure_keys.items()
        if free == FREE_FAILURES_ACCOUNT
    )


def _format_wait(wait_s: int) -> str:
    return f"{wait_s} seconds" if wait_s < 90 else f"{round(wait_s / 60)} minutes"
