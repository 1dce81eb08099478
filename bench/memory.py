# SPDX-License-Identifier: Apache-2.0
"""Memory of the server while a thousand images come in: ``python bench/memory.py``.

Half of the images are single cells, half are photographs of 2048 x 1536 pixels; each is stored, read by the
classifier, and gets its thumbnail, and after each hundred a screen-sized rendition and the original of some are
looked at. Resident memory (RSS) counts pages that processes share once for each; the proportional set size (PSS)
shares them out, so that the sum over processes is what the whole takes. Decoding processes are listed apart.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

import server
from server import Server

TARGET_MB = 600.0
STEP = 250
BATCH = 10


@dataclass(frozen=True)
class Memory:
    """What processes take, in megabytes."""

    server_rss: float
    server_pss: float
    server_peak: float
    decoders_rss: float
    decoders_pss: float
    decoders: int

    @property
    def total_pss(self) -> float:
        """The server with its decoding processes."""
        return self.server_pss + self.decoders_pss


def measure(running: Server) -> Memory:
    children = running.children()
    taken = [_rollup(pid) for pid in children]
    rss, pss = _rollup(running.pid)
    return Memory(
        server_rss=rss,
        server_pss=pss,
        server_peak=_field(Path(f"/proc/{running.pid}/status"), "VmHWM"),
        decoders_rss=sum(sample[0] for sample in taken),
        decoders_pss=sum(sample[1] for sample in taken),
        decoders=len(children),
    )


def _rollup(pid: int) -> tuple[float, float]:
    with contextlib.suppress(OSError):
        path = Path(f"/proc/{pid}/smaps_rollup")
        return _field(path, "Rss"), _field(path, "Pss")
    return 0.0, 0.0


def _field(path: Path, name: str) -> float:
    line = next(line for line in path.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6


def row(done: int | str, memory: Memory) -> str:
    return (
        f"| {done} | {memory.server_rss:.0f} | {memory.server_pss:.0f} | {memory.server_peak:.0f} "
        f"| {memory.decoders_rss:.0f} | {memory.decoders_pss:.0f} | {memory.decoders} | {memory.total_pss:.0f} |"
    )


def photograph(number: int) -> tuple[str, bytes]:
    return (
        (f"cell-{number}.jpg", server.cell(number // 2)) if number % 2 else (f"smear-{number}.jpg", _large(number // 2))
    )


_photographs: list[bytes] = []


def _large(number: int) -> bytes:
    """A large photograph unlike the others: one of twenty, with a comment of its own (making each takes too long)."""
    if not _photographs:
        _photographs.extend(server.smear(seed) for seed in range(20))
    data = _photographs[number % len(_photographs)]
    # Two bytes of filling between markers (T.81, B.1.1.2) do not change the picture, but make another file of it.
    return data[:2] + b"\xff" * (1 + number // len(_photographs)) + data[2:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=1000)
    arguments = parser.parse_args()
    with server.data_folder() as data:
        server.add_people(data, {"technologist": 1})
        with server.running(data) as running:
            client = running.client("technologist-0@bench.example")
            print(
                "| uploads | server RSS, MB | server PSS | server peak RSS | decoders RSS | decoders PSS | decoders "
                "| all PSS |\n|---:|---:|---:|---:|---:|---:|---:|---:|"
            )
            print(row("start", measure(running)), flush=True)
            last = measure(running)
            for done in range(0, arguments.uploads, BATCH):
                if done % 100 == 0:
                    patient = server.add_patient(client, done)
                files = [photograph(number) for number in range(done, min(done + BATCH, arguments.uploads))]
                items = client.upload(patient, files)
                if done % 100 == 0:
                    for item in items:
                        for what in ("rendered?size=1024", "original"):
                            status, _content = client.send("GET", f"/api/images/{item['image_id']}/{what}")
                            assert status == 200
                if (done + BATCH) % STEP == 0:
                    server.wait_until_read(client)
                    last = measure(running)
                    print(row(done + BATCH, last), flush=True)
            count = json.loads(client.send("GET", "/api/images/count")[1])["count"]
            assert count == arguments.uploads, count
    print(f"\n{server.machine()}; {'with' if server.has_classifier() else 'without'} the classifier; SQLite.\n")
    wanted = f"server after {arguments.uploads} uploads < {TARGET_MB:g} MB"
    print(f"- {server.verdict_on(f'{wanted} (RSS)', last.server_rss, TARGET_MB)}")
    print(f"- {server.verdict_on(f'{wanted}, decoding processes too (PSS)', last.total_pss, TARGET_MB)}")


if __name__ == "__main__":
    main()
