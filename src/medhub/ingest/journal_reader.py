# SPDX-License-Identifier: Apache-2.0
"""Taking in what the intake journal holds: batch after batch, each node's objects in their order.

An object that was acknowledged is never given up. When the database does not answer, it is tried again until it does;
an object that makes the program fail is quarantined; and what cannot even be quarantined stays in the journal's folder,
and is said in the log.
"""

from __future__ import annotations

import json
import struct
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import ParamSpec, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.errors import Unavailable
from medhub.foundation.app_context import AppContext
from medhub.foundation.logging import get_logger
from medhub.ingest.context import IngestSource
from medhub.ingest.ingest_file import IngestFile, ReceivedFile
from medhub.ingest.journal import JournalPosition, read_record
from medhub.ingest.models import Arrival, Receipt
from medhub.ingest.pipeline import hash_received, ingest_files
from medhub.ingest.quarantine import open_sealed, quarantine_files
from medhub.ingest.refusals import ArrivalRefused

BATCH_FILES = 1_024
BATCH_BYTES = 64 * 1024**2
_PAUSE_S = 1.0
_LENGTH = struct.Struct(">I")

P = ParamSpec("P")
R = TypeVar("R")

log = get_logger()


@dataclass(frozen=True)
class JournalEntry:
    """From which node an object came, and into which project it goes."""

    project_id: str
    ae_title: str
    origin: str  # the address that it came from

    @property
    def actor(self) -> Actor:
        """On whose behalf it is taken in: the node, which may do what a technologist may."""
        return node_actor(self.project_id, self.ae_title, self.origin, Role.TECHNOLOGIST)

    @property
    def source(self) -> IngestSource:
        """The ingest source of its objects."""
        return IngestSource(self.project_id, "dimse", self.ae_title)


def node_actor(project_id: str, ae_title: str, origin: str, role: Role) -> Actor:
    """A DICOM node as somebody who acts in its project."""
    return Actor(
        user_id="",
        name=f"DICOM node {ae_title}",
        email="",
        roles={project_id: role},
        project_names={},
        sign_in_id="",
        origin=origin[:64],
    )


def to_record(sent: JournalEntry, data: Sequence[bytes | bytearray]) -> bytes:
    """What is sealed into the journal: who sent it, then the file."""
    head = json.dumps(asdict(sent)).encode()
    return b"".join((_LENGTH.pack(len(head)), head, *data))


def from_record(record: bytes) -> tuple[JournalEntry, bytes]:
    """Read what ``to_record`` wrote."""
    end = _LENGTH.size + _LENGTH.unpack_from(record)[0]
    return JournalEntry(**json.loads(record[_LENGTH.size : end])), record[end:]


@dataclass(frozen=True)
class ExpectedPatient:
    """A record that is to be taken in; one that was ``left`` behind may have been taken in already."""

    place: JournalPosition
    lane: int
    left: bool = False


class Intake:
    """Threads that take records in; each lane (a node of a project) in its order, lanes side by side."""

    def __init__(self, app: AppContext, done: Callable[[Sequence[JournalPosition], bool], None], threads: int) -> None:
        """Prepare; ``done`` is told which places were taken in, and whether they were damaged."""
        self._app, self._done = app, done
        self._root = app.settings.intake_folder
        self._changed = threading.Condition()
        self._lanes: dict[int, deque[ExpectedPatient]] = {}
        self._busy: set[int] = set()
        self._stopping = False
        self._threads = [threading.Thread(target=self._run, name=f"intake-{n}") for n in range(threads)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the batches under way."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def want(self, wanted: Sequence[ExpectedPatient]) -> None:
        """Have records taken in."""
        with self._changed:
            for one in wanted:
                self._lanes.setdefault(one.lane, deque()).append(one)
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._next_lane() is not None)
                lane = self._next_lane()
                if self._stopping or lane is None:
                    return
                batch = self._next_batch(self._lanes[lane])
                self._busy.add(lane)
            try:
                self._take_in(batch)
            finally:
                with self._changed:
                    self._busy.discard(lane)
                    if not self._lanes[lane]:
                        del self._lanes[lane]
                    self._changed.notify_all()

    def _next_lane(self) -> int | None:
        return next((lane for lane, waiting in self._lanes.items() if waiting and lane not in self._busy), None)

    @staticmethod
    def _next_batch(waiting: deque[ExpectedPatient]) -> list[ExpectedPatient]:
        batch = [waiting.popleft()]
        size = batch[0].place.length
        while waiting and len(batch) < BATCH_FILES and size + waiting[0].place.length <= BATCH_BYTES:
            size += waiting[0].place.length
            batch.append(waiting.popleft())
        return batch

    def _take_in(self, batch: Sequence[ExpectedPatient]) -> None:
        opened: list[tuple[ExpectedPatient, JournalEntry, bytes]] = []
        for one in batch:
            try:
                opened.append((one, *from_record(read_record(self._root, self._app.keys, one.place))))
            except (Unavailable, OSError, ValueError, TypeError, struct.error) as error:
                log.error("intake.damaged", error=type(error).__name__, segment=one.place.segment)
                self._done([one.place], True)
        while opened:
            sent = opened[0][1]
            count = next((n for n, one in enumerate(opened) if one[1] != sent), len(opened))
            self._take_in_of(sent, [(one, data) for one, _, data in opened[:count]])
            del opened[:count]

    def _take_in_of(self, sent: JournalEntry, records: Sequence[tuple[ExpectedPatient, bytes]]) -> None:
        try:
            files = [
                ReceivedFile.of(data)
                for one, data in records
                if not (one.left and self._patiently(self._is_here, sent, data))
            ]
            if files:
                self._patiently(ingest_files, self._app, sent.actor, sent.source, files)
        except _Stopping:
            return  # what was not taken in is, after the next start
        except Exception as error:
            log.error("intake.failed", error=type(error).__name__, objects=len(records))
            for one, data in records:
                self._take_in_alone(sent, one.place, data)
            return
        self._done([one.place for one, _ in records], False)

    def _take_in_alone(self, sent: JournalEntry, place: JournalPosition, data: bytes) -> None:
        """Take in one object of a batch that has failed; some of the batch may be here already."""
        fault = ArrivalRefused(
            "Medhub failed at this file, for a reason that was not foreseen. Please report it; the file is kept.",
            reason="error",
        )
        try:
            if not self._patiently(self._is_here, sent, data):
                try:
                    self._patiently(ingest_files, self._app, sent.actor, sent.source, [ReceivedFile.of(data)])
                except _Stopping:
                    raise
                except Exception as error:
                    log.error("intake.failed", error=type(error).__name__, objects=1, exc_info=True)
                    file = IngestFile(data, len(data), refusal=fault)
                    self._patiently(quarantine_files, self._app, sent.actor, sent.source, [file])
        except _Stopping:
            return
        except Exception as error:  # its project is gone, for one
            log.error("intake.kept", error=type(error).__name__, segment=place.segment)
            self._done([place], True)
            return
        self._done([place], False)

    def _patiently(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do what needs database and disk until they answer."""
        while True:
            if self._stopping:
                raise _Stopping
            try:
                return work(*args, **kwargs)
            except (Unavailable, OperationalError, OSError) as error:
                log.warning("intake.waits", error=type(error).__name__)
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, _PAUSE_S)

    def _is_here(self, sent: JournalEntry, data: bytes) -> bool:
        """Whether a record that was left behind had been taken in, and only the note of it was lost."""
        received_hash = hash_received(self._app, sent.project_id, data)
        with self._app.database.reading() as session:
            if session.get(Receipt, (sent.project_id, received_hash)) is not None:
                return True
            waiting = select(Arrival).where(
                Arrival.project_id == sent.project_id,
                Arrival.outcome == "quarantined",
                Arrival.route == "dimse",
                Arrival.peer == sent.ae_title,
                Arrival.size_bytes == len(data),
                Arrival.sealed_bytes.is_not(None),
            )
            return any(open_sealed(session, self._app, arrival) == data for arrival in session.scalars(waiting))


class _Stopping(Exception):
    """The process ends."""
