# SPDX-License-Identifier: Apache-2.0
"""How long lists and the health check take while people upload: ``python bench/uploads_and_lists.py``.

Each uploader sends requests of three photographs of 640 x 480 pixels, one after the other, while one client reads a
list and another the health check, ten times a second. The table also has both without uploads.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable

import server
from server import Client, Server


class Timings:
    """Seconds of the requests of one kind."""

    def __init__(self, name: str, request: Callable[[Client], None], client: Client) -> None:
        self.name, self._request, self._client = name, request, client
        self.seconds: list[float] = []

    def repeat(self, stop: threading.Event) -> None:
        """Send the request ten times a second."""
        while not stop.wait(0.1):
            start = time.perf_counter()
            self._request(self._client)
            self.seconds.append(time.perf_counter() - start)

    def row(self) -> str:
        """The row of the table."""
        ordered = sorted(self.seconds)
        p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
        values = (statistics.median(ordered), p95, ordered[-1])
        return f"| {self.name} | {len(ordered)} | " + " | ".join(f"{value * 1000:.0f}" for value in values) + " |"


def read_list(client: Client) -> None:
    """Read a page of the list of patients."""
    client.json("GET", "/api/patients")


def read_health(client: Client) -> None:
    """Read the health check."""
    client.json("GET", "/api/health")


def upload_repeatedly(running: Server, number: int, stop: threading.Event, done: list[float]) -> None:
    """Upload three new photographs at a time until the event is set."""
    client = running.client("technologist-0@bench.example")
    patient = server.add_patient(client, number)
    turn = 0
    while not stop.is_set():
        files = [(f"{i}.jpg", server.smear(number * 10_000 + turn * 3 + i, 640, 480)) for i in range(3)]
        start = time.perf_counter()
        client.upload(patient, files)
        done.append(time.perf_counter() - start)
        turn += 1


def measure(running: Server, uploaders: int, seconds: float) -> list[str]:
    """Rows of the table for one number of uploaders."""
    stop = threading.Event()
    done: list[float] = []
    threads = [
        threading.Thread(target=upload_repeatedly, args=(running, number, stop, done)) for number in range(uploaders)
    ]
    timings = [
        Timings(f"list, {uploaders} uploaders", read_list, running.client("technologist-0@bench.example")),
        Timings(f"health, {uploaders} uploaders", read_health, running.client()),
    ]
    for thread in threads:
        thread.start()
    time.sleep(min(3.0, seconds) if uploaders else 0)
    readers = [threading.Thread(target=timing.repeat, args=(stop,)) for timing in timings]
    for reader in readers:
        reader.start()
    time.sleep(seconds)
    stop.set()
    for thread in (*threads, *readers):
        thread.join()
    rows = [timing.row() for timing in timings]
    if done:
        rows.append(f"| upload of 3, {uploaders} uploaders | {len(done)} | {statistics.median(done) * 1000:.0f} | | |")
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploaders", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    with server.data_folder() as data:
        server.add_people(data, {"technologist": 1})
        with server.running(data) as running:
            print("| request | n | median ms | p95 ms | longest ms |\n|---|---|---|---|---|")
            for uploaders in (0, arguments.uploaders):
                seconds = arguments.seconds if uploaders else 3.0
                print("\n".join(measure(running, uploaders, seconds)), flush=True)
    print(f"\n{server.machine()}")


if __name__ == "__main__":
    main()
