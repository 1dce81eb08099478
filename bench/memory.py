# SPDX-License-Identifier: Apache-2.0
"""Memory of the server, and of its decoding processes apart, while 1,000 images come in.

``.venv/bin/python bench/memory.py [--uploads N] [--data FOLDER]``; the target is under 600 MB after 1,000 uploads.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import server

TARGET_MB = 600.0
AT_ONCE = 10


def megabytes(pid: int, entry: str) -> float:
    """An entry of the kernel's summary of a process's memory."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(entry + ":"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"the kernel tells no {entry}")


def show(running: server.Server, uploads: int) -> float:
    """Print a row, and return the memory of all processes together."""
    children = running.children()
    own = megabytes(running.pid, "Rss")
    apart = sum(megabytes(pid, "Rss") for pid in children)
    shared = sum(megabytes(pid, "Pss") for pid in (running.pid, *children))
    print(f"| {uploads} | {own:.0f} | {apart:.0f} ({len(children)}) | {shared:.0f} |", flush=True)
    return own + apart


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=1000)
    parser.add_argument("--data", type=Path, default=None, help="keep the data folder here")
    arguments = parser.parse_args()
    print(
        "Every other image a single cell, every other a whole photograph of 2048 x 1536 px; RSS counts what processes\n"
        "share in each of them, PSS counts it once.\n\n"
        "| uploads | server, RSS MB | decoding processes, RSS MB (how many) | all, PSS MB |\n|---|---|---|---|"
    )
    with server.data_folder(arguments.data) as data:
        server.add_people(data, {"technologist": 1})
        with server.running(data) as running:
            technologist = running.client("technologist-0@bench.example")
            patient = server.add_patient(technologist, 0)
            total = show(running, 0)
            for first in range(0, arguments.uploads, AT_ONCE):
                numbers = range(first, min(first + AT_ONCE, arguments.uploads))
                files = [(f"{n}.jpg", server.smear(n) if n % 2 else server.cell(n)) for n in numbers]
                items = technologist.upload(patient, files)
                assert [item["outcome"] for item in items] == ["accepted"] * len(files), items
                done = first + len(files)
                if done % (arguments.uploads // 4 or 1) == 0:
                    server.wait_until_read(technologist)
                    total = show(running, done)
    print(f"\n{server.machine()}\n" + server.verdict_on(f"under {TARGET_MB:g} MB, all processes", total, TARGET_MB))


if __name__ == "__main__":
    main()
