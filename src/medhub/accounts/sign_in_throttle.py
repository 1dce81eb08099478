# SPDX-License-Identifier: Apache-2.0
"""Guessing of passwords is slowed down by growing delays, never by a permanent lock."""

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
# Many people may share an address, so it is given more.
FREE_FAILURES_ORIGIN = 50
LONGEST_WAIT = timedelta(hours=1)
FORGOTTEN_AFTER = timedelta(hours=24)


def wait_after(failures: int, free: int) -> timedelta:
    """How long to wait after so many failures in a row."""
    if failures < free:
        return timedelta(0)
    doubled: int = 2 ** min(failures - free, 10)
    return min(LONGEST_WAIT, timedelta(minutes=doubled))


def guarded(keys: Keys, email: str, origin: str) -> dict[str, int]:
    """The two things whose failures are counted, under keyed hashes, with the failures that each has free."""
    return {
        keys.fingerprint("failed-sign-ins", f"account {email}".encode()): FREE_FAILURES_ACCOUNT,
        keys.fingerprint("failed-sign-ins", f"origin {origin}".encode()): FREE_FAILURES_ORIGIN,
    }


def refuse_if_blocked(session: Session, counted: dict[str, int]) -> None:
    """Raise while a wait is not over."""
    moment = clock.now()
    for key in counted:
        row = session.get(FailedSignIn, key)
        if row is not None and row.blocked_until is not None and row.blocked_until > moment:
            wait_s = int((row.blocked_until - moment).total_seconds()) + 1
            raise TooManyRequests(
                f"Too many failed attempts to sign in. Try again in {_in_words(wait_s)}.", retry_after_s=wait_s
            )


def count_failure(session: Session, counted: dict[str, int]) -> None:
    """Remember a failure, and begin a wait when there were too many."""
    serialize_writers(session, "failed sign-ins")
    moment = clock.now()
    for key, free in counted.items():
        row = session.get(FailedSignIn, key)
        if row is None:
            row = FailedSignIn(key=key, failures=0, last_at=moment)
            session.add(row)
        elif moment - row.last_at > FORGOTTEN_AFTER:
            row.failures = 0
        row.failures += 1
        row.last_at = moment
        wait = wait_after(row.failures, free)
        row.blocked_until = moment + wait if wait else None


def forget_failures(session: Session, counted: dict[str, int]) -> None:
    """Forget the failures of an account after a good sign-in; those of the address stay."""
    for key, free in counted.items():
        row = session.get(FailedSignIn, key)
        if row is not None and free == FREE_FAILURES_ACCOUNT:
            session.delete(row)


def has_failures(session: Session, counted: dict[str, int]) -> bool:
    """Whether there is anything to forget."""
    return any(
        session.get(FailedSignIn, key) is not None for key, free in counted.items() if free == FREE_FAILURES_ACCOUNT
    )


def _in_words(wait_s: int) -> str:
    return f"{wait_s} seconds" if wait_s < 90 else f"{round(wait_s / 60)} minutes"
