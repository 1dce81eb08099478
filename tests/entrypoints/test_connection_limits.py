# SPDX-License-Identifier: Apache-2.0
"""Clients that send or read too slowly, or open too many connections, are disconnected; others are answered."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from medhub.entrypoints import connection_limits
from medhub.entrypoints.connection_limits import ConnectionLimits, raise_descriptor_limit
from medhub.entrypoints.server_processes import listen, server_config
from medhub.foundation.app_context import AppContext
from medhub.foundation.settings import Settings
from tests.entrypoints.test_hostile_requests import BOUNDARY, body, fields, part
from tests.factories.accounts import People
from tests.factories.cases import make_patient
from tests.factories.images import photograph
from tests.factories.servers import token_of

PER_ADDRESS = 10


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data=tmp_path / "data",
        job_runners=0,
        connections_per_address=PER_ADDRESS,
        request_header_s=0.5,
        request_min_bytes_per_s=1000,
    )


@contextmanager
def serving(web_app: FastAPI, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connection_limits, "WINDOW_S", 0.5)
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(server_config(web_app, settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.fixture
def port(web_app: FastAPI, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    with serving(web_app, settings, monkeypatch) as number:
        yield number


def connect(port: int, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(sent)
    return connection


def received(connection: socket.socket) -> bytes:
    """Everything until the server closes the connection."""
    content = b""
    try:
        while chunk := connection.recv(65536):
            content += chunk
    except ConnectionResetError:
        pass
    return content


FORM = b"POST /api/auth/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
HALF_REQUESTS = {
    "nothing": b"",
    "one byte": b"G",
    "a line": b"GET /api/health HTTP/1.1\r\n",
    "no end of the header": b"GET /api/health HTTP/1.1\r\nHost: a\r\nX-A: b\r\n",
    "a second request": b"GET /api/health HTTP/1.1\r\nHost: a\r\n\r\nGET /api/health HTTP/1.1\r\nHo",
    "no body": FORM + b"Content-Length: 500\r\n\r\n",
    "half a body": FORM + b"Content-Length: 500\r\n\r\nusername=a",
    "half a chunk": FORM + b"Transfer-Encoding: chunked\r\n\r\n50\r\nuse",
}


@pytest.mark.parametrize("sent", HALF_REQUESTS.values(), ids=HALF_REQUESTS)
def test_a_request_that_does_not_arrive_is_ended(port: int, sent: bytes) -> None:
    with connect(port, sent) as connection:
        content = received(connection)
    if sent.startswith(b"GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n"):
        assert content.startswith(b"HTTP/1.1 200")
    else:
        assert (b" 408 " in content) == bool(sent)


def test_a_request_that_drips_is_ended(port: int) -> None:
    for start in (
        b"GET /api/health HTTP/1.1\r\nX: ",
        FORM + b"Content-Length: 9000\r\n\r\n",
    ):
        with connect(port, start) as connection:
            connection.settimeout(0.05)
            ended = False
            while not ended:
                try:
                    connection.sendall(b"a")
                    ended = not connection.recv(1000)
                except TimeoutError:
                    continue
                except ConnectionError:
                    ended = True


def test_a_header_without_end_is_refused(port: int) -> None:
    with connect(port, b"GET / HTTP/1.1\r\n") as connection:
        try:
            for number in range(3000):
                connection.sendall(f"X-{number}: {'a' * 90}\r\n".encode())
        except ConnectionError:
            return
        assert b" 431 " in received(connection)


def test_a_body_that_arrives_together_with_its_header_is_no_header(port: int) -> None:
    body = b"a" * 150_000
    head = f"POST /api/auth/session HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    for _ in range(10):
        with connect(port, head.encode() + body) as connection:
            assert b" 431 " not in received(connection)


def test_many_half_requests_do_not_keep_others_out(port: int) -> None:
    with ExitStack() as half:
        for _ in range(5 * PER_ADDRESS):
            half.enter_context(connect(port, b"GET /api/health HTTP/1.1\r\nHo"))
        assert httpx.get(f"http://127.0.0.1:{port}/api/health", timeout=30).status_code == 200


def test_a_response_that_nobody_reads_is_ended(
    app: AppContext, people: People, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    async def endless(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while not ended.is_set():
                await send({"type": "http.response.body", "body": b"a" * 65536, "more_body": True})
        except OSError:
            pass
        finally:
            ended.set()

    with serving(endless, settings, monkeypatch) as port:  # type: ignore[arg-type]
        with connect(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") as connection:
            # The read ends with the connection, long before the test does.
            connection.settimeout(30)
            threading.Event().wait(2)
            assert len(received(connection)) > 0
        ended.set()


def test_an_upload_whose_processing_takes_long_is_not_too_slow(
    port: int, app: AppContext, people: People, web_app: FastAPI
) -> None:
    patient_id, token = make_patient(app, people), token_of(app, "technologist@lab.example")
    content = body(fields(patient_id), *(part("files", photograph(n, 400), f"{n}.jpg") for n in range(3)))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    answer = httpx.post(f"http://127.0.0.1:{port}/api/images", content=content, headers=headers, timeout=120)
    assert [item["outcome"] for item in answer.json()["items"]] == ["accepted"] * 3


class Connection(SimpleNamespace):
    """A connection as the limits see it."""

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


def connection(address: str, *, waiting: bool = False, receiving: bool = False) -> Any:
    aborted: list[bool] = []
    transport = SimpleNamespace(abort=lambda: aborted.append(True), is_closing=lambda: bool(aborted))
    return Connection(
        client=(address, 1), is_waiting=waiting, is_receiving=receiving, transport=transport, aborted=aborted
    )


@pytest.mark.parametrize(
    ("proxies", "address", "limited"),
    [
        ({}, "10.0.0.1", True),
        ({"trusted_proxy": True}, "10.0.0.1", False),
        ({"trusted_proxy": True, "trusted_proxies": "10.0.0.0/8"}, "10.0.0.1", False),
        ({"trusted_proxy": True, "trusted_proxies": "10.0.0.0/8"}, "192.0.2.1", True),
    ],
)
def test_connections_of_trusted_proxies_do_not_count(
    tmp_path: Path, proxies: dict[str, Any], address: str, limited: bool
) -> None:
    limits = ConnectionLimits(Settings(data=tmp_path, connections_per_address=8, **proxies))
    admitted = [limits.admit(connection(address)) for _ in range(20)]
    assert admitted == [True] * 8 + [not limited] * 12


def test_addresses_of_one_network_of_ipv6_count_together(tmp_path: Path) -> None:
    limits = ConnectionLimits(Settings(data=tmp_path, connections_per_address=8))
    assert [limits.admit(connection(f"2001:db8::{number:x}")) for number in range(9)] == [True] * 8 + [False]
    assert limits.admit(connection("2001:db8:0:1::1"))


def test_a_new_connection_takes_the_place_of_one_without_a_request(tmp_path: Path) -> None:
    limits = ConnectionLimits(Settings(data=tmp_path, connections_per_address=8))
    receiving, waiting = connection("10.0.0.1", receiving=True), connection("10.0.0.1", waiting=True)
    for each in (receiving, waiting, *(connection("10.0.0.1") for _ in range(6))):
        assert limits.admit(each)
    assert limits.admit(connection("10.0.0.1"))
    assert (waiting.aborted, receiving.aborted) == ([True], [])


def test_connections_that_arrive_together_close_one_each(tmp_path: Path) -> None:
    limits = ConnectionLimits(Settings(data=tmp_path, connections_per_address=8))
    waiting = [connection("10.0.0.1", waiting=True) for _ in range(8)]
    assert all(limits.admit(each) for each in waiting)
    # The event loop reports the end of the closed ones only later.
    assert all(limits.admit(connection("10.0.0.1")) for _ in range(3))
    assert [bool(each.aborted) for each in waiting] == [True] * 3 + [False] * 5


def test_the_limit_of_open_files_is_raised() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
        raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, 65_536) > 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
