# SPDX-License-Identifier: Apache-2.0
"""A server of several processes, as ``medhub serve --processes 2`` starts it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from medhub.accounts import service as accounts
from medhub.accounts.permissions import Role
from medhub.entrypoints.bootstrap import build
from medhub.entrypoints.server_processes import listen
from medhub.errors import Unavailable
from medhub.foundation.settings import Settings
from tests.conftest import ROOT
from tests.factories.accounts import PASSWORD

EMAIL = "administrator@lab.example"

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="several processes need Linux")


def _children(pid: int) -> list[int]:
    """The web processes that a server has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    web_worker = b"medhub.entrypoints.web_worker"
    return [int(child) for child in children if web_worker in Path(f"/proc/{child}/cmdline").read_bytes()]


def _wait_for_second_process(pid: int, address: str) -> None:
    """Stop the first process until the second one has answered a request."""
    os.kill(pid, signal.SIGSTOP)
    try:
        assert httpx.get(f"{address}/api/health", timeout=90).status_code == 200
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    app = build(Settings(data=tmp_path))
    with app.database.writing() as session:
        project = accounts.add_project(session, "Laboratory")
        accounts.add_user(
            session,
            email=EMAIL,
            name="The administrator",
            password=PASSWORD,
            role=Role.ADMINISTRATOR,
            project_id=project.id,
        )
    app.close()
    command = [sys.executable, "-m", "medhub.entrypoints.cli", "serve", "--data", str(tmp_path), "--port", "0"]
    with subprocess.Popen([*command, "--processes", "2"], stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        address = ""
        for line in process.stderr:
            if match := re.search(r"http://[0-9.:]+", line):
                address = match.group()
                break
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{address}/api/ready").status_code == 200 and len(_children(process.pid)) == 1:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        _wait_for_second_process(process.pid, address)
        yield process, address
        if process.poll() is None:
            process.terminate()
        process.stderr.read()


def _answered_by_both(address: str, headers: dict[str, str]) -> set[int]:
    """The statuses of many requests, each on a connection of its own: the kernel gives them to either process."""
    return {httpx.get(f"{address}/api/auth/session", headers=headers).status_code for _ in range(40)}


def test_a_sign_in_that_ends_ends_at_every_process_at_once(server: tuple[subprocess.Popen[str], str]) -> None:
    _process, address = server
    for _ in range(3):
        form = {"username": EMAIL, "password": PASSWORD}
        token = httpx.post(f"{address}/api/auth/token", data=form).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert _answered_by_both(address, headers) == {200}
        assert httpx.post(f"{address}/api/auth/revoke", headers=headers).status_code == 204
        assert _answered_by_both(address, headers) == {401}


def test_the_second_process_answers_alone_when_the_first_is_held_up(server: tuple[subprocess.Popen[str], str]) -> None:
    process, address = server
    os.kill(process.pid, signal.SIGSTOP)
    try:
        answered = 0
        for _ in range(20):
            try:
                answered += httpx.get(f"{address}/api/health", timeout=2).status_code == 200
                break
            except httpx.TransportError:
                continue
        assert answered
    finally:
        os.kill(process.pid, signal.SIGCONT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_all_of_them_end_together(server: tuple[subprocess.Popen[str], str], number: signal.Signals) -> None:
    process, _address = server
    (child,) = _children(process.pid)
    process.send_signal(number)
    process.wait(30)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}/cmdline").exists() and Path(f"/proc/{child}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_port_in_use_is_reported() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(Unavailable, match="--port"):
            listen("127.0.0.1", other.getsockname()[1])
