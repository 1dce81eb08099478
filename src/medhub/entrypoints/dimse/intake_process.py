# SPDX-License-Identifier: Apache-2.0
"""The process that takes in what the listener has received: ``python -m medhub.entrypoints.dimse.intake_process``.

Both talk in lines of JSON over a socket: the listener names places in the journal, the process names those that it has
taken in. Should it die, it is started again with all that is left.
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
from dataclasses import astuple

from medhub.entrypoints.bootstrap import build
from medhub.foundation import logging
from medhub.foundation.isolation_worker import end_with_parent
from medhub.foundation.logging import get_logger
from medhub.foundation.settings import Settings
from medhub.ingest.journal import Journal, JournalPosition
from medhub.ingest.journal_reader import ExpectedPatient, Intake, JournalEntry

_END_S = 30.0
_AGAIN_S = 1.0
_LEFT_LANE = 0  # of what was left behind: who sent it is read only when it is opened

log = get_logger()


class IntakeProcess:
    """The listener's side: starts the process, tells it what is there, and notes what it has done."""

    def __init__(self, settings: Settings, journal: Journal) -> None:
        self._settings, self._journal = settings, journal
        self._changed = threading.Condition()
        self._open: dict[JournalPosition, ExpectedPatient] = {}
        self._unsent: list[ExpectedPatient] = []
        self._lanes: dict[tuple[str, str], int] = {}
        self._stopping = False
        self._process: subprocess.Popen[bytes] | None = None
        self._stream: socket.socket | None = None
        self._threads = [
            threading.Thread(target=self._supervise, name="intake", daemon=True),
            threading.Thread(target=self._send, name="intake-wanted", daemon=True),
        ]

    def start(self, left: Sequence[JournalPosition]) -> None:
        """Start, with what an earlier process left behind."""
        if left:
            log.info("intake.left", objects=len(left))
        for place in left:
            self._add(ExpectedPatient(place, _LEFT_LANE, left=True))
        for thread in self._threads:
            thread.start()

    def want(self, sent: JournalEntry, place: JournalPosition) -> None:
        """Have a record taken in."""
        with self._changed:
            lane = self._lanes.setdefault((sent.project_id, sent.ae_title), len(self._lanes) + 1)
            self._add(ExpectedPatient(place, lane))
            self._changed.notify_all()

    def _add(self, wanted: ExpectedPatient) -> None:
        self._open[wanted.place] = wanted
        self._unsent.append(wanted)

    def stop(self) -> None:
        """End the process after what it is doing."""
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
        # One thread starts the process and lives as long: the kernel ends the process with the thread.
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
                # What an earlier one was told and had not done yet may be done in part.
                untold = {one.place for one in self._unsent}
                self._unsent = [
                    ExpectedPatient(one.place, one.lane, left=one.left or one.place not in untold)
                    for one in self._open.values()
                ]
                self._changed.notify_all()
            self._listen(ours)
            with self._changed:
                self._stream = None
            ours.close()
            code = process.wait()
            if not self._stopping:
                log.error("intake.ended", code=code)
                time.sleep(_AGAIN_S)

    def _listen(self, stream: socket.socket) -> None:
        with stream.makefile("rb") as lines, suppress(OSError, ValueError):
            for line in lines:
                told = json.loads(line)
                for one in told["done"]:
                    place = JournalPosition(*one)
                    self._journal.done(place, damaged=told["damaged"])
                    with self._changed:
                        self._open.pop(place, None)

    def _send(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or (self._stream is not None and bool(self._unsent)))
                if self._stopping:
                    return
                stream, wanted, self._unsent = self._stream, self._unsent, []
            line = json.dumps([[*astuple(one.place), one.lane, one.left] for one in wanted]).encode() + b"\n"
            with suppress(OSError):  # it has died; all that is open goes to the next one
                if stream is not None:
                    stream.sendall(line)


def main(parent: int, descriptor: int) -> None:
    """Take in what is named until the listener ends."""
    end_with_parent(parent)
    settings = Settings()
    logging.configure(as_json=settings.log_json)
    app = build(settings, migrate=False)
    stream = socket.socket(fileno=descriptor)
    answering = threading.Lock()

    def done(places: Sequence[JournalPosition], damaged: bool) -> None:
        line = json.dumps({"done": [list(astuple(place)) for place in places], "damaged": damaged}).encode() + b"\n"
        with answering, suppress(OSError):
            stream.sendall(line)

    intake = Intake(app, done, settings.dicom_intake_threads)
    intake.start()
    try:
        with stream.makefile("rb") as lines:
            for line in lines:
                intake.want([ExpectedPatient(JournalPosition(*one[:4]), one[4], one[5]) for one in json.loads(line)])
    finally:
        intake.stop()
        app.close()


if __name__ == "__main__":
    import signal

    # Ctrl+C reaches the whole group; the listener says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(int(sys.argv[1]), int(sys.argv[2]))
