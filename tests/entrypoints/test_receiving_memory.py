# SPDX-License-Identifier: Apache-2.0
"""What uploads and DICOM nodes make a server hold in memory has a limit, measured at real processes."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from medhub.accounts import service as accounts
from medhub.accounts.permissions import Role
from medhub.entrypoints.bootstrap import build
from medhub.foundation.byte_budget import ByteBudget
from medhub.foundation.settings import Settings
from tests.entrypoints.test_dimse import add_nodes, node
from tests.entrypoints.test_dimse_faults import CT_CLASS, association_request, command, pdu, pdv, received, sent
from tests.entrypoints.test_hostile_requests import BOUNDARY, part
from tests.factories.accounts import PASSWORD
from tests.factories.dicom_nodes import Listener

MB = 1024**2
LIMITS = {"upload_max_bytes": str(40 * MB), "dataset_max_bytes": str(40 * MB), "receiving_memory_bytes": str(100 * MB)}
FILE = b"x" * (39 * MB)


def resident_bytes(pid: int) -> int:
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int, str]]:
    """The process id, the port and an API token."""
    data = tmp_path_factory.mktemp("memory")
    app = build(Settings(data=data))
    with app.database.writing() as session:
        project = accounts.add_project(session, "Laboratory")
        accounts.add_user(
            session, email="a@lab.example", name="A", password=PASSWORD, role=Role.TECHNOLOGIST, project_id=project.id
        )
    app.close()
    command_line = [sys.executable, "-m", "medhub.entrypoints.cli", "serve", "--data", str(data), "--port", "0"]
    environment = {f"MEDHUB_{name.upper()}": value for name, value in LIMITS.items()} | {
        "PYTHONPATH": ":".join(sys.path)
    }
    with subprocess.Popen(command_line, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        address = next(match[0] for line in process.stderr if (match := re.search(r"http://[0-9.:]+", line)))
        for _ in range(600):
            try:
                httpx.get(f"{address}/api/health")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        form = {"username": "a@lab.example", "password": PASSWORD}
        token = httpx.post(f"{address}/api/auth/token", data=form, timeout=60).json()["access_token"]
        yield process.pid, int(address.rpartition(":")[2]), token
        process.terminate()
        process.stderr.read()


def start_upload(port: int, token: str, content: bytes, total: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(
        f"POST /api/images HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: {total}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
    )
    with suppress(ConnectionError):  # answered already
        connection.sendall(content)
    return connection


def test_stalled_uploads_share_their_memory(server: tuple[int, int, str]) -> None:
    pid, port, token = server
    before = resident_bytes(pid)
    with ExitStack() as stalled:
        connections = [
            stalled.enter_context(start_upload(port, token, part("files", FILE, "a.jpg")[:-2], 2 * len(FILE)))
            for _ in range(2)
        ]
        refused = stalled.enter_context(start_upload(port, token, part("files", FILE, "a.jpg")[:-2], 2 * len(FILE)))
        answer = refused.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 503"), answer
        assert b"retry-after: 30" in answer.lower()
        assert resident_bytes(pid) - before < 200 * MB
        assert len(connections) == 2
    # The bytes of those that have gone are free again: the file is read to its end, and refused for another reason.
    content = part("files", FILE, "a.jpg") + f"--{BOUNDARY}--\r\n".encode()
    with start_upload(port, token, content, len(content)) as again:
        assert again.recv(10_000).startswith(b"HTTP/1.1 422")


def test_many_fields_are_refused_early(server: tuple[int, int, str]) -> None:
    pid, port, token = server
    before = resident_bytes(pid)
    fields = b"".join(part(f"field-{number}", b"x" * 9_000) for number in range(6_000))
    with start_upload(port, token, fields, len(fields)) as connection:
        try:
            answer = connection.recv(10_000)
        except ConnectionError:
            answer = b"HTTP/1.1 422"  # the rest of the body was on its way when the connection was closed
    assert answer.startswith(b"HTTP/1.1 422")
    assert resident_bytes(pid) - before < 60 * MB


def test_objects_of_dicom_nodes_share_their_memory(tmp_path: Path) -> None:
    add_nodes(tmp_path / "data", node("BOTH"))
    listener = Listener(tmp_path / "data", **LIMITS).start()
    assert listener.process is not None
    before = resident_bytes(listener.process.pid)
    try:
        with ExitStack() as open_connections:
            associations = []
            for _ in range(3):
                connection = socket.create_connection(("127.0.0.1", listener.port), timeout=60)
                associations.append(open_connections.enter_context(connection))
                connection.sendall(association_request(CT_CLASS))
                assert received(connection)[0] == 2
            for connection in associations[:2]:  # they stall before the last fragment
                connection.sendall(pdu(pdv(3, command())) + pdu(pdv(0, FILE)))
            time.sleep(0.5)
            assert sent(associations[2], pdu(pdv(3, command())), pdu(pdv(2, FILE))) == 0xA700
            assert resident_bytes(listener.process.pid) - before < 200 * MB
            assert sent(associations[0], pdu(pdv(2, b"xx"))) == 0
            assert sent(associations[2], pdu(pdv(3, command(instance=b"1.2.3.5"))), pdu(pdv(2, FILE[: 30 * MB]))) == 0
    finally:
        listener.kill()


def test_a_lease_returns_its_bytes() -> None:
    budget = ByteBudget(100, patience_s=0)
    with budget.lease() as first, budget.lease() as second:
        assert first.try_resize(80)
        assert not second.resize_or_wait(30)
        assert first.try_resize(60)
        assert second.try_resize(30)
    assert budget.used_bytes == 0
