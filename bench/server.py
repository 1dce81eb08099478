# SPDX-License-Identifier: Apache-2.0
"""A server of its own for a benchmark: a fresh data folder with people, patients and images, and an end to it all."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

ROOT = Path(__file__).resolve().parents[1]
PASSWORD = "a password of the benchmark"
PROJECT = "Haematology"
PATHWAY = "smear-review"
TICKS = os.sysconf("SC_CLK_TCK")
_START_S = 60.0

Answer = tuple[int, bytes]


@dataclass
class Server:
    """A running ``medhub serve``."""

    process: subprocess.Popen[bytes]
    port: int
    data: Path

    @property
    def pid(self) -> int:
        """The server's process."""
        return self.process.pid

    def children(self) -> list[int]:
        """Its decoding processes."""
        children = []
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                children += [int(pid) for pid in (thread / "children").read_text().split()]
        return sorted(set(children))

    def client(self, email: str | None = None) -> Client:
        """A client, signed in as somebody."""
        client = Client(self.port)
        if email is not None:
            client.sign_in(email)
        return client

    def processor_s(self) -> float:
        """Processor time that the server and its decoding processes have used."""
        return sum(processor_s(pid) for pid in (self.pid, *self.children()))


class Client:
    """The little of HTTP that a benchmark needs, over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        self._used_at = 0.0
        self.headers: dict[str, str] = {}

    def sign_in(self, email: str) -> None:
        """Ask for a token and send it from now on."""
        form = urllib.parse.urlencode({"username": email, "password": PASSWORD}).encode()
        status, body = self.send("POST", "/api/auth/token", form, "application/x-www-form-urlencoded")
        assert status == 200, body
        self.headers["Authorization"] = f"Bearer {json.loads(body)['access_token']}"

    def send(self, method: str, path: str, body: bytes | None = None, content_type: str | None = None) -> Answer:
        """Send a request; status and body of the answer."""
        headers = dict(self.headers)
        if content_type is not None:
            headers["Content-Type"] = content_type
        if time.monotonic() - self._used_at > 2:  # the server closes what is idle for five seconds
            self._connection.close()
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        self._used_at = time.monotonic()
        return answer.status, content

    def json(self, method: str, path: str, value: object = None) -> Any:
        """Send JSON and read JSON; whatever is not a success ends the benchmark."""
        body = None if value is None else json.dumps(value).encode()
        status, content = self.send(method, path, body, None if value is None else "application/json")
        if status >= 300:
            raise SystemExit(f"{method} {path} answered {status}: {content[:500].decode(errors='replace')}")
        return json.loads(content) if content else None

    def upload(self, patient_id: str, files: Sequence[tuple[str, bytes]]) -> list[dict[str, Any]]:
        """Upload files in one request, as a browser's form does; the answer for each."""
        boundary = uuid.uuid4().hex
        parts = []
        for name, value in (("patient_id", patient_id), ("pathway", PATHWAY)):
            parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
        for name, data in files:
            disposition = f'Content-Disposition: form-data; name="files"; filename="{name}"'
            parts.append(f"--{boundary}\r\n{disposition}\r\nContent-Type: image/jpeg\r\n\r\n".encode() + data + b"\r\n")
        parts.append(f"--{boundary}--\r\n".encode())
        status, content = self.send("POST", "/api/images", b"".join(parts), f"multipart/form-data; boundary={boundary}")
        assert status == 200, content[:500]
        items: list[dict[str, Any]] = json.loads(content)["items"]
        refused = [item for item in items if item["outcome"] != "accepted"]
        assert not refused, refused[:3]
        return items


@contextlib.contextmanager
def running(data: Path, **settings: str) -> Iterator[Server]:
    """``medhub serve`` on a data folder and a free port; ended with all its processes at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDHUB_")}
    environment |= {f"MEDHUB_{name.upper()}": value for name, value in settings.items()}
    with (data / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("medhub"), "serve", "--data", str(data), "--port", str(port)],
            stdout=log,
            stderr=log,
            env=environment,
            cwd=ROOT,
        )
    try:
        _wait_until_it_answers(process, port, data)
        yield Server(process, port, data)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, data: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if Client(port).send("GET", "/api/ready")[0] == 200:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"The server does not start:\n{(data / 'server.log').read_text()[-3000:]}")
        time.sleep(0.05)


@contextlib.contextmanager
def data_folder(folder: Path | None = None) -> Iterator[Path]:
    """A folder that is gone afterwards, or the one that was named."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="medhub-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def add_people(data: Path, counts: dict[str, int]) -> None:
    """Set up a project and so many people of each role: ``ROLE-NUMBER@bench.example``, all with the one password."""
    from medhub.accounts import service as accounts
    from medhub.accounts.permissions import Role
    from medhub.entrypoints.bootstrap import build
    from medhub.foundation.settings import Settings

    app = build(Settings(data=data))
    with app.database.writing() as session:
        project = accounts.add_project(session, PROJECT)
        for role, count in counts.items():
            for number in range(count):
                accounts.add_user(
                    session,
                    email=f"{role}-{number}@bench.example",
                    name=f"The {role} {number}",
                    password=PASSWORD,
                    role=Role(role),
                    project_id=project.id,
                )
    app.close()


def add_patient(client: Client, number: int) -> str:
    """Register a patient with an invented identity."""
    patient = client.json(
        "POST",
        "/api/patients",
        {
            "sex": "FM"[number % 2],
            "birth_year": 1930 + number % 90,
            "identity": {"name": f"Patient Number {number}", "hospital_number": f"H-{number:06d}"},
        },
    )
    return str(patient["id"])


def wait_until_read(client: Client, patience_s: float = 600.0) -> None:
    """Wait until every job is done: each image is classified and has its case."""
    deadline = time.monotonic() + patience_s
    while True:
        _status, content = client.send("GET", "/metrics")
        line = next(line for line in content.splitlines() if line.startswith(b"medhub_jobs_unfinished "))
        if float(line.split()[1]) == 0:
            return
        if time.monotonic() > deadline:
            raise SystemExit("The jobs are not done in time.")
        time.sleep(0.2)


def has_classifier() -> bool:
    """Whether the classifier of the pathway is there."""
    return (ROOT / "models" / "blood-cells" / "card.toml").is_file()


def cells() -> list[Path]:
    """Photographs of single cells that lie in the repository."""
    return sorted((ROOT / "demo" / "blood-cells").glob("*/*.jpg"))


def cell(number: int) -> bytes:
    """A photograph of one cell, unlike every other: one of the demonstration's, cut a little differently."""
    paths = cells()
    with Image.open(paths[number % len(paths)]) as opened:
        picture = opened.convert("RGB")
        turn = number // len(paths)
        left, top = turn % 12, turn // 12
        if left + top:
            picture = picture.crop((left, top, picture.width - 12 + left, picture.height - 12 + top))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=90 - turn // 144)
        return buffer.getvalue()


def smear(seed: int, width: int = 2048, height: int = 1536, quality: int = 90, subsampling: int = 2) -> bytes:
    """A photograph made up like one of a whole smear: round red cells on a light ground, some white cells, noise."""
    chance = np.random.default_rng(seed)
    picture = Image.new("RGB", (width, height), (228, 220, 214))
    draw = ImageDraw.Draw(picture)
    radius = width // 64
    for _ in range(420):
        x, y = int(chance.integers(0, width)), int(chance.integers(0, height))
        r = int(radius * chance.uniform(0.85, 1.15))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(205, 150 + int(chance.integers(0, 20)), 150))
        draw.ellipse((x - r // 3, y - r // 3, x + r // 3, y + r // 3), fill=(222, 190, 186))
    for _ in range(6):
        x, y = int(chance.integers(0, width)), int(chance.integers(0, height))
        r = 2 * radius
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(190, 175, 200))
        for _ in range(3):
            u, v = x + int(chance.integers(-r // 2, r // 2)), y + int(chance.integers(-r // 2, r // 2))
            draw.ellipse((u - r // 2, v - r // 2, u + r // 2, v + r // 2), fill=(92, 60, 130))
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(radius / 8)), np.float32)
    noisy = soft + chance.normal(0, 6, (height, width, 1)) + chance.normal(0, 3, (height, width, 3))
    buffer = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return buffer.getvalue()


def smears(count: int) -> tuple[str, list[tuple[str, bytes]]]:
    """So many photographs of smears, real ones where the shared data lie beside the repository, and what they are."""
    folder = ROOT.parent / "shared" / "data" / "blood" / "bccd"
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if len(paths) >= count:
        chosen = [paths[i * len(paths) // count] for i in range(count)]
        return "photographs of BCCD", [(path.name, path.read_bytes()) for path in chosen]
    return "made-up photographs, 2048 x 1536", [(f"smear-{i}.jpg", smear(i)) for i in range(count)]


def processor_s(pid: int) -> float:
    """Processor time that a process has used, in the kernel too."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def machine() -> str:
    """Cores and load of this machine, which whoever reads the figures must know."""
    loads = " ".join(f"{load:.1f}" for load in os.getloadavg())
    return f"{os.cpu_count()} cores, load average {loads}"


def verdict_on(target: str, value: float, limit: float, *, at_least: bool = False) -> str:
    """Whether a target was reached, in a word."""
    met = value > limit if at_least else value < limit
    return f"{target}: {'met' if met else 'NOT met'} ({value:.3g})"
