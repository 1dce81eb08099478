# SPDX-License-Identifier: Apache-2.0
"""Recording acts, finding them again, and proving that none was altered.

An act that writes is recorded in the transaction that writes; an act that only reads is recorded before its answer
leaves. Recordings of reads that come at the same time share a transaction.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from medhub.audit.chain import GENESIS, ChainCheck, check, entry_hash
from medhub.audit.models import AuditEntry
from medhub.errors import Unavailable
from medhub.foundation import clock, pagination
from medhub.foundation.database import Database, after_reading, before_commit
from medhub.foundation.logging import get_logger

log = get_logger()

# Any number will do: writers of the chain on PostgreSQL take this lock, and so write one after the other.
_CHAIN_LOCK = 0x6D656468
_LAST = "SELECT seq, hash FROM audit_entries ORDER BY seq DESC LIMIT 1"
_WAIT_S = 30.0


@dataclass(frozen=True)
class Act:
    """One act to be recorded; ``detail`` holds facts and internal ids, never an identity."""

    action: str
    object_type: str
    object_id: str | None = None
    actor_id: str | None = None
    actor: str = "medhub"
    project_id: str | None = None
    patient_id: str | None = None
    origin: str = "server"
    outcome: str = "done"
    detail: dict[str, Any] = field(default_factory=dict)


def record(session: Session, act: Act) -> None:
    """Have an act recorded together with what the session does."""
    pending: list[Act] = session.info.setdefault("audit", [])
    pending.append(act)
    if len(pending) > 1:
        return
    if session.info["writing"]:
        before_commit(session, lambda writing: append(writing, writing.info.pop("audit")))
    else:
        recorder: Recorder = session.info["recorder"]
        after_reading(session, lambda: recorder.record(session.info.pop("audit")))


def append(session: Session, acts: Sequence[Act]) -> None:
    """Add acts to the end of the chain, in the session's transaction."""
    seq, previous = _end(session)
    moment = clock.now()
    rows = []
    for act in acts:
        seq += 1
        entry = AuditEntry(seq=seq, at=moment, **vars(act))
        digest = entry_hash(entry, previous)
        rows.append({"seq": seq, "at": moment, **vars(act), "previous_hash": previous, "hash": digest})
        previous = digest
    session.connection().execute(insert(AuditEntry), rows)


def _end(session: Session) -> tuple[int, str]:
    """Number and hash of the last entry, once no other transaction can add one."""
    last: Any
    if session.get_bind().dialect.name == "postgresql":
        # Both at once, since each way to the server takes its time; the second sees what those before us wrote.
        with closing(session.connection().connection.cursor()) as cursor:
            cursor.execute(f"SELECT pg_advisory_xact_lock({_CHAIN_LOCK}); {_LAST}")
            cursor.nextset()
            last = cursor.fetchone()
    else:
        last = session.connection().exec_driver_sql(_LAST).one_or_none()
    return (last[0], last[1]) if last is not None else (0, GENESIS)


class Recorder:
    """Writes the acts of many readers in few transactions; each reader waits until its own is written."""

    def __init__(self, database_of: Callable[[], Database]) -> None:
        self._database_of = database_of
        self._guard = threading.Lock()
        self._queue: deque[_Ticket] = deque()
        self._leading = False

    def record(self, acts: Sequence[Act]) -> None:
        """Write acts and return when they are in the chain; whoever comes first writes for those who wait."""
        ticket = _Ticket(list(acts))
        with self._guard:
            self._queue.append(ticket)
            if not self._leading:
                self._leading = ticket.leads = True
                ticket.turn.set()
        if not ticket.turn.wait(_WAIT_S):
            raise Unavailable("The audit log does not answer. Nothing was shown; try again in a minute.")
        if ticket.leads:
            self._write_batch(ticket)
        if ticket.error is not None:
            raise Unavailable("The audit log cannot be written. Nothing was shown; try again in a minute.")

    def _write_batch(self, leader: _Ticket) -> None:
        with self._guard:
            batch = list(self._queue)
            self._queue.clear()
        error: Exception | None = None
        try:
            with self._database_of().writing(durable=False) as session:
                append(session, [act for ticket in batch for act in ticket.acts])
        except Exception as failure:
            error = failure
            log.error("audit.not_written", error=type(failure).__name__, acts=len(batch))
        with self._guard:
            # Those who came meanwhile get a leader from their own middle, so that this one can answer.
            self._leading = bool(self._queue)
            if self._queue:
                self._queue[0].leads = True
                self._queue[0].turn.set()
        for ticket in batch:
            ticket.error = error
            if ticket is not leader:
                ticket.turn.set()


@dataclass(eq=False)
class _Ticket:
    acts: list[Act]
    turn: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    error: Exception | None = None


def verify(session: Session) -> ChainCheck:
    """Walk the whole chain, oldest first."""
    chosen = select(AuditEntry).order_by(AuditEntry.seq).execution_options(yield_per=2000)
    with closing(session.scalars(chosen)) as entries:
        return check(entries)


@dataclass(frozen=True)
class Filter:
    """Which entries are asked for."""

    project_ids: frozenset[str]
    actor_ids: frozenset[str] = frozenset()  # whose acts outside of any project, such as signing in, are shown too
    query: str | None = None
    action: str | None = None
    actor_id: str | None = None
    object_type: str | None = None
    object_id: str | None = None
    patient_id: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def find(session: Session, wanted: Filter, *, offset: int, limit: int) -> tuple[list[AuditEntry], int]:
    """A page of entries of some projects, newest first, and how many there are in all."""
    chosen = select(AuditEntry).where(
        AuditEntry.project_id.in_(wanted.project_ids)
        | (AuditEntry.project_id.is_(None) & AuditEntry.actor_id.in_(wanted.actor_ids))
    )
    for column in ("action", "actor_id", "object_type", "object_id", "patient_id", "outcome"):
        value = getattr(wanted, column)
        if value is not None:
            chosen = chosen.where(getattr(AuditEntry, column) == value)
    if wanted.query:
        sought = wanted.query.lower()
        chosen = chosen.where(
            func.lower(AuditEntry.actor).contains(sought, autoescape=True)
            | AuditEntry.action.contains(sought, autoescape=True)
            | (AuditEntry.object_id == sought)
        )
    if wanted.since is not None:
        chosen = chosen.where(AuditEntry.at >= wanted.since)
    if wanted.until is not None:
        chosen = chosen.where(AuditEntry.at < wanted.until)
    total = pagination.count_rows(session, chosen)
    page = session.scalars(chosen.order_by(AuditEntry.seq.desc()).offset(offset).limit(limit))
    return list(page), total


def actions(session: Session) -> list[str]:
    """Every kind of act that was ever recorded."""
    return list(session.scalars(select(AuditEntry.action).distinct().order_by(AuditEntry.action)))
