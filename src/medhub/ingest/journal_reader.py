# SPDX-License-Identifier: Apache-2.0
"""Ingest the records of the intake journal in batches, those of each DICOM node in their order.

An acknowledged object is never given up. When the database does not answer, it is tried again until it does; an object
on which the program fails is quarantined; an object that cannot even be quarantined stays in the folder of the journal
and is reported in the log.
"""

from __future__ import annotations

import json
import struct
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
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
class SendingNode:
    """The DICOM node that sent a record, and the project into which it goes."""

    project_id: str
    ae_title: str
    origin: str  # network address

    @property
    def actor(self) -> Actor:
        """The node as an actor with the permissions of a technologist."""
        return node_actor(self.project_id, self.ae_title, self.origin, Role.TECHNOLOGIST)

    @property
    def source(self) -> IngestSource:
        """The ingest source of its objects."""
        return IngestSource(self.project_id, "dimse", self.ae_title)


def node_actor(project_id: str, ae_title: str, origin: str, role: Role) -> Actor:
    """A DICOM node as an actor in its project."""
    return Actor(
        user_id="",
        name=f"DICOM node {ae_title}",
        email="",
        roles={project_id: role},
        project_names={},
        sign_in_id="",
        origin=origin[:64],
    )


def encode_record(sender: SendingNode, data: Sequence[bytes | bytearray]) -> bytes:
    """Encode a record of the journal: the sender, then the file."""
    head = json.dumps(asdict(sender)).encode()
    return b"".join((_LENGTH.pack(len(head)), head, *data))


def decode_record(record: bytes) -> tuple[SendingNode, bytes]:
    """Decode what ``encode_record`` wrote."""
    end = _LENGTH.size + _LENGTH.unpack_from(record)[0]
    return SendingNode(**json.loads(record[_LENGTH.size : end])), record[end:]


@dataclass(frozen=True)
class PendingRecord:
    """A record to ingest; a ``recovered`` one of a dead process may have been ingested already."""

    position: JournalPosition
    lane: int
    recovered: bool = False


class JournalReader:
    """Threads that ingest records: each lane (a node of a project) in its order, the lanes in parallel."""

    def __init__(
        self, app: AppContext, report: Callable[[Sequence[JournalPosition], bool], None], threads: int
    ) -> None:
        """Prepare; ``report`` is called with the positions of ingested records, or of damaged ones and ``True``."""
        self._app, self._report = app, report
        self._root = app.settings.intake_folder
        self._changed = threading.Condition()
        self._lanes: dict[int, deque[PendingRecord]] = {}
        self._busy: set[int] = set()
        self._stopping = False
        self._threads = [threading.Thread(target=self._run, name=f"intake-{n}") for n in range(threads)]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop after the current batches."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def enqueue(self, records: Sequence[PendingRecord]) -> None:
        """Add records to ingest."""
        with self._changed:
            for record in records:
                self._lanes.setdefault(record.lane, deque()).append(record)
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
                self._ingest_batch(batch)
            finally:
                with self._changed:
                    self._busy.discard(lane)
                    if not self._lanes[lane]:
                        del self._lanes[lane]
                    self._changed.notify_all()

    def _next_lane(self) -> int | None:
        return next((lane for lane, pending in self._lanes.items() if pending and lane not in self._busy), None)

    @staticmethod
    def _next_batch(pending: deque[PendingRecord]) -> list[PendingRecord]:
        batch = [pending.popleft()]
        size = batch[0].position.length
        while pending and len(batch) < BATCH_FILES and size + pending[0].position.length <= BATCH_BYTES:
            size += pending[0].position.length
            batch.append(pending.popleft())
        return batch

    def _ingest_batch(self, batch: Sequence[PendingRecord]) -> None:
        opened: list[tuple[PendingRecord, SendingNode, bytes]] = []
        for record in batch:
            try:
                opened.append((record, *decode_record(read_record(self._root, self._app.keys, record.position))))
            except (Unavailable, OSError, ValueError, TypeError, struct.error) as error:
                log.error("intake.damaged", error=type(error).__name__, segment=record.position.segment)
                self._report([record.position], True)
        for sender, group in groupby(opened, key=lambda item: item[1]):
            self._ingest_records(sender, [(record, data) for record, _, data in group])

    def _ingest_records(self, sender: SendingNode, records: Sequence[tuple[PendingRecord, bytes]]) -> None:
        try:
            files = [
                ReceivedFile.of(data)
                for record, data in records
                if not (record.recovered and self._retry(self._was_ingested, sender, data))
            ]
            if files:
                self._retry(ingest_files, self._app, sender.actor, sender.source, files)
        except _Stopping:
            return  # the rest is ingested after the next start
        except Exception as error:
            log.error("intake.failed", error=type(error).__name__, objects=len(records))
            for record, data in records:
                self._ingest_alone(sender, record.position, data)
            return
        self._report([record.position for record, _ in records], False)

    def _ingest_alone(self, sender: SendingNode, position: JournalPosition, data: bytes) -> None:
        """Ingest one object of a batch that failed; parts of the batch may be stored already."""
        fault = ArrivalRefused(
            "Medhub failed at this file, for a reason that was not foreseen. Please report it; the file is kept.",
            reason="error",
        )
        try:
            if not self._retry(self._was_ingested, sender, data):
                try:
                    self._retry(ingest_files, self._app, sender.actor, sender.source, [ReceivedFile.of(data)])
                except _Stopping:
                    raise
                except Exception as error:
                    log.error("intake.failed", error=type(error).__name__, objects=1, exc_info=True)
                    file = IngestFile(data, len(data), refusal=fault)
                    self._retry(quarantine_files, self._app, sender.actor, sender.source, [file])
        except _Stopping:
            return
        except Exception as error:  # for example because its project was deleted
            log.error("intake.kept", error=type(error).__name__, segment=position.segment)
            self._report([position], True)
            return
        self._report([position], False)

    def _retry(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function until database and disk answer."""
        while True:
            if self._stopping:
                raise _Stopping
            try:
                return function(*args, **kwargs)
            except (Unavailable, OperationalError, OSError) as error:
                log.warning("intake.waits", error=type(error).__name__)
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, _PAUSE_S)

    def _was_ingested(self, sender: SendingNode, data: bytes) -> bool:
        """Whether a recovered record was ingested before, and only its mark was lost."""
        received_hash = hash_received(self._app, sender.project_id, data)
        with self._app.database.reading() as session:
            if session.get(Receipt, (sender.project_id, received_hash)) is not None:
                return True
            quarantined = select(Arrival).where(
                Arrival.project_id == sender.project_id,
                Arrival.outcome == "quarantined",
                Arrival.route == "dimse",
                Arrival.peer == sender.ae_title,
                Arrival.size_bytes == len(data),
                Arrival.sealed_bytes.is_not(None),
            )
            return any(open_sealed(session, self._app, arrival) == data for arrival in session.scalars(quarantined))


class _Stopping(Exception):
    """The process ends."""
