# SPDX-License-Identifier: Apache-2.0
"""Deadlines and numbers of HTTP connections, so that slow or many clients do not stop the server for others.

Uvicorn waits for ever for a request that does not arrive completely, and for a client that does not read its response.
``docs/decisions/0019-connection-limits.md`` says why this is own code, and which names of uvicorn it uses.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import resource
from asyncio import TimerHandle
from collections.abc import Callable, Iterable
from typing import Any

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from medhub.foundation.logging import get_logger
from medhub.foundation.settings import Settings

log = get_logger()

MOST_HEADER_BYTES = 64 * 1024
# The rate of a body is measured over this time, and a response must make progress in it.
WINDOW_S = 30.0
# File descriptors for the database, files, processes and pipes.
RESERVED_DESCRIPTORS = 256
_MOST_DESCRIPTORS = 65_536

_TIMEOUT = (b"408 Request Timeout", b"The request did not arrive in time.")
_TOO_LARGE = (b"431 Request Header Fields Too Large", b"The header of the request is too large.")
_BUSY = (b"503 Service Unavailable", b"There are too many connections. Try again in a minute.")


def raise_descriptor_limit() -> None:
    """Allow this process as many open files as the system permits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class ConnectionLimits:
    """The connections of a process and their limits."""

    def __init__(self, settings: Settings) -> None:
        self.header_s = settings.request_header_s
        self.min_bytes_per_s = settings.request_min_bytes_per_s
        self.window_s = WINDOW_S
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if descriptors == resource.RLIM_INFINITY:
            descriptors = _MOST_DESCRIPTORS
        self._most = max(64, min(descriptors, _MOST_DESCRIPTORS) - RESERVED_DESCRIPTORS)
        self._most_per_address = settings.connections_per_address
        self._is_proxy = _proxy_check(settings)
        self._open: dict[DeadlineProtocol, str | None] = {}  # the oldest first

    def admit(self, connection: DeadlineProtocol) -> bool:
        """Add a connection; the oldest ones that wait are closed for it where there are too many."""
        address = self._address_of(connection)
        if address is not None:
            same = [other for other, origin in self._open.items() if origin == address]
            if len(same) >= self._most_per_address and not _close_oldest(same):
                return False
        if len(self._open) >= self._most and not _close_oldest(self._open):
            return False
        self._open[connection] = address
        return True

    def remove(self, connection: DeadlineProtocol) -> None:
        """Remove a connection that has ended."""
        self._open.pop(connection, None)

    def _address_of(self, connection: DeadlineProtocol) -> str | None:
        """The address whose connections are counted; None for a reverse proxy, which connects for many clients."""
        host = connection.client[0] if connection.client else ""
        if not host or self._is_proxy(host):
            return None
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host
        # One client usually has all addresses of a /64.
        return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else host


def _close_oldest(connections: Iterable[DeadlineProtocol]) -> bool:
    """Close the oldest connection without a complete request, preferably one without a complete header."""
    receiving = None
    for connection in connections:
        if connection.transport.is_closing():  # closed for another new connection; its end is not reported yet
            continue
        if connection.is_waiting:
            connection.transport.abort()
            return True
        if receiving is None and connection.is_receiving:
            receiving = connection
    if receiving is not None:
        receiving.transport.abort()
    return receiving is not None


def _proxy_check(settings: Settings) -> Callable[[str], bool]:
    if not settings.trusted_proxy:
        return lambda _host: False
    if not settings.trusted_proxies:
        return lambda _host: True
    hosts: Any = ProxyHeadersMiddleware(_no_application, settings.trusted_proxies).trusted_hosts
    return lambda host: host in hosts


async def _no_application(*_: Any) -> None:
    raise NotImplementedError


def limited_protocol(settings: Settings) -> Callable[..., DeadlineProtocol]:
    """The protocol of the connections of a server, which share their limits."""
    return functools.partial(DeadlineProtocol, limits=ConnectionLimits(settings))


class DeadlineProtocol(HttpToolsProtocol):
    """A connection whose requests must arrive, and whose responses must be read, in time."""

    def __init__(self, *args: Any, limits: ConnectionLimits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._header_timer: TimerHandle | None = None
        self._body_timer: TimerHandle | None = None
        self._write_timer: TimerHandle | None = None
        self._header_bytes: int | None = 0  # of the header that arrives now; None outside of a header
        self._requests = 0  # that have arrived completely
        self._window_bytes = 0
        self._unsent_bytes = 0
        self._was_paused = False

    @property
    def is_waiting(self) -> bool:
        """Whether the connection has no request, or an incomplete header."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def is_receiving(self) -> bool:
        """Whether the body of its request is incomplete."""
        return not self.is_waiting and self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first header, or refuse the connection."""
        super().connection_made(transport)
        if self._limits.admit(self):
            self._start_header_timer()
        else:
            log.warning("http.too-many-connections")
            self._refuse(*_BUSY)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._limits.remove(self)
        for timer in (self._header_timer, self._body_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a header or body."""
        if self.transport.is_closing():
            return
        self._window_bytes += len(data)
        in_header, requests = self._header_bytes is not None, self._requests
        super().data_received(data)
        if self._header_bytes is not None and self._header_timer is None:
            self._start_header_timer()  # of a further request of this connection
        # A read that completed a request held its body too.
        is_header = in_header and self._requests == requests and not self.transport.is_closing()
        if is_header and self._header_bytes is not None:
            self._header_bytes += len(data)
            if self._header_bytes > MOST_HEADER_BYTES:
                self._refuse(*_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Replace the deadline of the header by the rate of the body."""
        self._header_bytes = None
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
        super().on_headers_complete()
        self._start_window()

    def on_message_complete(self) -> None:
        """End the measurement of the body; a further request may follow."""
        self._header_bytes = 0
        self._requests += 1
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None
        super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        """Remember that this process was not ready for more."""
        super().on_body(body)
        self._was_paused = self._was_paused or self.flow.read_paused

    def pause_writing(self) -> None:
        """Start the deadline in which the client must read something."""
        super().pause_writing()
        self._start_write_timer()

    def resume_writing(self) -> None:
        """End that deadline."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _start_header_timer(self) -> None:
        self._header_timer = self.loop.call_later(self._limits.header_s, self._check_header)

    def _check_header(self) -> None:
        self._header_timer = None
        if not self.is_waiting:  # the next header arrives while a response is written: its time starts then
            self._start_header_timer()
            return
        # A browser opens connections in advance; it expects no message where it sent nothing.
        if self._header_bytes:
            self._refuse(*_TIMEOUT)
        else:
            self.transport.close()

    def _start_window(self) -> None:
        self._window_bytes, self._was_paused = 0, self.flow.read_paused
        self._body_timer = self.loop.call_later(self._limits.window_s, self._check_rate)

    def _check_rate(self) -> None:
        self._body_timer = None
        too_slow = self._window_bytes < self._limits.min_bytes_per_s * self._limits.window_s
        # The client waits where this process has paused it, or has not asked it for the body yet.
        waits = self._was_paused or self.flow.read_paused or self.cycle.waiting_for_100_continue
        if too_slow and not waits:
            self._refuse(*_TIMEOUT)
        else:
            self._start_window()

    def _start_write_timer(self) -> None:
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(self._limits.window_s, self._check_write)

    def _check_write(self) -> None:
        self._write_timer = None
        if self.transport.get_write_buffer_size() >= self._unsent_bytes:
            log.warning("http.response-not-read")
            self.transport.abort()
        else:
            self._start_write_timer()

    def _refuse(self, status: bytes, detail: bytes) -> None:
        """Answer where no response has started, and close the connection."""
        if self.transport.is_closing():
            return
        if self.is_waiting or not self.cycle.response_started:
            lines = (
                b"HTTP/1.1 " + status,
                b"content-type: text/plain; charset=utf-8",
                b"content-length: " + str(len(detail)).encode(),
                b"cache-control: no-store",
                *([b"retry-after: 60"] if status.startswith(b"503") else []),
                b"connection: close",
            )
            self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + detail)
        self.transport.close()
