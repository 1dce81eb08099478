# SPDX-License-Identifier: Apache-2.0
"""The database: SQLite or PostgreSQL behind one URL, with one transaction a request or task.

Two kinds of session are handed out. ``reading`` sees one state of the database. ``writing`` takes the write lock at
its beginning (SQLite ``BEGIN IMMEDIATE``), so that it never fails half-way because another wrote first; it commits at
the end of the ``with`` block, and rolls back when the block raises.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, DateTime, MetaData, create_engine, event, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.types import TypeDecorator

from medhub.errors import Unavailable

LOCK_TIMEOUT_S = 30

Document = JSON().with_variant(JSONB(), "postgresql")


class UTCDateTime(TypeDecorator[datetime]):
    """A moment that is aware of its zone in Python and stored in UTC by either database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse moments without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A moment without a zone cannot be stored.")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give SQLite's moments back their zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """What every table inherits."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UTCDateTime,
        dict[str, Any]: Document,
        list[str]: Document,
        list[Any]: Document,
    }


class Database:
    """One database, and the sessions on it."""

    def __init__(self, url: str, *, info: Mapping[str, object] | None = None, pool_size: int = 20) -> None:
        self.is_sqlite = url.startswith("sqlite")
        self.engine = _create_engine(url, pool_size, is_sqlite=self.is_sqlite)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False, autoflush=True)
        self._info = dict(info or {})
        # Inside one process writers of SQLite queue here, in turn, instead of polling the file's lock.
        self._write_lock = threading.Lock()
        self._writer: int | None = None

    def carry(self, name: str, value: object) -> None:
        """Give every session something to carry along in its ``info``."""
        self._info[name] = value

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads; what was asked to happen after the reading happens when it has ended well."""
        with self._sessions(info={**self._info, "writing": False}) as session:
            if not self.is_sqlite:
                # PostgreSQL's usual level shows each statement another state; a list and its total must agree.
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session
        for act in session.info.pop("after_reading", ()):
            act()

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Session]:
        """A session that writes and commits; ``durable`` waits until a loss of power cannot undo it.

        Without it what was written last may be missing after a loss of power, or after PostgreSQL itself was killed.
        """
        self._take_write_lock()
        try:
            with self._sessions(info={**self._info, "writing": True}) as session:
                options = {"medhub_writing": True, "medhub_durable": durable}
                connection = session.connection(execution_options=options)
                if not self.is_sqlite and not durable:
                    connection.exec_driver_sql("SET LOCAL synchronous_commit TO off")
                try:
                    yield session
                    session.flush()
                    for act in session.info.pop("before_commit", ()):
                        act(session)
                    session.commit()
                except BaseException:
                    session.rollback()
                    raise
        finally:
            if self.is_sqlite:
                self._writer = None
                self._write_lock.release()
        for done in session.info.pop("after_commit", ()):
            done()

    def _take_write_lock(self) -> None:
        if not self.is_sqlite:
            return
        if self._writer == threading.get_ident():
            raise RuntimeError("A writing session was opened inside another one of the same thread.")
        if not self._write_lock.acquire(timeout=LOCK_TIMEOUT_S):
            raise Unavailable("The database is busy. Try again in a minute; nothing was changed.")
        self._writer = threading.get_ident()

    def check(self) -> None:
        """Raise unless the database answers."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def forget_deleted(self) -> None:
        """Have SQLite's journal let go of what was deleted, as far as readers allow; PostgreSQL's vacuum does this."""
        if not self.is_sqlite:
            return
        with closing(self.engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout=1000")  # long readers are not waited for: it is tried again each hour
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cursor.execute(f"PRAGMA busy_timeout={LOCK_TIMEOUT_S * 1000}")
            cursor.close()

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def in_turn(session: Session, what: str) -> None:
    """Have writing transactions that name the same thing come one after the other, from here to their end.

    SQLite's writers do so anyway. PostgreSQL's would each decide on a state that the other is about to change; whoever
    reads what it decides on after this call sees all that those before it wrote.
    """
    if session.get_bind().dialect.name == "postgresql":
        key = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], signed=True)
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def before_commit(session: Session, act: Callable[[Session], None]) -> None:
    """Have something written as the last thing of a writing session's transaction."""
    session.info.setdefault("before_commit", []).append(act)


def after_commit(session: Session, act: Callable[[], None]) -> None:
    """Have something done once a writing session has committed."""
    session.info.setdefault("after_commit", []).append(act)


def after_reading(session: Session, act: Callable[[], None]) -> None:
    """Have something done once a reading session has ended well, before the answer leaves."""
    session.info.setdefault("after_reading", []).append(act)


def _lower(text: object) -> object:
    return text.lower() if isinstance(text, str) else text


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _create_engine(url: str, pool_size: int, *, is_sqlite: bool) -> Engine:
    if not is_sqlite:
        server = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
            json_serializer=_to_json,
            hide_parameters=True,  # an error's text may end in a log; what was to be written may name a patient
        )

        @event.listens_for(server, "connect")
        def configure(connection: Any, _record: object) -> None:
            # What is asked here is answered in less time than it takes to be compiled.
            connection.execute("SET jit TO off")
            connection.commit()

        return server
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        json_serializer=_to_json,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "timeout": LOCK_TIMEOUT_S},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        # The driver's own transaction handling begins too late for BEGIN IMMEDIATE; SQLAlchemy's events begin here.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten: a patient's key, for one
        cursor.close()
        # SQLite's own lower() knows only ASCII.
        connection.create_function("lower", 1, _lower, deterministic=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("medhub_writing"):
            connection.exec_driver_sql(
                f"PRAGMA synchronous={'FULL' if options.get('medhub_durable', True) else 'NORMAL'}"
            )
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("BEGIN")

    return engine
