# SPDX-License-Identifier: Apache-2.0
"""Taking in what was received: nothing acknowledged is given up, and nothing comes in twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from medhub.foundation import logging
from medhub.foundation.app_context import AppContext
from medhub.ingest import journal_reader, pipeline
from medhub.ingest.ingest_file import ReceivedFile
from medhub.ingest.journal import Journal, JournalPosition
from medhub.ingest.journal_reader import JournalReader, PendingRecord, SendingNode, encode_record
from medhub.ingest.models import Arrival
from medhub.records.models import Image
from tests.factories.accounts import People
from tests.factories.cts import ct


class Running:
    """A journal, and a reader with threads that ingest its records."""

    def __init__(self, app: AppContext, project_id: str) -> None:
        self.app, self.sent = app, SendingNode(project_id, "CT_1", "127.0.0.1")
        self.journal = Journal(app.settings.intake_folder, app.keys, most_pending_bytes=10**9)
        self.done: list[tuple[JournalPosition, bool]] = []
        self._changed = threading.Condition()
        self.intake = JournalReader(app, self._note, 2)
        self.intake.start()

    def _note(self, positions: Sequence[JournalPosition], damaged: bool) -> None:
        with self._changed:
            self.done += [(position, damaged) for position in positions]
            self._changed.notify_all()

    def take_in(self, *files: bytes, left: bool = False, sent: SendingNode | None = None) -> list[bool]:
        """Ingest files through the journal; returns for each, in order, whether its record was reported damaged."""
        positions = [self.journal.append(encode_record(sent or self.sent, [data]), 1) for data in files]
        self.intake.enqueue([PendingRecord(position, 1, left) for position in positions])
        with self._changed:
            assert self._changed.wait_for(lambda: set(positions) <= {position for position, _ in self.done}, 60)
        damaged = dict(self.done)
        return [damaged[position] for position in positions]

    def outcomes(self) -> list[tuple[str, str | None]]:
        with self.app.database.reading() as session:
            arrivals = session.scalars(select(Arrival).order_by(Arrival.created_at, Arrival.id))
            return [(arrival.outcome, arrival.peer) for arrival in arrivals]


@pytest.fixture
def running(app: AppContext, people: People) -> Iterator[Running]:
    logging.configure()  # as in the intake process: an error is logged by its type and positions
    started = Running(app, people.project_id)
    yield started
    started.intake.stop()
    started.journal.close()


def test_what_was_left_behind_comes_in_once_even_when_only_its_note_was_lost(running: Running) -> None:
    fine, broken = ct(), ct(PatientID="", StudyInstanceUID="")
    assert running.take_in(fine, broken) == [False, False]
    assert running.take_in(fine, broken, left=True) == [False, False]
    assert sorted(running.outcomes()) == [("accepted", "CT_1"), ("quarantined", "CT_1")]
    # A file that its node sends again is a duplicate.
    running.take_in(fine)
    assert sorted(outcome for outcome, _ in running.outcomes()) == ["accepted", "duplicate", "quarantined"]


def test_a_database_that_does_not_answer_is_waited_for(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = pipeline.ingest_files, [OperationalError("SELECT", {}, Exception()), OSError(28, "No space left")]

    def ingest_files(*args: Any) -> object:
        if failures:
            raise failures.pop()
        return real(*args)

    monkeypatch.setattr(journal_reader, "ingest_files", ingest_files)
    monkeypatch.setattr(journal_reader, "_PAUSE_S", 0.01)
    assert running.take_in(ct()) == [False]
    assert running.outcomes() == [("accepted", "CT_1")]


def failing_at(marked: bytes, real: Callable[..., Any]) -> Callable[..., Any]:
    """An ``ingest_files`` that fails at a file with a mark, after it has ingested the files before it."""

    def ingest_files(app: Any, actor: Any, source: Any, files: Sequence[ReceivedFile]) -> Any:
        answers = []
        for file in files:
            if marked in (file.data or b""):
                raise ZeroDivisionError
            answers += real(app, actor, source, [file])
        return answers

    return ingest_files


def test_a_file_at_which_the_program_fails_is_quarantined_and_the_others_come_in_once(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_reader, "ingest_files", failing_at(b"POISON", pipeline.ingest_files))
    first, poison, last = ct(), ct(StudyDescription="POISON", SOPInstanceUID="1.2.3.7"), ct(SOPInstanceUID="1.2.3.8")
    assert running.take_in(first, poison, last) == [False] * 3
    assert sorted(outcome for outcome, _ in running.outcomes()) == ["accepted", "accepted", "quarantined"]
    with running.app.database.reading() as session:
        (waiting,) = session.scalars(select(Arrival).where(Arrival.outcome == "quarantined"))
        assert len(list(session.scalars(select(Image)))) == 2
    assert waiting.sealed_bytes is not None


def test_what_cannot_even_be_quarantined_stays_in_the_journal(running: Running) -> None:
    nowhere = SendingNode("no such project", "CT_1", "127.0.0.1")
    assert running.take_in(ct(), sent=nowhere) == [True]
    assert running.outcomes() == []


def test_a_damaged_record_holds_up_nobody(running: Running) -> None:
    position = running.journal.append(encode_record(running.sent, [ct()]), 1)
    path = running.journal.root / position.folder / "00000001.journal"
    data = bytearray(path.read_bytes())
    data[position.offset + 100] ^= 1
    path.write_bytes(data)
    running.intake.enqueue([PendingRecord(position, 1)])
    assert running.take_in(ct()) == [False]
    assert dict(running.done)[position] is True


def test_nodes_are_taken_in_side_by_side_and_each_in_its_order(
    running: Running, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str | None, bytes]] = []
    both = threading.Barrier(2, timeout=30)

    def ingest_files(_app: Any, _actor: Any, source: Any, files: Sequence[ReceivedFile]) -> list[Any]:
        if not any(peer == source.peer for peer, _ in seen):
            both.wait()  # two nodes are ingested at the same time, or this breaks
        seen.extend((source.peer, file.data or b"") for file in files)
        return []

    monkeypatch.setattr(journal_reader, "ingest_files", ingest_files)
    positions = []
    for lane, title in enumerate(("CT_1", "MR_1")):
        sent = SendingNode(people.project_id, title, "127.0.0.1")
        positions += [
            PendingRecord(running.journal.append(encode_record(sent, [b"%d" % number]), 1), lane + 1)
            for number in range(100)
        ]
    running.intake.enqueue(positions)
    with running._changed:
        assert running._changed.wait_for(lambda: len(running.done) == 200, 60)
    for title in ("CT_1", "MR_1"):
        assert [data for peer, data in seen if peer == title] == [b"%d" % number for number in range(100)]
