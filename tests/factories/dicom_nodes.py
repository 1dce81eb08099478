# SPDX-License-Identifier: Apache-2.0
"""DICOM nodes: the listener in a process of its own, DCMTK's programs, and an Orthanc from Debian."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from medhub.entrypoints.bootstrap import open_database
from medhub.foundation.app_context import AppContext
from medhub.foundation.blobs import BlobStore
from medhub.foundation.isolation import Isolation
from medhub.foundation.keys import load_keys
from medhub.foundation.settings import Settings
from tests.conftest import missing

PATIENCE_S = 120.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until something has come about."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come about")
        time.sleep(0.05)


def program(name: str) -> str:
    """The path of a program; without it the test is skipped or fails, by ``MEDHUB_TEST_STRICT``."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        missing(name)
    return str(path)


def dcmtk(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one of DCMTK's programs, with small packets sent at once."""
    return subprocess.run(
        [program(name), *map(str, arguments)],
        env={**os.environ, "TCP_NODELAY": "1"},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PATIENCE_S,
        check=False,
    )


class Listener:
    """``medhub dicom`` on a data folder; it can be killed and started again."""

    def __init__(self, data: Path, **settings: str) -> None:
        self.data, self.port = data, 0
        self.log = data.parent / f"{data.name}.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MEDHUB_")},
            **{f"MEDHUB_{name.upper()}": value for name, value in settings.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Listener:
        """Start the process and wait until it listens."""
        command = [sys.executable, "-c", "from medhub.entrypoints.cli import main; main()", "dicom"]
        with self.log.open("ab") as log:
            log_offset = log.tell()
            self.process = subprocess.Popen(
                [*command, "--data", str(self.data), "--port", str(self.port)],
                env=self._environment, stdout=log, stderr=log,
            )  # fmt: skip
        wait_for(lambda: self._ready(log_offset), "the listener")
        return self

    def _ready(self, log_offset: int) -> bool:
        text = self.log.read_bytes()[log_offset:].decode()
        assert self.process is not None
        assert self.process.poll() is None, text
        address = re.search(r"reach Medhub at [^ ]*:(\d+)", text)
        if address:
            self.port = int(address[1])
        return address is not None

    def kill(self) -> None:
        """Kill the process, as in a crash."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def stop(self) -> None:
        """End the process by SIGTERM."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)

    def intake_process(self) -> int:
        """The process id of the intake process."""
        assert self.process is not None
        children_files = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        for child in " ".join(path.read_text() for path in children_files).split():
            if b"intake_process" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        raise ProcessLookupError

    @contextmanager
    def app(self, isolation: Isolation) -> Iterator[AppContext]:
        """The app context of the same installation, as of another process."""
        settings = Settings(data=self.data, job_runners=0)
        database = open_database(settings)
        try:
            yield AppContext(settings, database, BlobStore(settings.blobs_folder), load_keys(settings), isolation)
        finally:
            database.close()


class Orthanc:
    """An Orthanc of its own: its folder, its ports, and the nodes that it knows."""

    def __init__(self, folder: Path, modalities: Mapping[str, tuple[str, int]]) -> None:
        self.title, self.port, http = "ORTHANC", free_port(), free_port()
        self.url = f"http://127.0.0.1:{http}"
        folder.mkdir()
        configuration = {
            "Name": "peer", "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "index"),
            "DicomAet": self.title, "DicomPort": self.port, "HttpPort": http, "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False, "DicomCheckCalledAet": True, "DicomAlwaysAllowStore": False,
            "DicomModalities": {name: [title, "127.0.0.1", port] for name, (title, port) in modalities.items()},
            "Plugins": [], "DicomScpTimeout": 30,
        }  # fmt: skip
        (folder / "orthanc.json").write_text(json.dumps(configuration))
        self._log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [program("Orthanc"), str(folder / "orthanc.json")],
            env={**os.environ, "TCP_NODELAY": "1"}, stdout=self._log, stderr=self._log,
        )  # fmt: skip
        wait_for(self._answers, "Orthanc")

    def _answers(self) -> bool:
        assert self.process.poll() is None, "Orthanc ended"
        try:
            return httpx.get(f"{self.url}/system", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def get(self, path: str) -> Any:
        """Ask its API."""
        return httpx.get(f"{self.url}{path}", timeout=PATIENCE_S).raise_for_status().json()

    def post(self, path: str, content: Any) -> Any:
        """Have its API do something."""
        sent = {"content": content} if isinstance(content, bytes) else {"json": content}
        return httpx.post(f"{self.url}{path}", timeout=PATIENCE_S, **sent).raise_for_status().json()

    def stop(self) -> None:
        """End it; nothing of it is needed any more."""
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self._log.close()
