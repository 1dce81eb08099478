# SPDX-License-Identifier: Apache-2.0
"""A real server in a process of its own, and a real browser."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from medhub.accounts import service as accounts
from medhub.accounts.permissions import Role
from medhub.entrypoints.bootstrap import build
from medhub.entrypoints.web_assets import built_web_app
from medhub.foundation.settings import Settings
from tests.conftest import missing

PASSWORD = "a password of the journey"
CHROMIUM = "/usr/bin/chromium"

# Busy machines answer late; waiting longer hides nothing.
expect.set_options(timeout=20_000)


@dataclass(frozen=True)
class Server:
    """Where a server answers, and where its data lie."""

    url: str
    data: Path
    project_id: str


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def people_of(data: Path) -> str:
    """Write a project with a person of each role, and return its id."""
    app = build(Settings(data=data))
    with app.database.writing() as session:
        project = accounts.add_project(session, "Haematology")
        for role in Role:
            accounts.add_user(
                session,
                email=f"{role}@lab.example",
                name=f"{role} Rahman".title(),
                password=PASSWORD,
                role=role,
                project_id=project.id,
            )
    app.close()
    return project.id


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with people and nothing else."""
    if built_web_app() is None:
        missing("The built web app (make install)")
    data = tmp_path_factory.mktemp("data")
    project_id = people_of(data)
    port = free_port()
    command = [sys.executable, "-m", "medhub.entrypoints.cli", "serve", "--data", str(data), "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, "MEDHUB_LOG_JSON": "true"})
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                httpx.get(f"{url}/api/ready", timeout=2).raise_for_status()
                break
            except httpx.HTTPError:
                if process.poll() is not None:
                    raise
                time.sleep(0.1)
        yield Server(url, data, project_id)
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Debian's Chromium, without a word to the outside."""
    if not shutil.which(CHROMIUM):
        missing("Chromium")
    return {
        **browser_type_launch_args,
        "executable_path": CHROMIUM,
        "args": [
            "--no-sandbox",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ],
    }


def sign_in(page: Page, server: Server, role: Role) -> None:
    """Sign in by the form."""
    page.goto(server.url)
    page.get_by_label("E-mail").fill(f"{role}@lab.example")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Dashboard").wait_for()
