# SPDX-License-Identifier: Apache-2.0
"""The bytes of received files that a process holds in memory, over all requests and associations."""

from __future__ import annotations

import threading
import time
from types import TracebackType

import anyio

from medhub.errors import Unavailable

MOST_BYTES = 512 * 1024**2
# A short burst waits for the files before it; a client that stalls must not make others wait longer.
PATIENCE_S = 5.0
_POLL_S = 0.05
_RETRY_AFTER_S = 30


class ReceivingMemoryFull(Unavailable):
    """Other files that are being received use all the memory for them; ``retry_after_s`` says when to try again."""

    code = "receiving-memory-full"


class ByteBudget:
    """A number of bytes that leases share, each of which waits ``patience_s`` for the others; safe in many threads."""

    def __init__(self, most_bytes: int = MOST_BYTES, *, patience_s: float = PATIENCE_S) -> None:
        self._most_bytes = most_bytes
        self.patience_s = patience_s
        self._lock = threading.Condition()
        self.used_bytes = 0

    def lease(self) -> ByteLease:
        """A lease without bytes; it returns its bytes at the end of its ``with`` block."""
        return ByteLease(self)

    def try_add(self, count: int, timeout_s: float = 0.0) -> bool:
        """Take bytes, or return some (a negative count); False where there are not enough within the time."""
        with self._lock:
            free = self._lock.wait_for(lambda: count <= 0 or self.used_bytes + count <= self._most_bytes, timeout_s)
            if free:
                self.used_bytes += count
                self._lock.notify_all()
            return free


class ByteLease:
    """The bytes that one request or association holds."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._held_bytes = 0

    async def resize(self, count: int) -> None:
        """Hold so many bytes; raises ``ReceivingMemoryFull`` where others hold too many for a while."""
        deadline = time.monotonic() + self._budget.patience_s
        while not self.try_resize(count):
            if time.monotonic() > deadline:
                raise ReceivingMemoryFull(
                    "Too many large files are being received at the moment. Send this one again in half a minute.",
                    retry_after_s=_RETRY_AFTER_S,
                )
            await anyio.sleep(_POLL_S)

    def resize_or_wait(self, count: int) -> bool:
        """Do ``resize`` in a thread; False instead of an exception."""
        return self.try_resize(count, self._budget.patience_s)

    def try_resize(self, count: int, timeout_s: float = 0.0) -> bool:
        """Hold so many bytes, if others leave them."""
        if not self._budget.try_add(count - self._held_bytes, timeout_s):
            return False
        self._held_bytes = count
        return True

    def __enter__(self) -> ByteLease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.try_resize(0)
