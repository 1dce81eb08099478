# SPDX-License-Identifier: Apache-2.0
"""Connections that have not opened an association yet, and the associations of admitted nodes.

Only admitted nodes hold places of the limit of associations, so that connections of others cannot take them. Of too
many waiting connections, of one address or in total, the oldest is closed: a node opens its association within
milliseconds.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

_MOST_ADDRESSES = 8  # that hold all their waiting connections


class AdmittedAssociation(Protocol):
    """An association, as far as it is counted."""

    connection: socket.socket

    def is_alive(self) -> bool:
        """Whether its thread runs."""


A = TypeVar("A", bound=AdmittedAssociation)


class WaitingConnections(Generic[A]):
    """The connections of a server that have not opened an association."""

    def __init__(self, most_per_address: int) -> None:
        self._most_per_address = most_per_address
        self._most = _MOST_ADDRESSES * most_per_address
        self._lock = threading.Lock()
        self._waiting: dict[socket.socket, str] = {}  # the oldest first
        self._admitted: set[A] = set()

    def add(self, connection: socket.socket, address: str) -> None:
        """Add a connection, and close the oldest one where there are too many."""
        with self._lock:
            self._waiting = {each: origin for each, origin in self._waiting.items() if each.fileno() >= 0}
            counts = Counter(self._waiting.values())
            if counts[address] >= self._most_per_address:
                self._close_oldest(address)
            elif len(self._waiting) >= self._most:
                self._close_oldest(counts.most_common(1)[0][0])
            self._waiting[connection] = address

    def replace(self, plain: socket.socket, connection: socket.socket) -> None:
        """Follow a connection into its TLS session."""
        with self._lock:
            if (address := self._waiting.pop(plain, None)) is not None:
                self._waiting[connection] = address

    def admit(self, association: A, most: int) -> bool:
        """Count an association of a known node; False where there are as many as are allowed."""
        with self._lock:
            self._admitted = {each for each in self._admitted if each.is_alive()}
            if len(self._admitted) >= most:
                return False
            self._admitted.add(association)
            self._waiting.pop(association.connection, None)
            return True

    def _close_oldest(self, address: str) -> None:
        oldest = next(each for each, origin in self._waiting.items() if origin == address)
        del self._waiting[oldest]
        with suppress(OSError):
            oldest.shutdown(socket.SHUT_RDWR)  # its thread reads the end
