# SPDX-License-Identifier: Apache-2.0
"""The intake journal: what was received and acknowledged, sealed, until it has been taken in.

A sender waits for its acknowledgement, and cleaning a file takes longer than senders wait. So a received object is
sealed under a key that is derived from the master key, appended to a segment, and acknowledged once the segment is on
the disk; one ``fdatasync`` serves everybody who waits at that moment. Others take the objects in, and a segment goes
when all of it has been.

Each process that receives has a folder of its own, which it locks. What a process left behind that was killed is
adopted by the next one. A record is bound to its place, so that none can be moved or repeated::

    magic (4 bytes)  length (4 bytes, big endian)  nonce, ciphertext and tag of the length
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
    """So much waits to be taken in that nothing more is received for the moment."""

    code = "intake-full"


@dataclass(frozen=True)
class JournalPosition:
    """Where a record lies: folder and segment, offset of its head, length of what is sealed."""

    folder: str
    segment: int
    offset: int
    length: int


def read_record(root: Path, keys: Keys, place: JournalPosition) -> bytes:
    """Open a record; raises ``Unavailable`` where it is not what was written, or was sealed with another key."""
    with (root / place.folder / _name(place.segment)).open("rb") as file:
        head = os.pread(file.fileno(), _HEAD.size, place.offset)
        sealed = os.pread(file.fileno(), place.length, place.offset + _HEAD.size)
    if head != _HEAD.pack(_MAGIC, place.length):
        raise Unavailable("A record of the intake journal is damaged.")
    return unseal(_key(keys, place.folder), sealed, _bound(place.folder, place.segment, place.offset))


class Journal:
    """The folder of one receiving process, and what others left behind; safe to use from many threads."""

    def __init__(self, root: Path, keys: Keys, *, most_waiting_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.root, self._keys = root, keys
        self._most_waiting_bytes, self._segment_bytes = most_waiting_bytes, segment_bytes
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.name = ids.new_id()
        (root / self.name).mkdir(mode=0o700)
        self._locks = {self.name: _lock(root / self.name)}
        _sync_folder(root)
        self._key = _key(keys, self.name)
        self._writing = threading.Lock()
        self._syncing = threading.Lock()
        self._room = threading.Condition()
        self._waiting: dict[tuple[str, int], dict[int, int]] = {}  # segment -> offset -> length
        self._damaged: set[tuple[str, int]] = set()
        self._failed: set[int] = set()  # segments of which the disk has not taken all
        self.waiting_bytes = 0
        self._segment, self._file, self._size, self._synced = 0, -1, 0, 0
        self._closed = False

    @property
    def lock_descriptors(self) -> list[int]:
        """Who takes in holds these too, so that nobody adopts a folder from which somebody still reads."""
        return [lock for lock in self._locks.values() if lock is not None]

    def append(self, plaintext: bytes, patience_s: float) -> JournalPosition:
        """Write a record; it is durable when this returns.

        Raises
        ------
        JournalFull
            Too much has waited for longer than the patience.
        OSError
            The disk does not take it; nothing was acknowledged.
        """
        length = len(plaintext) + _OVERHEAD_BYTES
        with self._room:
            full = not self._room.wait_for(
                lambda: not self.waiting_bytes or self.waiting_bytes + length <= self._most_waiting_bytes, patience_s
            )
            if full or self._closed:
                raise JournalFull("More has been received than can be taken in at the moment. Send it again later.")
            self.waiting_bytes += length
        place = None
        try:
            place = self._write(plaintext, length)
            self._sync(place)
        except BaseException:
            with self._room:
                self.waiting_bytes -= length
                if place is not None:
                    self._waiting.get((place.folder, place.segment), {}).pop(place.offset, None)
                self._room.notify_all()
            raise
        return place

    def _write(self, plaintext: bytes, length: int) -> JournalPosition:
        with self._writing:
            if self._file < 0 or self._size >= self._segment_bytes or self._segment in self._failed:
                self._roll()
            offset = self._size
            sealed = seal(self._key, plaintext, _bound(self.name, self._segment, offset))
            try:
                _write_all(self._file, [_HEAD.pack(_MAGIC, length), sealed], offset)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._file, offset)  # a part of a record would hide what comes after it
                raise
            self._size = offset + _HEAD.size + length
            place = JournalPosition(self.name, self._segment, offset, length)
            with self._room:
                self._waiting.setdefault((self.name, self._segment), {})[offset] = length
            return place

    def _sync(self, place: JournalPosition) -> None:
        """Wait until a record is on the disk: the first that comes syncs for all whose records are written by then."""
        end = place.offset + _HEAD.size + place.length
        with self._syncing:
            with self._writing:
                if place.segment in self._failed:
                    raise OSError(errno.EIO, "The disk has not taken this segment")
                if place.segment < self._segment or end <= self._synced:
                    return  # a segment is synced before the next one begins
                file, written = os.dup(self._file), self._size
            try:
                os.fdatasync(file)
            except OSError:
                # A second attempt might succeed although what the first one lost is not there.
                self._failed.add(place.segment)
                raise
            finally:
                os.close(file)
            with self._writing:
                if place.segment == self._segment:
                    self._synced = max(self._synced, written)

    def _roll(self) -> None:
        """Begin a new segment; called with the lock of writing."""
        with self._room:
            self._segment_ended()
            self._segment += 1
        path = self.root / self.name / _name(self._segment)
        self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._size = self._synced = 0
        _sync_folder(path.parent)

    def _segment_ended(self) -> None:
        if self._file < 0:
            return
        try:
            os.fdatasync(self._file)
        except OSError:
            self._failed.add(self._segment)
        os.close(self._file)
        self._file = -1
        self._forget_if_done((self.name, self._segment))

    def done(self, place: JournalPosition, *, damaged: bool = False) -> None:
        """Note that a record was taken in, or cannot be read; a segment of which all was taken in goes."""
        segment = (place.folder, place.segment)
        with self._room:
            waiting = self._waiting.get(segment, {})
            if waiting.pop(place.offset, None) is None:
                return
            self.waiting_bytes -= place.length
            if damaged:
                self._damaged.add(segment)
            else:
                # Not waited for: what a loss of power takes of it is taken in again, and found to be here already.
                with (self.root / place.folder / f"{place.segment:08d}.done").open("ab") as marks:
                    marks.write(b"%d\n" % place.offset)
            self._room.notify_all()
            writing = segment == (self.name, self._segment) and self._file >= 0
            if not waiting and not writing:
                self._forget_if_done(segment)

    def rest(self) -> None:
        """Let go of a segment that is still written to, when everything in it was taken in."""
        with self._writing, self._room:
            if self._file >= 0 and self._size and not self._waiting.get((self.name, self._segment)):
                self._segment_ended()

    def _forget_if_done(self, segment: tuple[str, int]) -> None:
        if self._waiting.get(segment):
            return
        self._waiting.pop(segment, None)
        path = self.root / segment[0] / _name(segment[1])
        if segment in self._damaged:
            # What cannot be read is kept and said, never dropped in silence.
            path.rename(path.with_suffix(".unreadable"))
            log.error("intake.unreadable", folder=segment[0], segment=segment[1])
        else:
            path.unlink(missing_ok=True)
        path.with_suffix(".done").unlink(missing_ok=True)
        if segment[0] != self.name and not any(one[0] == segment[0] for one in self._waiting):
            self._let_go(segment[0])

    def adopt(self) -> list[JournalPosition]:
        """Take over what processes left behind that live no more; gives what is to be taken in, in its order."""
        found: list[JournalPosition] = []
        for folder in sorted(path for path in self.root.iterdir() if path.is_dir() and path.name not in self._locks):
            lock = _lock(folder)
            if lock is None:
                continue  # somebody still receives into it
            self._locks[folder.name] = lock
            for path in sorted(folder.glob("*.journal")):
                found += self._adopt(path)
            if not any(one[0] == folder.name for one in self._waiting):
                self._let_go(folder.name)
        return found

    def _adopt(self, path: Path) -> list[JournalPosition]:
        folder, segment = path.parent.name, int(path.stem)
        done = _marks(path.with_suffix(".done"))
        places = []
        end = 0
        for offset, length in _records(path):
            end = offset + _HEAD.size + length
            if offset not in done:
                places.append(JournalPosition(folder, segment, offset, length))
        with self._room:
            self._waiting[(folder, segment)] = {place.offset: place.length for place in places}
            self.waiting_bytes += sum(place.length for place in places)
            if end < path.stat().st_size:
                self._judge_tail(path, end)
            if not places:
                self._forget_if_done((folder, segment))
        return places

    def _judge_tail(self, path: Path, end: int) -> None:
        """Bytes behind the last whole record: one that was being written when the process ended, or damage."""
        with path.open("rb") as file:
            file.seek(end)
            tail = file.read()
        begun = tail[:4] == _MAGIC[: len(tail)] and _MAGIC not in tail[4:]
        if begun or not tail.strip(b"\0"):
            log.warning("intake.torn", folder=path.parent.name, segment=int(path.stem))  # was never acknowledged
        else:
            self._damaged.add((path.parent.name, int(path.stem)))

    def _let_go(self, folder: str) -> None:
        lock = self._locks.pop(folder, None)
        with suppress(OSError):  # what cannot be read stays in it
            (self.root / folder / "lock").unlink(missing_ok=True)
            (self.root / folder).rmdir()
        if lock is not None:
            os.close(lock)

    def close(self) -> None:
        """Stop; what waits is taken in after the next start."""
        with self._room:
            self._closed = True
            self._room.notify_all()
        with self._writing, self._room:
            self._segment_ended()
            for folder in list(self._locks):
                if not any(one[0] == folder for one in self._waiting):
                    self._let_go(folder)
            for lock in filter(None, self._locks.values()):
                os.close(lock)
            self._locks.clear()


def unreadable(root: Path) -> int:
    """How many segments were kept since they could not be read."""
    return sum(1 for _ in root.glob("*/*.unreadable")) if root.is_dir() else 0


def _records(path: Path) -> Iterator[tuple[int, int]]:
    """Offset and length of each whole record of a segment."""
    size, offset = path.stat().st_size, 0
    with path.open("rb") as file:
        while offset + _HEAD.size <= size:
            magic, length = _HEAD.unpack(os.pread(file.fileno(), _HEAD.size, offset))
            if magic != _MAGIC or offset + _HEAD.size + length > size:
                return
            yield offset, length
            offset += _HEAD.size + length


def _marks(path: Path) -> set[int]:
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # behind the last line end lies nothing, or a part of a number
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


def _key(keys: Keys, folder: str) -> bytes:
    return keys.derive(f"intake {folder}")


def _bound(folder: str, segment: int, offset: int) -> str:
    return f"intake {folder} {segment} {offset}"


def _name(segment: int) -> str:
    return f"{segment:08d}.journal"


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
