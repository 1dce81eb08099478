# SPDX-License-Identifier: Apache-2.0
"""The load test of the HemaClassify paper, made again: ``python bench/load.py``.

Ten endpoints, 300 users at once, begun within one second, ten requests each without pause: 3,000 requests, 300 to
each endpoint. The server is ``medhub serve`` as anybody would start it, in a process of its own, on a fresh data
folder; the load comes from this process over loopback. On a machine of two cores the load takes a good part of what
the server could use. The run is repeated; the table is of the run with the median throughput.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import server
import uvloop
from server import PASSWORD, Client, Server

TARGET_MEAN_S, TARGET_PER_S = 1.0, 300.0
PAPER_MEAN_S, PAPER_PER_S = 16.7, 17.5
PEOPLE = {"administrator": 4, "physician": 8, "technologist": 6, "viewer": 2}
PATIENTS, IMAGES, LARGE, VERIFIED = 200, 600, 20, 150
ENDPOINTS = (
    "GET /api/users",
    "POST /api/auth/token",
    "GET /api/users/{id}",
    "GET /api/images/count?verified=false",
    "GET /api/images/{id}/original",
    "GET /api/images?verified=false",
    "GET /api/images?patient_id=",
    "GET /api/patients/{id}",
    "GET /api/images/{id}",
    "GET /api/patients",
)


@dataclass
class LoadTargets:
    """What the database holds, and the tokens of its people."""

    tokens: dict[str, str]
    users: list[str]
    patients: list[str]
    images: list[str]
    large: list[str]
    large_bytes: int

    def request(self, endpoint: int, number: int) -> bytes:
        """One request as it goes over the wire; different numbers ask as different people for different things."""
        administrators = [email for email in self.tokens if email.startswith("administrator")]
        emails = administrators if endpoint in (0, 2) else list(self.tokens)
        email = emails[number % len(emails)]
        path = (
            "/api/users",
            "/api/auth/token",
            f"/api/users/{self.users[number % len(self.users)]}",
            "/api/images/count?verified=false",
            f"/api/images/{self.large[number % len(self.large)]}/original",
            "/api/images?verified=false",
            f"/api/images?patient_id={self.patients[number % len(self.patients)]}",
            f"/api/patients/{self.patients[number % len(self.patients)]}",
            f"/api/images/{self.images[number % len(self.images)]}",
            "/api/patients",
        )[endpoint]
        if endpoint == 1:
            form = urllib.parse.urlencode({"username": email, "password": PASSWORD})
            return (
                f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                f"Content-Length: {len(form)}\r\n\r\n{form}"
            ).encode()
        return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.tokens[email]}\r\n\r\n".encode()


def fill(running: Server) -> None:
    """Register patients, upload images, have them read, and give verdicts, all through the API."""
    technologist = running.client("technologist-0@bench.example")
    physician = running.client("physician-0@bench.example")
    patients = [server.add_patient(technologist, number) for number in range(PATIENTS)]
    images: list[str] = []
    per_patient = (IMAGES - LARGE) // PATIENTS
    number = 0
    for position, patient in enumerate(patients):
        files = [(f"cell-{number + i}.jpg", server.cell(number + i)) for i in range(per_patient)]
        number += per_patient
        if position < LARGE:
            files.append((f"smear-{position}.jpg", server.smear(position, 2592, 1944, 96, 0)))
        rest = IMAGES - LARGE - per_patient * PATIENTS
        if position >= PATIENTS - rest:
            files.append((f"cell-{IMAGES + position}.jpg", server.cell(IMAGES + position)))
        images += [item["image_id"] for item in technologist.upload(patient, files)]
    server.wait_until_read(technologist)
    for image in images[:VERIFIED]:
        physician.json("PUT", f"/api/images/{image}/verdict", {"label": "neutrophil", "note": "Segmented nucleus."})


def load_targets(running: Server) -> LoadTargets:
    """The ids and tokens for the load, read from the API; each endpoint is called once and its response is checked."""
    emails = [f"{role}-{number}@bench.example" for role, count in PEOPLE.items() for number in range(count)]
    tokens = {}
    for email in emails:
        tokens[email] = running.client(email).headers["Authorization"].partition(" ")[2]
    administrator = running.client("administrator-0@bench.example")
    users = [user["id"] for user in administrator.json("GET", "/api/users?page_size=200")["items"]]
    patients = _all(administrator, "/api/patients")
    images = _all(administrator, "/api/images")
    large = [image for image in images if image["size_bytes"] > 3_000_000]
    assert (len(users), len(patients), len(images), len(large)) == (len(emails), PATIENTS, IMAGES, LARGE)
    targets = LoadTargets(
        tokens, users, [p["id"] for p in patients], [i["id"] for i in images], [i["id"] for i in large], 0
    )
    status, content = administrator.send("GET", f"/api/images/{targets.large[0]}/original")
    assert status == 200
    assert content[:2] == b"\xff\xd8"
    targets.large_bytes = len(content)
    assert administrator.json("GET", "/api/images/count?verified=false")["count"] == IMAGES - VERIFIED
    unverified = administrator.json("GET", "/api/images?verified=false")
    assert (len(unverified["items"]), unverified["total"]) == (50, IMAGES - VERIFIED)
    assert administrator.json("GET", f"/api/patients/{targets.patients[0]}")["identity"]["name"]
    assert len(administrator.json("GET", "/api/patients")["items"]) == 50
    image = administrator.json("GET", f"/api/images/{targets.images[0]}")
    assert bool(image["predictions"]) == server.has_classifier()
    return targets


def _all(client: Client, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    while True:
        page = client.json("GET", f"{path}?page_size=200&page={len(items) // 200 + 1}")
        items += page["items"]
        if len(items) >= page["total"]:
            return items


class Connection(asyncio.BufferedProtocol):
    """One user's connection: sends a request, reads its answer to the end, and keeps no more than the head of it."""

    def __init__(self) -> None:
        self._buffer = bytearray(256 * 1024)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._rest: int | None = None  # bytes of the body that are still to come, once the head is known
        self._status = 0
        self._answer: asyncio.Future[int] | None = None
        self.transport: asyncio.Transport | None = None

    async def ask(self, request: bytes) -> int:
        """The status of the answer to a request, once its last byte is here."""
        if self.transport is None or self.transport.is_closing():
            raise ConnectionError
        self._filled, self._rest = 0, None
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """A connection that ends before its answer is an error."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("closed"))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._view[self._filled :] if self._rest is None else self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Read the head, then count the body."""
        if self._rest is not None:
            self._rest -= nbytes
        else:
            self._filled += nbytes
            end = self._buffer.find(b"\r\n\r\n", 0, self._filled)
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            self._status = int(head[9:12])
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._rest = int(length) - (self._filled - end - 4)
        if self._rest <= 0 and self._answer is not None and not self._answer.done():
            assert self._rest == 0
            self._answer.set_result(self._status)


@dataclass
class Run:
    """What one run of the load measured."""

    times: list[list[float]] = field(default_factory=lambda: [[] for _ in ENDPOINTS])
    errors: list[int] = field(default_factory=lambda: [0] * len(ENDPOINTS))
    wall_s: float = 0.0
    server_s: float = 0.0
    load_s: float = 0.0

    @property
    def all_times(self) -> list[float]:
        """The times of all requests."""
        return [time_s for times in self.times for time_s in times]

    @property
    def per_s(self) -> float:
        """Requests a second, from the first that was sent to the last that was answered."""
        return len(self.all_times) / self.wall_s

    @property
    def mean_s(self) -> float:
        """Mean time of a request."""
        return statistics.fmean(self.all_times)


async def load(port: int, targets: LoadTargets, users: int, requests: int, ramp_s: float) -> Run:
    """All users at once, each on a connection of its own, each beginning with another endpoint."""
    run = Run()
    loop = asyncio.get_running_loop()
    plans = [
        [
            (endpoint, targets.request(endpoint, user * requests + turn))
            for turn, endpoint in enumerate(_order(user, requests))
        ]
        for user in range(users)
    ]
    ends: list[float] = []
    started = loop.time()

    async def user_works(user: int) -> None:
        await asyncio.sleep(ramp_s * user / users)
        connection: Connection | None = None
        for endpoint, request in plans[user]:
            start = time.perf_counter()
            try:
                if connection is None:  # the time to connect counts
                    _transport, connection = await loop.create_connection(Connection, "127.0.0.1", port)
                good = await connection.ask(request) == 200
            except OSError:
                good, connection = False, None
            run.times[endpoint].append(time.perf_counter() - start)
            run.errors[endpoint] += not good
        ends.append(loop.time())
        if connection is not None and connection.transport is not None:
            connection.transport.close()

    await asyncio.gather(*(user_works(user) for user in range(users)))
    run.wall_s = max(ends) - started
    return run


def _order(user: int, requests: int) -> Iterator[int]:
    return ((user + turn) % len(ENDPOINTS) for turn in range(requests))


def measure(running: Server, targets: LoadTargets, arguments: argparse.Namespace) -> Run:
    """One run, with the processor time of both sides."""
    before_server, before_load = running.processor_s(), time.process_time()
    run = uvloop.run(load(running.port, targets, arguments.users, arguments.requests, arguments.ramp))
    run.server_s, run.load_s = running.processor_s() - before_server, time.process_time() - before_load
    return run


def show(run: Run) -> None:
    print("| endpoint | n | errors | mean, s | p50, s | p95, s | max, s | requests/s |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, times, errors in zip(ENDPOINTS, run.times, run.errors, strict=True):
        print(_row(f"`{name}`", times, errors, run.wall_s))
    print(_row("**all**", run.all_times, sum(run.errors), run.wall_s))


def _row(name: str, times: list[float], errors: int, wall_s: float) -> str:
    ordered = sorted(times)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return (
        f"| {name} | {len(times)} | {errors} | {statistics.fmean(times):.3f} | {statistics.median(times):.3f} "
        f"| {p95:.3f} | {max(times):.3f} | {len(times) / wall_s:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=300, help="users at once")
    parser.add_argument("--requests", type=int, default=10, help="requests of each")
    parser.add_argument("--ramp", type=float, default=1.0, help="seconds within which they begin")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--processes", type=int, default=1, help="of the server")
    parser.add_argument("--data", type=Path, help="data folder to keep; one that is filled already is used as it is")
    parser.add_argument("--json", type=Path, help="write the figures of each run to a file")
    arguments = parser.parse_args()
    with server.data_folder(arguments.data) as data:
        new = not (data / "medhub.sqlite").exists()
        if new:
            server.add_people(data, PEOPLE)
        with server.running(data, processes=str(arguments.processes)) as running:
            if new:
                fill(running)
            targets = load_targets(running)
            runs = []
            for number in range(arguments.runs):
                runs.append(measure(running, targets, arguments))
                run = runs[-1]
                print(
                    f"run {number + 1}: mean {run.mean_s:.3f} s, {run.per_s:.1f} requests/s, {sum(run.errors)} errors; "
                    f"processor time: server {run.server_s:.1f} s, load {run.load_s:.1f} s, wall {run.wall_s:.1f} s; "
                    f"{server.machine()}",
                    flush=True,
                )
    runs.sort(key=lambda run: run.per_s)
    median = runs[len(runs) // 2]
    print(
        f"\n{arguments.users} users, {arguments.requests} requests each, ramp {arguments.ramp:g} s; "
        f"{sum(PEOPLE.values())} people, {PATIENTS} patients, {IMAGES} images ({VERIFIED} verified), "
        f"originals of {targets.large_bytes / 1e6:.1f} MB; "
        f"{'images classified' if server.has_classifier() else 'without a classifier'}; SQLite.\n"
        f"The run with the median throughput of {len(runs)}:\n"
    )
    show(median)
    print()
    print(f"- {server.verdict_on('errors = 0', sum(sum(run.errors) for run in runs), 0.5)}, in all runs")
    print(f"- {server.verdict_on(f'mean < {TARGET_MEAN_S:g} s', median.mean_s, TARGET_MEAN_S)}; paper {PAPER_MEAN_S} s")
    wanted = f"more than {TARGET_PER_S:g} requests/s"
    print(f"- {server.verdict_on(wanted, median.per_s, TARGET_PER_S, at_least=True)}; paper {PAPER_PER_S}")
    if arguments.json is not None:
        facts = [{"mean_s": r.mean_s, "per_s": r.per_s, "errors": sum(r.errors), "server_s": r.server_s} for r in runs]
        arguments.json.write_text(json.dumps(facts))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
