# SPDX-License-Identifier: Apache-2.0
"""Store 2,000 records of 39 kB durably in the intake journal and in an SQLite spool: ``python bench/intake_spool.py``.

Both seal each record with the same cipher, acknowledge it only when it is on the disk, and serve all senders who wait
by one sync (the spool by one transaction, WAL, ``synchronous=FULL``). Afterwards all records are read and removed, as
the ingesting process does. The rounds alternate; the median of each is printed, in records a second.
"""

from __future__ import annotations

import argparse
import os
import queue
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from medhub.foundation.keys import Keys, seal, unseal
from medhub.ingest.journal import Journal, JournalPosition, read_record

KEYS = Keys(b"\x07" * 32)
RECORD_BYTES = 39_000
MOST_RECORDS_PER_COMMIT = 64


class Spool(Protocol):
    """What both sides do."""

    def append(self, record: bytes) -> object:
        """Store a record durably."""

    def drain(self) -> int:
        """Read and remove all records; returns their number."""

    def close(self) -> None:
        """Close the files."""


class JournalSpool:
    """The intake journal of Medhub."""

    def __init__(self, folder: Path) -> None:
        self._journal = Journal(folder, KEYS, most_pending_bytes=10**10)
        self._positions: list[JournalPosition] = []
        self._lock = threading.Lock()

    def append(self, record: bytes) -> None:
        """Append to the current segment, and wait for its sync."""
        position = self._journal.append(record, 60)
        with self._lock:
            self._positions.append(position)

    def drain(self) -> int:
        """Read, mark and remove all records."""
        for position in self._positions:
            assert len(read_record(self._journal.root, KEYS, position)) == RECORD_BYTES
            self._journal.mark_done(position)
        self._journal.close_idle_segment()
        return len(self._positions)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


class SQLiteSpool:
    """A table of records; one thread commits for all senders who wait."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._path, self._key = folder / "spool.sqlite", KEYS.derive("spool")
        with sqlite3.connect(self._path) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE records (id INTEGER PRIMARY KEY, sealed BLOB NOT NULL)")
        self._queue: queue.Queue[tuple[bytes, Future[None]] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._commit_records)
        self._thread.start()

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA synchronous=FULL")
        return database

    def _commit_records(self) -> None:
        database = self._open()
        item = self._queue.get()
        while item is not None:
            batch = [item]
            following: tuple[bytes, Future[None]] | None = None
            while len(batch) < MOST_RECORDS_PER_COMMIT and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    break
                batch.append(following)
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT INTO records (sealed) VALUES (?)", [(sealed,) for sealed, _ in batch])
            database.execute("COMMIT")
            for _, done in batch:
                done.set_result(None)
            item = self._queue.get()
        database.close()

    def append(self, record: bytes) -> None:
        """Queue a sealed record, and wait for its commit."""
        done: Future[None] = Future()
        self._queue.put((seal(self._key, record, "record"), done))
        done.result(60)

    def drain(self) -> int:
        """Read all records, and delete them in batches."""
        database, count = self._open(), 0
        while rows := database.execute("SELECT id, sealed FROM records ORDER BY id LIMIT 64").fetchall():
            for _, sealed in rows:
                assert len(unseal(self._key, sealed, "record")) == RECORD_BYTES
            count += len(rows)
            database.execute("DELETE FROM records WHERE id <= ?", (rows[-1][0],))
        database.close()
        return count

    def close(self) -> None:
        """End the thread that commits."""
        self._queue.put(None)
        self._thread.join()


def measure(spool: Spool, count: int, senders: int) -> tuple[float, float]:
    """Records stored and drained a second."""
    records = [os.urandom(RECORD_BYTES) for _ in range(32)]
    started = time.perf_counter()
    with ThreadPoolExecutor(senders) as pool:
        list(pool.map(lambda number: spool.append(records[number % 32]), range(count)))
    stored = time.perf_counter()
    assert spool.drain() == count
    ended = time.perf_counter()
    spool.close()
    return count / (stored - started), count / (ended - stored)


def main() -> None:
    """Print the median rates of both, for one and for four senders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="Folder on the disk to measure; the system's temporary one.")
    options = parser.parse_args()
    sides: dict[str, Callable[[Path], Spool]] = {"intake journal": JournalSpool, "SQLite spool": SQLiteSpool}
    for senders in (1, 4):
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for _ in range(options.rounds):
            for name, create in sides.items():
                with tempfile.TemporaryDirectory(dir=options.folder, prefix="medhub-bench-") as folder:
                    rates[name].append(measure(create(Path(folder) / "spool"), options.count, senders))
        for name, values in rates.items():
            stored, drained = (statistics.median(column) for column in zip(*values, strict=True))
            print(f"{senders} senders  {name:<14}  stored {stored:8.0f}/s  drained {drained:8.0f}/s", flush=True)


if __name__ == "__main__":
    main()
