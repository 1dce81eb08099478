# SPDX-License-Identifier: Apache-2.0
"""Audit entries of refused associations and messages: the first at once, then one a minute for each address."""

from __future__ import annotations

import threading
from collections import Counter

from medhub.audit.service import AuditAct, record
from medhub.foundation.app_context import AppContext
from medhub.foundation.logging import get_logger

INTERVAL_S = 60.0
# Further addresses are counted together, so that a flood of them fills neither memory nor log.
MOST_ADDRESSES = 256
OTHER_ADDRESSES = "other addresses"

log = get_logger()


class RefusalRecorder:
    """Records refusals of DICOM nodes, with the number of those that it counts together."""

    def __init__(self, app: AppContext, interval_s: float = INTERVAL_S) -> None:
        self._app, self._interval_s = app, interval_s
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[tuple[str, str | None]]] = {}

    def add(self, origin: str, reason: str, project_id: str | None = None) -> None:
        """Record a refusal, or count it for the next entry of its address."""
        with self._lock:
            if origin not in self._counts and len(self._counts) >= MOST_ADDRESSES:
                origin = OTHER_ADDRESSES
            counted = self._counts.get(origin)
            if counted is not None:
                counted[reason, project_id] += 1
                return
            self._counts[origin] = Counter()
        self._wait(origin)
        self._write(origin, reason, project_id, 1)

    def _wait(self, origin: str) -> None:
        timer = threading.Timer(self._interval_s, self.write_counted, [origin])
        timer.daemon = True
        timer.start()

    def origins(self) -> list[str]:
        """The addresses whose refusals are counted."""
        with self._lock:
            return list(self._counts)

    def write_counted(self, origin: str) -> None:
        """Write an entry with the refusals of an address that were counted, and count on if there were any."""
        with self._lock:
            counted = self._counts.pop(origin, None)
            if counted:
                self._counts[origin] = Counter()
        if not counted:
            return
        self._wait(origin)
        (reason, project_id), _ = counted.most_common(1)[0]
        self._write(origin, reason, project_id, counted.total())

    def _write(self, origin: str, reason: str, project_id: str | None, count: int) -> None:
        detail = {"reason": reason, "count": count}
        act = AuditAct("peer.connect", "peer", project_id=project_id, origin=origin, outcome="refused", detail=detail)
        try:
            with self._app.database.writing() as session:
                record(session, act)
        except Exception as error:
            log.error("dimse.refusal_not_recorded", error=type(error).__name__, count=count)
