# SPDX-License-Identifier: Apache-2.0
"""Throttling of failed sign-ins by growing delays, without a permanent lock.

Failures are counted for an account at an address, for an address, and for an account. The first two counts cause waits.
The third does not, since it would let anybody lock other people out: it only reduces the failures that each address may
have at that account. Counts decay, so that single typing errors do not add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from medhub.accounts.models import FailedSignIn
from medhub.errors import TooManyRequests
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.foundation.keys import Keys

# An address guesses at an account at most 20 times an hour: five times at once, then after waits of 1, 2, 4, 8, 16, 32
# and then 60 minutes.
FREE_FAILURES_ACCOUNT = 5
# Many people may share an address, so it may fail more often.
FREE_FAILURES_ORIGIN = 50
# Failures at an account, from all addresses together, after which each address may have only one.
FREE_FAILURES_ALL_ORIGINS = 20
MAX_WAIT = timedelta(hours=1)
# In this time one failure is forgotten.
DECAY_ACCOUNT = timedelta(hours=1)
DECAY_ORIGIN = timedelta(minutes=5)
_FORGOTTEN_AFTER = timedelta(hours=24)


@dataclass(frozen=True)
class FailureKeys:
    """The keyed hashes under which the failures of an attempt are counted."""

    account_at_origin: str
    origin: str
    account: str


def wait_time(failures: int, free: int) -> timedelta:
    """The waiting time after a number of failures."""
    if failures < free:
        return timedelta(0)
    doubled: int = 2 ** min(failures - free, 10)
    return min(MAX_WAIT, timedelta(minutes=doubled))


def failure_keys(keys: Keys, email: str, origin: str) -> FailureKeys:
    """The keys of an account and an address."""

    def fingerprint(text: str) -> str:
        return keys.fingerprint("failed-sign-ins", text.encode())

    return FailureKeys(
        account_at_origin=fingerprint(f"account {email} origin {origin}"),
        origin=fingerprint(f"origin {origin}"),
        account=fingerprint(f"account {email}"),
    )


def refuse_if_blocked(session: Session, failure_keys: FailureKeys) -> None:
    """Raise ``TooManyRequests`` during a wait."""
    now = clock.now()
    for key in (failure_keys.account_at_origin, failure_keys.origin):
        row = session.get(FailedSignIn, key)
        if row is None or row.blocked_until is None:
            continue
        # A longer wait than the longest one comes from a clock that was ahead.
        if timedelta(0) < row.blocked_until - now <= MAX_WAIT:
            wait_s = int((row.blocked_until - now).total_seconds()) + 1
            raise TooManyRequests(
                f"Too many failed attempts to sign in. Try again in {_format_wait(wait_s)}.", retry_after_s=wait_s
            )


def count_failure(session: Session, failure_keys: FailureKeys) -> None:
    """Count a failure, and start a wait after too many."""
    serialize_writers(session, "failed sign-ins")
    now = clock.now()
    account = _count(session, failure_keys.account, DECAY_ACCOUNT)
    free = FREE_FAILURES_ACCOUNT if account.failures <= FREE_FAILURES_ALL_ORIGINS else 1
    for row, free_failures in (
        (_count(session, failure_keys.account_at_origin, DECAY_ACCOUNT), free),
        (_count(session, failure_keys.origin, DECAY_ORIGIN), FREE_FAILURES_ORIGIN),
    ):
        wait = wait_time(row.failures, free_failures)
        row.blocked_until = now + wait if wait else None


def _count(session: Session, key: str, decay: timedelta) -> FailedSignIn:
    """Count a failure under a key, after the decay of earlier ones."""
    now = clock.now()
    row = session.get(FailedSignIn, key)
    if row is None:
        row = FailedSignIn(key=key, failures=0, last_at=now)
        session.add(row)
    forgotten = max(0, (now - row.last_at) // decay)
    if forgotten >= row.failures or row.last_at > now:
        row.failures, row.last_at = min(row.failures, max(0, row.failures - forgotten)), now
    else:
        # The rest of an interval counts for the next decay.
        row.failures, row.last_at = row.failures - forgotten, row.last_at + forgotten * decay
    row.failures += 1
    return row


def clear_failures(session: Session, failure_keys: FailureKeys) -> None:
    """Delete the failures of an account at an address after a successful sign-in there; the other counts decay."""
    row = session.get(FailedSignIn, failure_keys.account_at_origin)
    if row is not None:
        session.delete(row)


def has_failures(session: Session, failure_keys: FailureKeys) -> bool:
    """Whether an account has failures at an address."""
    return session.get(FailedSignIn, failure_keys.account_at_origin) is not None


def delete_old_failures(app: AppContext) -> None:
    """Delete the counts that have had no failure for a day."""
    with app.database.writing() as session:
        session.execute(delete(FailedSignIn).where(FailedSignIn.last_at < clock.now() - _FORGOTTEN_AFTER))


def _format_wait(wait_s: int) -> str:
    return f"{wait_s} seconds" if wait_s < 90 else f"{round(wait_s / 60)} minutes"
