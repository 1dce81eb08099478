# SPDX-License-Identifier: Apache-2.0
"""The DICOM upper layer (PS3.8) of associations opened by nodes, with a short path for C-STORE.

pynetdicom negotiates, releases and aborts; its state machine is unchanged. Two parts are replaced. pynetdicom polls
every millisecond in two threads for each association: here both threads sleep until there is work. And a C-STORE
request is read from the socket into one buffer and answered directly, without the objects and queues in between; the
data set is not decoded.

Delayed acknowledgements of TCP slow down small objects. Most senders leave Nagle's algorithm on: they hold back the end
of an object until the bytes before it are acknowledged, which the kernel delays by 40 ms unless ``TCP_QUICKACK`` is set
again before each read.

``docs/decisions/0011-dimse-upper-layer.md`` lists the private names of pynetdicom that are used here and in
``associations``, with the measurement.
"""

from __future__ import annotations

import queue
import select
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from medhub.entrypoints.dimse.command_sets import (
    C_STORE_RQ,
    MOST_COMMAND_BYTES,
    Command,
    read_command,
    store_response,
)
from medhub.foundation.byte_budget import ByteLease
from medhub.foundation.logging import get_logger

# Of the PDUs without data, and of the identifier of a query.
MOST_PDU_BYTES = 1024**2
MOST_IDENTIFIER_BYTES = 1024**2
_SHORTEST_PDU_BYTES = 10  # a release; each other kind is longer
_P_DATA_TF = 0x04
_READ_BYTES = 256 * 1024
_POLL_INTERVAL_S = 0.5
RATE_WINDOW_S = 30.0

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)

log = get_logger()


class InvalidPDU(ValueError):
    """The peer sent an invalid PDU."""


@dataclass(frozen=True)
class ReadDeadlines:
    """How long the upper layer waits for bytes of the peer.

    The time until the association request is complete stands for the ARTIM timer of state 2 (PS3.8, 9.1.5): the state
    machine does not run while a PDU is read.
    """

    associate_s: float
    idle_s: float
    min_bytes_per_s: int


class StoreHandler(Protocol):
    """The functions of an association that its upper layer calls."""

    def store(self, context_id: int, command: Command, data: bytearray, *, too_large: bool) -> int:
        """Store a received object, and return the status of the C-STORE response."""

    def wake(self) -> None:
        """Wake the thread of the association: there may be work."""

    def lease(self) -> ByteLease:
        """The bytes that the association holds of those of the process."""


class UpperLayer(DULServiceProvider):
    """The upper layer of one association that was opened by a node."""

    def __init__(
        self, association: Association, handler: StoreHandler, most_bytes: int, deadlines: ReadDeadlines
    ) -> None:
        super().__init__(association)
        self._deadlines, self._lease = deadlines, handler.lease()
        self._associate_by = time.monotonic() + deadlines.associate_s
        self._window_start, self._window_bytes = 0.0, 0
        self.daemon = True
        self._handler = handler
        self._most_bytes = most_bytes
        self._wake_receiver, self._wake_sender = socket.socketpair()
        for end in (self._wake_receiver, self._wake_sender):
            end.setblocking(False)
        self._storing = False
        self._reset_message()

    def _reset_message(self) -> None:
        self._encoded_command = bytearray()
        self._command: Command | None = None
        self._context_id = 0
        self._data = bytearray()
        self._too_large = False

    # Sleep until there is work.

    def send_pdu(self, primitive: object) -> None:
        """Queue a primitive to send, and wake the thread."""
        super().send_pdu(primitive)  # type: ignore[arg-type]
        self._wake()

    def kill_dul(self) -> None:
        """End the thread."""
        super().kill_dul()
        self._wake()

    def stop_dul(self) -> bool:
        """End the thread if the association has ended."""
        if self.state_machine.current_state != "Sta1":
            return False
        self.kill_dul()
        if threading.current_thread() is not self:
            self.join()
        return True

    def idle_timer_expired(self) -> bool:
        """Whether the peer has been idle for too long; never while it waits for an answer."""
        return not self._storing and bool(super().idle_timer_expired())

    def _wake(self) -> None:
        with suppress(OSError):  # awake already, or ended
            self._wake_sender.send(b"\0")

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._wake_receiver, select.POLLIN)
        connection = self.socket.socket if self.socket is not None else None
        if connection is not None:
            if getattr(connection, "pending", int)():  # TLS has buffered data
                return
            try:
                poll.register(connection, select.POLLIN)
            except ValueError:  # closed meanwhile
                time.sleep(0.01)
        poll.poll(_POLL_INTERVAL_S * 1000)
        with suppress(BlockingIOError):
            self._wake_receiver.recv(4096)

    def run_reactor(self) -> None:
        """Send, receive and follow the state machine until the association has ended."""
        self._idle_timer.start()
        self.assoc._dul_ready.set()
        try:
            while not self._kill_thread:
                if self.artim_timer.expired:
                    self.event_queue.put("Evt18")
                if not self._process_recv_primitive() and self._is_transport_event():
                    self._idle_timer.restart()
                try:
                    event = self.event_queue.get_nowait()
                except queue.Empty:
                    self._wait()
                    continue
                self.state_machine.do_action(event)
                self._handler.wake()
        except Exception as error:
            log.error("dimse.failed", error=type(error).__name__, exc_info=True)
            self.assoc.is_aborted, self.assoc.is_established = True, False
            self.assoc._kill = self._kill_thread = True
            if self.socket is not None:
                self.socket.close()
        finally:
            self._handler.wake()
            self._lease.try_resize(0)
            self._wake_receiver.close()
            self._wake_sender.close()

    # Read from the socket.

    def _read_pdu_data(self) -> None:
        self._window_start, self._window_bytes = time.monotonic(), 0
        try:
            head = self._receive(_SHORTEST_PDU_BYTES)
            kind, _, length = struct.unpack_from(">BBI", head)
            if kind == _P_DATA_TF and self.state_machine.current_state == "Sta6":
                self._read_data(bytes(head[6:]), length)
                return
            if not 1 <= kind <= 7 or not 4 <= length <= MOST_PDU_BYTES:
                raise InvalidPDU
            pdu, event = self._decode_pdu(head + self._receive(length - 4))
        except (OSError, EOFError):
            self.event_queue.put("Evt17")
        except Exception:  # a parser of hostile bytes may raise anything: the PDU is invalid
            self.event_queue.put("Evt19")
        else:
            self.event_queue.put(event)
            self._recv_pdu.put(pdu)

    def _receive(self, count: int) -> bytearray:
        data = bytearray(count)
        self._receive_into(memoryview(data))
        return data

    def _receive_into(self, rest: memoryview) -> None:
        connection = self.socket.socket if self.socket is not None else None
        if connection is None:
            raise EOFError
        while rest:
            if _QUICKACK is not None:
                connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            self._check_deadline(connection)
            count = connection.recv_into(rest)
            if not count:
                raise EOFError
            self._window_bytes += count
            rest = rest[count:]

    def _check_deadline(self, connection: socket.socket) -> None:
        """Set the time for the next read; raise ``TimeoutError`` where the peer is too slow."""
        moment = time.monotonic()
        if self.state_machine.current_state == "Sta6":
            if moment - self._window_start > RATE_WINDOW_S:
                if self._window_bytes < RATE_WINDOW_S * self._deadlines.min_bytes_per_s:
                    raise TimeoutError
                self._window_start, self._window_bytes = moment, 0
            connection.settimeout(self._deadlines.idle_s)
        else:
            left_s = self._associate_by - moment
            if self.state_machine.current_state != "Sta2":  # a release or abort
                left_s = self._window_start + self._deadlines.associate_s - moment
            if left_s <= 0:
                raise TimeoutError
            connection.settimeout(left_s)

    def _read_data(self, start: bytes, left: int) -> None:
        """Read the presentation data values of a P-DATA-TF PDU (PS3.8 section 9.3.5.1), after its first 4 bytes."""
        if left < 6:
            raise InvalidPDU
        while left:
            head = start + bytes(self._receive(6 - len(start)))
            start = b""
            length, context_id, control = struct.unpack(">IBB", head)
            left -= length + 4
            if length < 2 or left < 0 or 0 < left < 6:
                raise InvalidPDU
            if control & 1:
                self._read_command_fragment(context_id, length - 2, last=bool(control & 2))
            else:
                self._read_data_fragment(context_id, length - 2, last=bool(control & 2))

    def _read_command_fragment(self, context_id: int, length: int, *, last: bool) -> None:
        if self._command is not None or len(self._encoded_command) + length > MOST_COMMAND_BYTES:
            raise InvalidPDU
        self._encoded_command += self._receive(length)
        if not last:
            return
        self._command, self._context_id = read_command(bytes(self._encoded_command)), context_id
        if not self._command.has_data_set:
            self._handle_message()

    def _read_data_fragment(self, context_id: int, length: int, *, last: bool) -> None:
        if self._command is None or context_id != self._context_id:
            raise InvalidPDU
        most = self._most_bytes if self._command.field == C_STORE_RQ else MOST_IDENTIFIER_BYTES
        self._too_large = self._too_large or len(self._data) + length > most
        if self._too_large:
            # Read and discarded, so that the sender gets an answer.
            self._data = bytearray()
            self._lease.try_resize(0)
        while length:
            # In parts: a false length allocates no memory.
            chunk = self._receive(min(length, _READ_BYTES))
            length -= len(chunk)
            if not self._too_large and self._lease.resize_or_wait(len(self._data) + len(chunk)):
                self._data += chunk
            elif not self._too_large:
                # As one that is too large: the status is out of resources, and the sender repeats it.
                log.warning("dimse.out-of-memory")
                self._too_large, self._data = True, bytearray()
                self._lease.try_resize(0)
        if last:
            try:
                self._handle_message()
            finally:
                self._lease.try_resize(0)

    # Handle complete messages.

    def _handle_message(self) -> None:
        command, context_id, data, too_large = self._command, self._context_id, self._data, self._too_large
        encoded = bytes(self._encoded_command)
        self._reset_message()
        if command is None:
            raise InvalidPDU
        if command.field == C_STORE_RQ:
            self._answer_store(context_id, command, data, too_large=too_large)
            return
        if too_large:
            raise InvalidPDU
        primitive = P_DATA()
        primitive.presentation_data_value_list.append((context_id, b"\3" + encoded))
        if command.has_data_set:
            primitive.presentation_data_value_list.append((context_id, b"\2" + bytes(data)))
        self.assoc.dimse.receive_primitive(primitive)
        self._handler.wake()

    def _answer_store(self, context_id: int, command: Command, data: bytearray, *, too_large: bool) -> None:
        if context_id not in self.assoc._accepted_cx or not command.has_data_set:
            raise InvalidPDU
        self._storing = True
        try:
            status = self._handler.store(context_id, command, data, too_large=too_large)
        finally:
            self._idle_timer.restart()
            self._storing = False
        connection = self.socket.socket if self.socket is not None else None
        if connection is None:
            raise EOFError
        connection.sendall(store_response(context_id, command, status))
