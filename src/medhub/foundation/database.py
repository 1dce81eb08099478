# SPDX-License-Identifier: Apache-2.0
"""The database: SQLite or PostgreSQL behind one URL, with one transaction a request or task.

There are two kinds of session. ``reading`` sees one state of the database. ``writing`` takes the write lock at the
start (SQLite ``BEGIN IMMEDIATE``), so that it never fails half-way because another session wrote first; it commits at
the end of the ``with`` block and rolls back if the block raises.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Insert,
    Integer,
    MetaData,
    String,
    Update,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.types import TypeDecorator

from medhub.errors import Invalid, Unavailable

LOCK_TIMEOUT_S = 30

Document = JSON().with_variant(JSONB(), "postgresql")
# 64 bits on both databases: SQLite's INTEGER always has them, and only this name makes a primary key its row number.
Integer64 = BigInteger().with_variant(Integer, "sqlite")


class UTCDateTime(TypeDecorator[datetime]):
    """A datetime with a time zone, which both databases store in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse datetimes without a time zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A datetime without a time zone cannot be stored.")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Add the time zone that SQLite does not store."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base class of all tables."""

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
    """The connection pool of one database, and its sessions."""

    def __init__(self, url: str, *, info: Mapping[str, object] | None = None, pool_size: int = 20) -> None:
        self.is_sqlite = url.startswith("sqlite")
        self.engine = _create_engine(url, pool_size, is_sqlite=self.is_sqlite)
        event.listen(self.engine, "before_execute", _check_lengths)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False, autoflush=True)
        self._info = dict(info or {})
        # The SQLite writers of this process wait here in order, instead of polling the lock of the file.
        self._write_lock = threading.Lock()
        self._writer: int | None = None

    def set_session_info(self, name: str, value: object) -> None:
        """Add a value to the ``info`` of every session."""
        self._info[name] = value

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads; its ``after_reading`` callbacks run if the block does not raise."""
        with self._sessions(info={**self._info, "writing": False}) as session:
            if not self.is_sqlite:
                # With PostgreSQL's default level each statement sees another state; a list and its total must agree.
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session
        for callback in session.info.pop("after_reading", ()):
            callback()

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Session]:
        """A session that writes and commits; with ``durable``, commits survive a loss of power.

        Without ``durable``, the last commits may be missing after a loss of power or a crash of PostgreSQL.
        """
        self._acquire_write_lock()
        try:
            with self._sessions(info={**self._info, "writing": True}) as session:
                options = {"medhub_writing": True, "medhub_durable": durable}
                connection = session.connection(execution_options=options)
                if not self.is_sqlite and not durable:
                    connection.exec_driver_sql("SET LOCAL synchronous_commit TO off")
                try:
                    yield session
                    session.flush()
                    for callback in session.info.pop("before_commit", ()):
                        callback(session)
                    session.commit()
                except BaseException:
                    session.rollback()
                    raise
        finally:
            if self.is_sqlite:
                self._writer = None
                self._write_lock.release()
        for callback in session.info.pop("after_commit", ()):
            callback()

    def _acquire_write_lock(self) -> None:
        if not self.is_sqlite:
            return
        if self._writer == threading.get_ident():
            raise RuntimeError("A writing session was opened inside another one of the same thread.")
        if not self._write_lock.acquire(timeout=LOCK_TIMEOUT_S):
            raise Unavailable("The database is busy. Try again in a minute; nothing was changed.")
        self._writer = threading.get_ident()

    def check(self) -> None:
        """Raise an exception if the database does not answer."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def truncate_journal(self) -> None:
        """Remove deleted data from SQLite's write-ahead log, as far as readers allow; PostgreSQL vacuums by itself."""
        if not self.is_sqlite:
            return
        with closing(self.engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout=1000")  # long readers are not waited for; housekeeping retries hourly
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cursor.execute(f"PRAGMA busy_timeout={LOCK_TIMEOUT_S * 1000}")
            cursor.close()

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def is_storable(text: str) -> bool:
    """Whether both databases can store a text: PostgreSQL has no NUL, and lone surrogates are not characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def is_violated_by_others(error: Exception) -> bool:
    """Whether a key that other rows have, or no longer have, refuses a row: the result of simultaneous requests."""
    original = getattr(error, "orig", None)
    code = getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", None)
    return code in {
        *("23503", "23505"),
        *("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_FOREIGNKEY"),
    }


def serialize_writers(session: Session, key: str) -> None:
    """Hold a lock until the end of the transaction; writing transactions with the same key run one after the other.

    SQLite allows one writer at a time anyway. On PostgreSQL two transactions could otherwise both decide on a state
    that the other one changes. Rows that are read after this call include all changes of earlier transactions.
    """
    if session.get_bind().dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], signed=True)
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": number})


def before_commit(session: Session, callback: Callable[[Session], None]) -> None:
    """Call a function at the end of a writing session, before its commit."""
    session.info.setdefault("before_commit", []).append(callback)


def after_commit(session: Session, callback: Callable[[], None]) -> None:
    """Call a function after the commit of a writing session."""
    session.info.setdefault("after_commit", []).append(callback)


def after_reading(session: Session, callback: Callable[[], None]) -> None:
    """Call a function after a reading session without an error, before the response is sent."""
    session.info.setdefault("after_reading", []).append(callback)


def _lower(text: object) -> object:
    return text.lower() if isinstance(text, str) else text


def _check_lengths(
    _connection: Connection, statement: object, many: Sequence[Mapping[str, Any]], single: Mapping[str, Any], _: object
) -> None:
    """Refuse texts longer than their columns, which PostgreSQL would not store and SQLite would not notice."""
    if not isinstance(statement, Insert | Update):
        return
    lengths = _column_lengths(statement.table)
    for key, value in _values_of(statement, (*many, single)):
        most = lengths.get(key) if isinstance(value, str) else None
        if most is not None and len(value) > most:
            raise Invalid(f"The value of {key} has more than {most} characters.", field=key)


@lru_cache(maxsize=256)
def _column_lengths(table: Any) -> dict[str, int]:
    return {
        column.key: column.type.length
        for column in getattr(table, "columns", ())
        if isinstance(column.type, String) and column.type.length is not None
    }


def _values_of(statement: Insert | Update, parameters: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The values of a statement with their columns: its parameters, and the values that it contains itself."""
    for row in parameters:
        yield from row.items()
    contained: Iterable[Any] = (statement._values or {}, *chain.from_iterable(statement._multi_values))
    for row in contained:
        for column, value in row.items():
            yield getattr(column, "key", column), getattr(value, "value", value)


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _restrict_file(url: str) -> None:
    """Let only the owner read the file of a SQLite database; SQLite gives its journals the same mode."""
    name = make_url(url).database
    if not name or name == ":memory:" or name.startswith("file:") or not Path(name).parent.is_dir():
        return
    os.close(os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for path in (name, f"{name}-wal", f"{name}-shm"):
        with suppress(FileNotFoundError, PermissionError):  # a file of another owner stays as it is
            os.chmod(path, 0o600)


def _create_engine(url: str, pool_size: int, *, is_sqlite: bool) -> Engine:
    if not is_sqlite:
        server = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
            json_serializer=_to_json,
            hide_parameters=True,  # error texts may be logged, and parameters may identify a patient
        )

        @event.listens_for(server, "connect")
        def configure_postgresql(connection: Any, _record: object) -> None:
            # Our queries take less time than their JIT compilation.
            connection.execute("SET jit TO off")
            connection.commit()

        return server
    _restrict_file(url)
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        json_serializer=_to_json,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "timeout": LOCK_TIMEOUT_S},
    )

    @event.listens_for(engine, "connect")
    def configure_sqlite(connection: Any, _record: object) -> None:
        # The driver's own transaction handling is too late for BEGIN IMMEDIATE; the event below starts transactions.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.execute("PRAGMA secure_delete=ON")  # deleted data is overwritten, for example the key of a patient
        cursor.close()
        # SQLite's own lower() converts only ASCII.
        connection.create_function("lower", 1, _lower, deterministic=True)

    @event.listens_for(engine, "begin")
    def start_transaction(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("medhub_writing"):
            connection.exec_driver_sql(
                f"PRAGMA synchronous={'FULL' if options.get('medhub_durable', True) else 'NORMAL'}"
            )
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("BEGIN")

    return engine
