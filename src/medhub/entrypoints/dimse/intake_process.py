# SPDX-License-Identifier: Apache-2.0
"""The process that ingests received objects: ``python -m medhub.entrypoints.dimse.intake_process``.

Listener and process exchange lines of JSON over a socket: the listener sends positions in the journal, the process
reports those that it has ingested. If the process dies, it is started again with all open records.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, replace

from medhub.entrypoints.bootstrap import build
from medhub.foundation import logging
from medhub.foundation.isolation_worker import end_with_parent
from medhub.foundation.logging import get_logger
from medhub.foundation.settings import Settings
from medhub.ingest.journal import Journal, JournalPosition
from medhub.ingest.journal_reader import JournalReader, PendingRecord, SendingNode

_END_S = 30.0
_AGAIN_S = 1.0
_RECOVERED_LANE = 0  # the sender of a recovered record is known only when it is opened

log = get_logger()


class IntakeProcess:
    """The listener's side: starts the process, sends it positions, and marks the ingested records."""

    def __init__(self, settings: Settings, journal: Journal) -> None:
        self._settings, self._journal = settings, journal
        self._changed = threading.Condition()
        self._open: dict[JournalPosition, PendingRecord] = {}
        self._unsent: list[PendingRecord] = []
        self._lanes: dict[tuple[str, str], int] = {}
        self._stopping = False
        self._process: subprocess.Popen[bytes] | None = None
        self._stream: socket.socket | None = None
        self._threads = [
            threading.Thread(target=self._supervise, name="intake", daemon=True),
            threading.Thread(target=self._send_unsent, name="intake-send", daemon=True),
        ]

    def start(self, recovered: Sequence[JournalPosition]) -> None:
        """Start, with the records that an earlier process has not ingested."""
        if recovered:
            log.info("intake.left", objects=len(recovered))
        for position in recovered:
            self._add(PendingRecord(position, _RECOVERED_LANE, recovered=True))
        for thread in self._threads:
            thread.start()

    def enqueue(self, sender: SendingNode, position: JournalPosition) -> None:
        """Add a record to ingest."""
        with self._changed:
            lane = self._lanes.setdefault((sender.project_id, sender.ae_title), len(self._lanes) + 1)
            self._add(PendingRecord(position, lane))
            self._changed.notify_all()

    def _add(self, record: PendingRecord) -> None:
        self._open[record.position] = record
        self._unsent.append(record)

    def wait_until_ingested(self, sender: SendingNode, patience_s: float) -> bool:
        """Wait until all that a node has sent by now is ingested; whether it was in time."""
        with self._changed:
            lane = self._lanes.get((sender.project_id, sender.ae_title))
            waiting = {record.position for record in self._open.values() if record.lane in {lane, _RECOVERED_LANE}}
            return self._changed.wait_for(
                lambda: self._stopping or waiting.isdisjoint(self._open), patience_s
            ) and waiting.isdisjoint(self._open)

    def stop(self) -> None:
        """End the process after its current batches."""
        with self._changed:
            self._stopping = True
            stream, process = self._stream, self._process
            self._changed.notify_all()
        if stream is not None:
            with suppress(OSError):
                stream.shutdown(socket.SHUT_WR)
        if process is not None:
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
        self._threads[0].join(_END_S)

    def _supervise(self) -> None:
        # This thread starts the process and lives as long: the kernel ends the process with the thread.
        while not self._stopping:
            ours, theirs = socket.socketpair()
            with theirs:
                locks = self._journal.lock_descriptors
                process = subprocess.Popen(  # noqa: S603  # this same interpreter, with numbers as arguments
                    [sys.executable, "-m", __name__, str(os.getpid()), str(theirs.fileno())],
                    pass_fds=(theirs.fileno(), *locks),
                    env=os.environ | {"MEDHUB_DATA": str(self._settings.data)},
                )
            with self._changed:
                self._process, self._stream = process, ours
                # A record that was sent to an earlier process may be ingested already.
                unsent = {record.position for record in self._unsent}
                self._unsent = [
                    replace(record, recovered=record.recovered or record.position not in unsent)
                    for record in self._open.values()
                ]
                self._changed.notify_all()
            self._read_reports(ours)
            with self._changed:
                self._stream = None
            ours.close()
            code = process.wait()
            if not self._stopping:
                log.error("intake.ended", code=code)
                time.sleep(_AGAIN_S)

    def _read_reports(self, stream: socket.socket) -> None:
        with stream.makefile("rb") as lines, suppress(OSError, ValueError):
            for line in lines:
                report = json.loads(line)
                for values in report["done"]:
                    position = JournalPosition(*values)
                    self._journal.mark_done(position, damaged=report["damaged"])
                    with self._changed:
                        self._open.pop(position, None)
                        self._changed.notify_all()

    def _send_unsent(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or (self._stream is not None and bool(self._unsent)))
                if self._stopping:
                    return
                stream, records, self._unsent = self._stream, self._unsent, []
            values = [[*astuple(record.position), record.lane, record.recovered] for record in records]
            with suppress(OSError):  # the process has died; the next one gets all open records
                if stream is not None:
                    stream.sendall(json.dumps(values).encode() + b"\n")


def main(parent: int, descriptor: int) -> None:
    """Ingest the records of the listener until it ends."""
    end_with_parent(parent)
    settings = Settings()
    logging.configure(as_json=settings.log_json)
    app = build(settings, migrate=False)
    stream = socket.socket(fileno=descriptor)
    sending = threading.Lock()

    def report(positions: Sequence[JournalPosition], damaged: bool) -> None:
        values = {"done": [list(astuple(position)) for position in positions], "damaged": damaged}
        with sending, suppress(OSError):
            stream.sendall(json.dumps(values).encode() + b"\n")

    reader = JournalReader(app, report, settings.dicom_intake_threads)
    reader.start()
    try:
        with stream.makefile("rb") as lines:
            for line in lines:
                reader.enqueue([PendingRecord(JournalPosition(*v[:4]), v[4], recovered=v[5]) for v in json.loads(line)])
    finally:
        reader.stop()
        app.close()


if __name__ == "__main__":
    import signal

    # Ctrl+C reaches the process group; the listener decides when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(int(sys.argv[1]), int(sys.argv[2]))
