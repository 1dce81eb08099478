# SPDX-License-Identifier: Apache-2.0
"""From the end of an upload of 20 smear photographs to all 20 predictions in the API: ``python bench/upload.py``.

Each round uploads 20 new photographs in one request, as the browser's drop zone does, and then asks for the patient's
images every 50 ms until each has a prediction. Timed from the last byte of the upload's answer; the upload itself,
which reads, cleans, stores and acknowledges each file, is timed apart.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass

import server
from server import Client

TARGET_S = 5.0
POLL_S = 0.05


@dataclass(frozen=True)
class Round:
    """What one upload took."""

    upload_s: float
    shown_s: float


def photographs(what: str, count: int, number: int) -> tuple[str, list[tuple[str, bytes]]]:
    """Photographs that no round before had: the same picture as another file, by filling between its markers."""
    if what == "large":
        name, files = "made-up photographs, 2048 x 1536", [(f"smear-{i}.jpg", server.smear(i)) for i in range(count)]
    else:
        name, files = server.smears(count)
    # Filling before a marker (T.81, B.1.1.2) changes the file, not the picture.
    return name, [(name, data[:2] + b"\xff" * (1 + number) + data[2:]) for name, data in files]


def measure(client: Client, files: list[tuple[str, bytes]], number: int) -> Round:
    patient = server.add_patient(client, number)
    start = time.perf_counter()
    ids = {item["image_id"] for item in client.upload(patient, files)}
    answered = time.perf_counter()
    while True:
        images = client.json("GET", f"/api/images?patient_id={patient}&page_size=200")["items"]
        if {image["id"] for image in images if image["prediction"] is not None} == ids:
            return Round(answered - start, time.perf_counter() - answered)
        if time.perf_counter() - answered > 300:
            raise SystemExit("The predictions do not come.")
        time.sleep(POLL_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if not server.has_classifier():
        raise SystemExit("There is no classifier in models/blood-cells, and so nothing to wait for.")
    rows, worst = [], 0.0
    with server.data_folder() as data:
        server.add_people(data, {"technologist": 1})
        with server.running(data) as running:
            client = running.client("technologist-0@bench.example")
            for kind, what in enumerate(("given", "large")):
                name, rounds, size = "", [], 0
                for number in range(arguments.rounds + 1):
                    name, files = photographs(what, arguments.images, number)
                    size = sum(len(content) for _name, content in files)
                    rounds.append(measure(client, files, kind * 100 + number))
                first, *rounds = rounds  # the decoding processes start with the first
                shown = sorted(timing.shown_s for timing in rounds)
                worst = max(worst, statistics.median(shown))
                uploads = statistics.median(timing.upload_s for timing in rounds)
                rows.append(
                    f"| {name} | {size / arguments.images / 1e6:.2f} | {uploads:.2f} | {statistics.median(shown):.2f} "
                    f"| {shown[-1]:.2f} | {first.upload_s:.2f} + {first.shown_s:.2f} |"
                )
    print(f"{arguments.images} images an upload, medians of {arguments.rounds} rounds; {server.machine()}; SQLite.\n")
    print(
        "| photographs | MB each | upload, s | then until all predictions, s | worst, s | first round, s |\n"
        "|---|---:|---:|---:|---:|---:|"
    )
    print("\n".join(rows))
    print(f"\n- {server.verdict_on(f'all predictions within {TARGET_S:g} s of the upload', worst, TARGET_S)}")


if __name__ == "__main__":
    main()
