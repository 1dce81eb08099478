# SPDX-License-Identifier: Apache-2.0
"""From the end of an upload of 20 smear photographs to all 20 predictions shown by the API.

``.venv/bin/python bench/upload.py [--rounds N] [--data FOLDER]``; the target is under 5 s.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import server

PHOTOGRAPHS = 20
TARGET_S = 5.0
PATIENCE_S = 120.0


def one_round(technologist: server.Client, number: int, files: list[tuple[str, bytes]]) -> tuple[float, float]:
    """Upload for a new patient; seconds of the upload, and from its end until the last prediction is there."""
    patient = server.add_patient(technologist, number)
    began = time.monotonic()
    items = technologist.upload(patient, files)
    ended = time.monotonic()
    assert [item["outcome"] for item in items] == ["accepted"] * len(files), items
    while True:
        page = technologist.json("GET", f"/api/images?patient_id={patient}")
        if all(image["prediction"] is not None for image in page["items"]):
            return ended - began, time.monotonic() - ended
        if time.monotonic() - ended > PATIENCE_S:
            raise TimeoutError("not every image was classified")
        time.sleep(0.05)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=None, help="keep the data folder here")
    arguments = parser.parse_args()
    rows = []
    with server.data_folder(arguments.data) as data:
        server.add_people(data, {"technologist": 1})
        with server.running(data) as running:
            technologist = running.client("technologist-0@bench.example")
            for number in range(arguments.rounds + 1):
                files = [(f"{number}-{i}.jpg", server.smear(number * PHOTOGRAPHS + i)) for i in range(PHOTOGRAPHS)]
                taken = one_round(technologist, number, files)
                if number:  # the first round starts the decoding processes and loads the classifier
                    rows.append(taken)
    size = sum(len(content) for _name, content in files) / len(files) / 1e6
    print(
        f"{PHOTOGRAPHS} photographs of 2048 x 1536 px, {size:.2f} MB each, in one request; {server.machine()}.\n\n"
        "| | median s | least | most |\n|---|---|---|---|"
    )
    for name, column in (("upload", 0), ("from its end to all predictions", 1)):
        values = [row[column] for row in rows]
        print(f"| {name} | {statistics.median(values):.2f} | {min(values):.2f} | {max(values):.2f} |")
    print("\n" + server.verdict_on(f"under {TARGET_S:g} s", statistics.median(row[1] for row in rows), TARGET_S))


if __name__ == "__main__":
    main()
