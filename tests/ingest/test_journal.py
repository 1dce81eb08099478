# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from medhub.errors import Unavailable
from medhub.foundation.keys import Keys
from medhub.ingest.journal import Journal, JournalFull, JournalPosition, count_unreadable, read_record

KEYS = Keys(b"\x07" * 32)
NAME = b"DOE^JANE"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "intake"


def open_journal(root: Path, *, most: int = 10**9, segment: int = 10**6) -> Journal:
    return Journal(root, KEYS, most_pending_bytes=most, segment_bytes=segment)


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and path.name != "lock")


def left_behind(root: Path, *records: bytes) -> list[JournalPosition]:
    """What a process leaves that is killed: everything but its lock."""
    journal = open_journal(root)
    positions = [journal.append(record, 1) for record in records]
    for lock in journal.lock_descriptors:
        os.close(lock)
    return positions


def test_a_record_is_sealed_and_opens_at_its_place(root: Path) -> None:
    journal = open_journal(root)
    positions = [journal.append(NAME + bytes([number]) * 1000, 1) for number in range(3)]
    assert [read_record(root, KEYS, position)[-1] for position in positions] == [0, 1, 2]
    assert all(NAME not in path.read_bytes() for path in files(root))
    assert len({path.stat().st_mode & 0o077 for path in files(root)}) == 1
    journal.close()


def test_a_record_opens_with_no_other_key_and_at_no_other_place(root: Path) -> None:
    journal = open_journal(root)
    first, second = journal.append(b"1" * 100, 1), journal.append(b"2" * 100, 1)
    with pytest.raises(Unavailable):
        read_record(root, Keys(b"\x08" * 32), first)
    path = root / first.folder / "00000001.journal"
    data = path.read_bytes()
    path.write_bytes(data[second.offset :] + data[: second.offset])
    with pytest.raises(Unavailable):
        read_record(root, KEYS, first)
    journal.close()


def test_a_segment_goes_when_all_of_it_was_taken_in(root: Path) -> None:
    journal = open_journal(root, segment=150)
    positions = [journal.append(b"x" * 100, 1) for _ in range(4)]
    assert len({position.segment for position in positions}) == 2
    journal.mark_done(positions[0])
    assert len(list(root.rglob("*.journal"))) == 2
    journal.mark_done(positions[1])
    assert [path.name for path in root.rglob("*.journal")] == ["00000002.journal"]
    journal.mark_done(positions[2])
    journal.mark_done(positions[3])
    journal.close_idle_segment()
    assert files(root) == []
    assert journal.pending_bytes == 0
    journal.append(b"x", 1)
    journal.close()


def test_what_a_killed_process_left_is_adopted_once_without_what_was_taken_in(root: Path) -> None:
    positions = left_behind(root, b"1", b"2", b"3")
    # The second record is noted as done; the text after the last line end was still being written.
    (root / positions[0].folder / "00000001.done").write_bytes(b"%d\n%d" % (positions[1].offset, positions[2].offset))
    journal, second_journal = open_journal(root), open_journal(root)
    adopted = journal.adopt()
    assert adopted == [positions[0], positions[2]]
    assert second_journal.adopt() == []
    assert [read_record(root, KEYS, position) for position in adopted] == [b"1", b"3"]
    for position in adopted:
        journal.mark_done(position)
    assert not (root / positions[0].folder).exists()
    journal.close()
    second_journal.close()
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("tail", [b"M", b"MHJ1\0\0\1\0cut off", b"\0" * 4096], ids=["head", "record", "zeros"])
def test_a_record_that_was_being_written_is_no_record(root: Path, tail: bytes) -> None:
    (position,) = left_behind(root, b"whole")
    with (root / position.folder / "00000001.journal").open("ab") as file:
        file.write(tail)
    journal = open_journal(root)
    assert journal.adopt() == [position]
    journal.mark_done(position)
    assert count_unreadable(root) == 0
    assert not (root / position.folder).exists()
    journal.close()


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path, _: _flip(path, 0),
        lambda path, second: _flip(path, second.offset),
        # A length that reaches behind the end would hide the third record as if it had never been whole.
        lambda path, second: _flip(path, second.offset + 4),
    ],
    ids=["first-head", "second-head", "length"],
)
def test_a_damaged_segment_is_kept_and_counted(root: Path, damage: Callable[[Path, JournalPosition], None]) -> None:
    left = left_behind(root, b"1" * 50, b"2" * 50, b"3" * 50)
    damage(root / left[0].folder / "00000001.journal", left[1])
    journal = open_journal(root)
    for position in journal.adopt():
        journal.mark_done(position)
    assert count_unreadable(root) == 1
    assert (root / left[0].folder).is_dir()
    journal.close()


def test_a_record_that_does_not_open_keeps_its_segment(root: Path) -> None:
    left = left_behind(root, b"1" * 50, b"2" * 50)
    _flip(root / left[0].folder / "00000001.journal", left[0].offset + 30)
    journal = open_journal(root)
    assert journal.adopt() == left
    with pytest.raises(Unavailable):
        read_record(root, KEYS, left[0])
    journal.mark_done(left[0], damaged=True)
    journal.mark_done(left[1])
    assert count_unreadable(root) == 1
    journal.close()


def test_receiving_waits_while_too_much_waits(root: Path) -> None:
    journal = open_journal(root, most=300)
    first = journal.append(b"x" * 200, 1)
    with pytest.raises(JournalFull):
        journal.append(b"y" * 200, 0.01)
    timer = threading.Timer(0.05, journal.mark_done, [first])
    timer.start()
    journal.append(b"y" * 200, 30)
    timer.join()
    journal.close()


def test_one_larger_than_all_that_may_wait_is_still_taken_alone(root: Path) -> None:
    journal = open_journal(root, most=10)
    journal.append(b"x" * 100, 0.01)
    journal.close()


def test_a_disk_that_fails_acknowledges_nothing_and_is_not_believed_later(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(root)
    stored = journal.append(b"1", 1)
    fdatasync_of_os, failures = os.fdatasync, [True]

    def fdatasync(file: int) -> None:
        if failures.pop() if failures else False:
            raise OSError(5, "Input/output error")
        fdatasync_of_os(file)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    with pytest.raises(OSError, match="Input/output"):
        journal.append(b"2", 1)
    assert journal.append(b"3", 1).segment == stored.segment + 1
    assert journal.pending_bytes == stored.length + len(b"3") + 28
    journal.close()


def test_records_of_many_threads_are_all_durable_and_whole(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = open_journal(root, segment=20_000)
    syncs: list[int] = []
    real = os.fdatasync

    def fdatasync(file: int) -> None:
        syncs.append(file)
        real(file)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    positions: list[tuple[bytes, JournalPosition]] = []

    def write(number: int) -> None:
        for count in range(25):
            data = b"%d %d " % (number, count) + bytes(number * 10)
            positions.append((data, journal.append(data, 10)))

    threads = [threading.Thread(target=write, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(position.segment, position.offset) for _, position in positions}) == 200
    assert all(read_record(root, KEYS, position) == data for data, position in positions)
    assert 0 < len(syncs) <= 200 + len({position.segment for _, position in positions})
    journal.close()
