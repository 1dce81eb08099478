# SPDX-License-Identifier: Apache-2.0
"""The intake journal: received and acknowledged objects, sealed, until they are ingested.

A sender waits for its acknowledgement, and cleaning a file takes longer than senders wait. A received object is sealed
under a key derived from the master key, appended to a segment, and acknowledged when the segment is on the disk; one
``fdatasync`` serves all senders who wait at that moment. Another process ingests the objects, and a segment is deleted
when all its records are ingested.

Each receiving process has its own locked folder. The folder of a process that was killed is adopted by the next one.
A record is bound to its position, so that none can be moved or repeated::

    magic (4 bytes)  length (4 bytes, big endian)  nonce, ciphertext and tag of that length

``docs/decisions/0012-intake-journal.md`` compares it with an SQLite spool.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from medhub.errors import Unavailable
from medhub.foundation import ids
from medhub.foundation.keys import Keys, seal, unseal
from medhub.foundation.logging import get_logger

SEGMENT_BYTES = 64 * 1024**2
_HEAD = struct.Struct(">4sI")
_MAGIC = b"MHJ1"
_OVERHEAD_BYTES = 28  # nonce and tag

log = get_logger()


class JournalFull(Unavailable):
    """The journal has reached its size limit; nothing more is received for the moment."""

    code = "intake-full"


@dataclass(frozen=True)
class JournalPosition:
    """The position of a record: folder, segment, offset of its head, length of the sealed bytes."""

    folder: str
    segment: int
    offset: int
    length: int


def read_record(root: Path, keys: Keys, position: JournalPosition) -> bytes:
    """Decrypt a record; raises ``Unavailable`` where it is damaged or sealed with another key."""
    with (root / position.folder / _segment_name(position.segment)).open("rb") as file:
        head = os.pread(file.fileno(), _HEAD.size, position.offset)
        sealed = os.pread(file.fileno(), position.length, position.offset + _HEAD.size)
    if head != _HEAD.pack(_MAGIC, position.length):
        raise Unavailable("A record of the intake journal is damaged.")
    return unseal(
        _derive_key(keys, position.folder), sealed, _associated_data(position.folder, position.segment, position.offset)
    )


class Journal:
    """The folder of one receiving process, and adopted ones of dead processes; safe to use from many threads."""

    def __init__(self, root: Path, keys: Keys, *, most_pending_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.root, self._keys = root, keys
        self._most_pending_bytes, self._segment_bytes = most_pending_bytes, segment_bytes
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.name = ids.new_id()
        (root / self.name).mkdir(mode=0o700)
        self._locks = {self.name: _lock(root / self.name)}
        _sync_folder(root)
        self._key = _derive_key(keys, self.name)
        self._writing = threading.Lock()
        self._syncing = threading.Lock()
        self._condition = threading.Condition()
        self._pending: dict[tuple[str, int], dict[int, int]] = {}  # segment -> offset -> length
        self._damaged: set[tuple[str, int]] = set()
        self._failed: set[int] = set()  # segments that could not be synced completely
        self.pending_bytes = 0
        self._segment, self._file, self._size, self._synced = 0, -1, 0, 0
        self._closed = False

    @property
    def lock_descriptors(self) -> list[int]:
        """The ingesting process holds these too, so that no folder is adopted while it is still read."""
        return [lock for lock in self._locks.values() if lock is not None]

    def append(self, plaintext: bytes, patience_s: float) -> JournalPosition:
        """Write a record; it is durable when this returns.

        Raises
        ------
        JournalFull
            The journal was full for ``patience_s``.
        OSError
            The disk failed; the record must not be acknowledged.
        """
        length = len(plaintext) + _OVERHEAD_BYTES
        with self._condition:
            full = not self._condition.wait_for(
                lambda: not self.pending_bytes or self.pending_bytes + length <= self._most_pending_bytes, patience_s
            )
            if full or self._closed:
                raise JournalFull("More has been received than can be taken in at the moment. Send it again later.")
            self.pending_bytes += length
        position = None
        try:
            position = self._write(plaintext, length)
            self._sync(position)
        except BaseException:
            with self._condition:
                self.pending_bytes -= length
                if position is not None:
                    self._pending.get((position.folder, position.segment), {}).pop(position.offset, None)
                self._condition.notify_all()
            raise
        return position

    def _write(self, plaintext: bytes, length: int) -> JournalPosition:
        with self._writing:
            if self._file < 0 or self._size >= self._segment_bytes or self._segment in self._failed:
                self._start_segment()
            offset = self._size
            sealed = seal(self._key, plaintext, _associated_data(self.name, self._segment, offset))
            try:
                _write_all(self._file, [_HEAD.pack(_MAGIC, length), sealed], offset)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._file, offset)  # a partial record would hide those after it
                raise
            self._size = offset + _HEAD.size + length
            position = JournalPosition(self.name, self._segment, offset, length)
            with self._condition:
                self._pending.setdefault((self.name, self._segment), {})[offset] = length
            return position

    def _sync(self, position: JournalPosition) -> None:
        """Wait until a record is on the disk; the first thread syncs for all records written by then."""
        end = position.offset + _HEAD.size + position.length
        with self._syncing:
            with self._writing:
                if position.segment in self._failed:
                    raise OSError(errno.EIO, "The disk has not stored this segment")
                if position.segment < self._segment or end <= self._synced:
                    return  # a segment is synced before the next one starts
                file, written = os.dup(self._file), self._size
            try:
                os.fdatasync(file)
            except OSError:
                # A second sync may succeed although the first one has lost data.
                self._failed.add(position.segment)
                raise
            finally:
                os.close(file)
            with self._writing:
                if position.segment == self._segment:
                    self._synced = max(self._synced, written)

    def _start_segment(self) -> None:
        """Start a new segment; the caller holds the write lock."""
        with self._condition:
            self._end_segment()
            self._segment += 1
        path = self.root / self.name / _segment_name(self._segment)
        self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._size = self._synced = 0
        _sync_folder(path.parent)

    def _end_segment(self) -> None:
        if self._file < 0:
            return
        try:
            os.fdatasync(self._file)
        except OSError:
            self._failed.add(self._segment)
        os.close(self._file)
        self._file = -1
        self._remove_if_done((self.name, self._segment))

    def mark_done(self, position: JournalPosition, *, damaged: bool = False) -> None:
        """Mark a record as ingested or damaged; a segment whose records are all ingested is deleted."""
        segment = (position.folder, position.segment)
        with self._condition:
            pending = self._pending.get(segment, {})
            if pending.pop(position.offset, None) is None:
                return
            self.pending_bytes -= position.length
            if damaged:
                self._damaged.add(segment)
            else:
                # Not synced: a mark lost with the power only means that the record is found to be a duplicate.
                with (self.root / position.folder / f"{position.segment:08d}.done").open("ab") as marks:
                    marks.write(b"%d\n" % position.offset)
            self._condition.notify_all()
            writing = segment == (self.name, self._segment) and self._file >= 0
            if not pending and not writing:
                self._remove_if_done(segment)

    def close_idle_segment(self) -> None:
        """Close and delete the current segment when all its records are ingested."""
        with self._writing, self._condition:
            if self._file >= 0 and self._size and not self._pending.get((self.name, self._segment)):
                self._end_segment()

    def _remove_if_done(self, segment: tuple[str, int]) -> None:
        if self._pending.get(segment):
            return
        self._pending.pop(segment, None)
        path = self.root / segment[0] / _segment_name(segment[1])
        if segment in self._damaged:
            # An unreadable segment is never deleted silently.
            path.rename(path.with_suffix(".unreadable"))
            log.error("intake.unreadable", folder=segment[0], segment=segment[1])
        else:
            path.unlink(missing_ok=True)
        path.with_suffix(".done").unlink(missing_ok=True)
        if segment[0] != self.name and not self._has_pending(segment[0]):
            self._release_folder(segment[0])

    def _has_pending(self, folder: str) -> bool:
        return any(pending_folder == folder for pending_folder, _ in self._pending)

    def adopt(self) -> list[JournalPosition]:
        """Adopt the folders of dead processes; the list has their records that are not ingested, in order."""
        positions: list[JournalPosition] = []
        for folder in sorted(path for path in self.root.iterdir() if path.is_dir() and path.name not in self._locks):
            lock = _lock(folder)
            if lock is None:
                continue  # another process still writes to it
            self._locks[folder.name] = lock
            for path in sorted(folder.glob("*.journal")):
                positions += self._adopt_segment(path)
            if not self._has_pending(folder.name):
                self._release_folder(folder.name)
        return positions

    def _adopt_segment(self, path: Path) -> list[JournalPosition]:
        folder, segment = path.parent.name, int(path.stem)
        done = _read_marks(path.with_suffix(".done"))
        positions = []
        end = 0
        for offset, length in _records(path):
            end = offset + _HEAD.size + length
            if offset not in done:
                positions.append(JournalPosition(folder, segment, offset, length))
        with self._condition:
            self._pending[(folder, segment)] = {position.offset: position.length for position in positions}
            self.pending_bytes += sum(position.length for position in positions)
            if end < path.stat().st_size:
                self._check_tail(path, end)
            if not positions:
                self._remove_if_done((folder, segment))
        return positions

    def _check_tail(self, path: Path, end: int) -> None:
        """Classify the bytes after the last complete record: an incomplete record, or damage."""
        with path.open("rb") as file:
            file.seek(end)
            tail = file.read()
        incomplete = tail[:4] == _MAGIC[: len(tail)] and _MAGIC not in tail[4:]
        if incomplete or not tail.strip(b"\0"):
            log.warning("intake.torn", folder=path.parent.name, segment=int(path.stem))  # was never acknowledged
        else:
            self._damaged.add((path.parent.name, int(path.stem)))

    def _release_folder(self, folder: str) -> None:
        lock = self._locks.pop(folder, None)
        with suppress(OSError):  # unreadable segments stay in it
            (self.root / folder / "lock").unlink(missing_ok=True)
            (self.root / folder).rmdir()
        if lock is not None:
            os.close(lock)

    def close(self) -> None:
        """Stop; pending records are ingested after the next start."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        with self._writing, self._condition:
            self._end_segment()
            for folder in list(self._locks):
                if not self._has_pending(folder):
                    self._release_folder(folder)
            for lock in filter(None, self._locks.values()):
                os.close(lock)
            self._locks.clear()


def count_unreadable(root: Path) -> int:
    """The number of segments that could not be read."""
    return sum(1 for _ in root.glob("*/*.unreadable")) if root.is_dir() else 0


def _records(path: Path) -> Iterator[tuple[int, int]]:
    """Offset and length of each complete record of a segment."""
    size, offset = path.stat().st_size, 0
    with path.open("rb") as file:
        while offset + _HEAD.size <= size:
            magic, length = _HEAD.unpack(os.pread(file.fileno(), _HEAD.size, offset))
            if magic != _MAGIC or offset + _HEAD.size + length > size:
                return
            yield offset, length
            offset += _HEAD.size + length


def _read_marks(path: Path) -> set[int]:
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # after the last line end there may be a part of a number
    except FileNotFoundError:
        return set()
    return {int(line) for line in lines if line.isdigit()}


def _write_all(file: int, parts: list[bytes], offset: int) -> None:
    data = b"".join(parts)
    while data:
        count = os.pwrite(file, data, offset)
        data, offset = data[count:], offset + count


def _lock(folder: Path) -> int | None:
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _derive_key(keys: Keys, folder: str) -> bytes:
    return keys.derive(f"intake {folder}")


def _associated_data(folder: str, segment: int, offset: int) -> str:
    return f"intake {folder} {segment} {offset}"


def _segment_name(segment: int) -> str:
    return f"{segment:08d}.journal"


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
