# SPDX-License-Identifier: Apache-2.0
"""Audit log: recording of acts, lists of entries, and verification of the hash chain.

An act that writes is recorded in the same transaction; an act that only reads is recorded before its response is
sent. Concurrent recordings of reads share a transaction.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import String, func, insert, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from medhub.audit.chain import GAP, GENESIS, TURNING_POINT, ChainCheck, check_chain, content_hash, entry_hash
from medhub.audit.models import AuditEntry
from medhub.audit.sealed_head import ChainHead, ChainSeal, HeadDamaged
from medhub.errors import Invalid, Unavailable
from medhub.foundation import clock, pagination
from medhub.foundation.database import Database, after_commit, after_reading, before_commit, is_storable
from medhub.foundation.logging import get_logger

log = get_logger()

# An arbitrary number: on PostgreSQL the writers of the chain take this lock and write one after the other.
_CHAIN_LOCK = 0x6D656468
_LAST = "SELECT seq, hash FROM audit_entries ORDER BY seq DESC LIMIT 1"
_WAIT_S = 30.0
_INSERT = insert(AuditEntry)
_COLUMN_LENGTHS = {
    column.name: column.type.length
    for column in AuditEntry.__table__.columns
    if isinstance(column.type, String) and column.type.length and column.name not in {"previous_hash", "hash"}
}


@dataclass(frozen=True)
class AuditAct:
    """An act to record; ``detail`` has facts and internal ids, never an identity."""

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


def record(session: Session, act: AuditAct) -> None:
    """Record an act in the session.

    Raises
    ------
    Invalid
        A text is longer than its column, or cannot be stored; other acts are not affected.
    """
    _check(act)
    pending: list[AuditAct] = session.info.setdefault("audit", [])
    pending.append(act)
    if len(pending) > 1:
        return
    if session.info["writing"]:
        before_commit(session, lambda writing: append(writing, writing.info.pop("audit")))
    else:
        recorder: Recorder = session.info["recorder"]
        after_reading(session, lambda: recorder.record(session.info.pop("audit")))


def _check(act: AuditAct) -> None:
    """Refuse values that the table cannot hold."""
    for name, most in _COLUMN_LENGTHS.items():
        value = getattr(act, name)
        if value is not None and len(value) > most:
            raise Invalid(f"The value of {name} has more than {most} characters.", field=name)
    if not all(is_storable(text) for text in _texts(vars(act))):
        raise Invalid("A value contains the character NUL, or is not valid Unicode.")


def _texts(value: object) -> Iterator[str]:
    """All texts in a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, content in value.items():
            yield str(key)
            yield from _texts(content)
    elif isinstance(value, list | tuple):
        for content in value:
            yield from _texts(content)


def append(session: Session, acts: Sequence[AuditAct]) -> None:
    """Append acts to the chain, in the session's transaction."""
    seal: ChainSeal = session.info["audit_seal"]
    seq, previous = _last_entry(session)
    moment = clock.now()
    moment_text = clock.iso(moment)
    rows: list[dict[str, Any]] = []
    facts = [*_acts_about_chain(session, seal, seq, previous)]
    for act in (*facts, *acts):
        seq += 1
        digest = content_hash({**vars(act), "seq": seq, "at": moment_text}, previous, seal.key)
        rows.append({"seq": seq, "at": moment, **vars(act), "previous_hash": previous, "hash": digest})
        previous = digest
    if not rows:
        return
    session.connection().execute(_INSERT, rows)
    has_gap = any(act.action == GAP for act in facts)

    def note_head() -> None:
        seal.is_keyed = True
        seal.write_head(ChainHead(seq, previous), replace=has_gap)

    after_commit(session, note_head)


def _acts_about_chain(session: Session, seal: ChainSeal, seq: int, last_hash: str) -> Iterator[AuditAct]:
    """What the log must say of itself before the next act: its turning point, or entries that are missing."""
    try:
        head = seal.read_head()
    except HeadDamaged:
        head = None
    if head is not None:
        if head.seq > seq or (head.seq == seq and head.hash != last_hash):
            yield AuditAct(GAP, "audit", detail={"first": seq + 1, "last": head.seq, "hash": head.hash})
        return
    if seq and not seal.is_keyed:
        last = session.get_one(AuditEntry, seq)
        if last.hash == entry_hash(last, last.previous_hash):
            yield AuditAct(TURNING_POINT, "audit", detail={"entries_before": seq, "hash": last_hash})


def protect_chain(database: Database) -> None:
    """Have a chain of an earlier version go on with the key; its old entries stay verifiable."""
    with database.reading() as session:
        seal: ChainSeal = session.info["audit_seal"]
        last = session.scalars(select(AuditEntry).order_by(AuditEntry.seq.desc()).limit(1)).one_or_none()
        needs_turning_point = last is not None and last.hash == entry_hash(last, last.previous_hash)
    if needs_turning_point and not seal.path.exists():
        with database.writing() as session:
            append(session, [])


def _last_entry(session: Session) -> tuple[int, str]:
    """Number and hash of the last entry, after locking the chain."""
    last: Any
    if session.get_bind().dialect.name == "postgresql":
        # Both statements in one round trip; the second sees the entries of transactions that held the lock before.
        with closing(session.connection().connection.cursor()) as cursor:
            cursor.execute(f"SELECT pg_advisory_xact_lock({_CHAIN_LOCK}); {_LAST}")
            cursor.nextset()
            last = cursor.fetchone()
    else:
        last = session.connection().exec_driver_sql(_LAST).one_or_none()
    return (last[0], last[1]) if last is not None else (0, GENESIS)


class Recorder:
    """Writes the acts of many readers in few transactions; each reader waits until its acts are written."""

    def __init__(self, database_of: Callable[[], Database]) -> None:
        self._database_of = database_of
        self._lock = threading.Lock()
        self._queue: deque[_Recording] = deque()
        self._has_writer = False

    def record(self, acts: Sequence[AuditAct]) -> None:
        """Write acts and return when they are in the chain; the first caller also writes those of waiting callers."""
        recording = _Recording(list(acts))
        with self._lock:
            self._queue.append(recording)
            if not self._has_writer:
                self._has_writer = recording.is_writer = True
                recording.ready.set()
        if not recording.ready.wait(_WAIT_S):
            raise Unavailable("The audit log does not answer. Nothing was shown; try again in a minute.")
        if recording.is_writer:
            self._write_batch(recording)
        if recording.error is not None:
            raise Unavailable("The audit log cannot be written. Nothing was shown; try again in a minute.")

    def _write_batch(self, writer: _Recording) -> None:
        with self._lock:
            batch = list(self._queue)
            self._queue.clear()
        self._write(batch)
        with self._lock:
            # The first of the callers that arrived meanwhile becomes the next writer, so that this one can return.
            self._has_writer = bool(self._queue)
            if self._queue:
                self._queue[0].is_writer = True
                self._queue[0].ready.set()
        for recording in batch:
            if recording is not writer:
                recording.ready.set()

    def _write(self, batch: Sequence[_Recording]) -> None:
        """Write the acts of a batch; after a failure that an act may have caused, those of each reader alone."""
        try:
            with self._database_of().writing(durable=False) as session:
                append(session, [act for recording in batch for act in recording.acts])
        except Exception as failure:
            log.error("audit.not_written", error=type(failure).__name__, acts=len(batch))
            # A database that does not answer would fail once for each of them.
            if len(batch) > 1 and not isinstance(failure, OperationalError | Unavailable):
                for recording in batch:
                    self._write([recording])
            else:
                for recording in batch:
                    recording.error = failure


@dataclass(eq=False)
class _Recording:
    acts: list[AuditAct]
    ready: threading.Event = field(default_factory=threading.Event)
    is_writer: bool = False
    error: Exception | None = None


def verify_chain(session: Session) -> ChainCheck:
    """Check the entire chain, oldest entry first, and its end against the head outside of the database."""
    seal: ChainSeal = session.info["audit_seal"]
    damaged = "The file of the chain's head was altered. Restore it, or delete it after checking a checkpoint."
    try:
        head = seal.read_head()
    except HeadDamaged:
        head = None
    else:
        damaged = ""
    statement = select(AuditEntry).order_by(AuditEntry.seq).execution_options(yield_per=2000)
    with closing(session.scalars(statement)) as entries:
        check = check_chain(entries, seal.key, head)
    if check.broken_at is None and damaged:
        return ChainCheck(check.entries, check.last_hash, check.entries, damaged, check.keyed_from)
    return check


@dataclass(frozen=True)
class EntryFilter:
    """The filter of a list of entries."""

    project_ids: frozenset[str]
    actor_ids: frozenset[str] = frozenset()  # also acts of these people outside of projects, such as sign-ins
    query: str | None = None
    query_patient_ids: frozenset[str] = frozenset()  # of the patients whose code matches the query
    action: str | None = None
    actor_id: str | None = None
    object_type: str | None = None
    object_id: str | None = None
    patient_id: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def list_entries(
    session: Session, entry_filter: EntryFilter, *, offset: int, limit: int
) -> tuple[list[AuditEntry], int]:
    """A page of entries of some projects, newest first, and the total number."""
    statement = select(AuditEntry).where(
        AuditEntry.project_id.in_(entry_filter.project_ids)
        | (
            AuditEntry.project_id.is_(None)
            & (
                AuditEntry.actor_id.in_(entry_filter.actor_ids)
                | (
                    # A refused sign-in has no person: it belongs to the account, or to an address without an account.
                    (AuditEntry.object_type == "account")
                    & (AuditEntry.outcome == "refused")
                    & (AuditEntry.object_id.is_(None) | AuditEntry.object_id.in_(entry_filter.actor_ids))
                )
            )
        )
    )
    for column in ("action", "actor_id", "object_type", "object_id", "patient_id", "outcome"):
        value = getattr(entry_filter, column)
        if value is not None:
            statement = statement.where(getattr(AuditEntry, column) == value)
    if entry_filter.query:
        lowered = entry_filter.query.lower()
        statement = statement.where(
            func.lower(AuditEntry.actor).contains(lowered, autoescape=True)
            | AuditEntry.action.contains(lowered, autoescape=True)
            | (AuditEntry.object_id == lowered)
            | AuditEntry.patient_id.in_(entry_filter.query_patient_ids)
        )
    if entry_filter.since is not None:
        statement = statement.where(AuditEntry.at >= entry_filter.since)
    if entry_filter.until is not None:
        statement = statement.where(AuditEntry.at < entry_filter.until)
    total = pagination.count_rows(session, statement)
    page = session.scalars(statement.order_by(AuditEntry.seq.desc()).offset(offset).limit(limit))
    return list(page), total


def list_actions(session: Session) -> list[str]:
    """All kinds of acts that were ever recorded."""
    return list(session.scalars(select(AuditEntry.action).distinct().order_by(AuditEntry.action)))
