# SPDX-License-Identifier: Apache-2.0
"""C-STORE of 2,000 small CT beside Orthanc, by one and by four associations: ``PYTHONPATH=. python bench/dimse.py``.

Both receive the same files from DCMTK's storescu with ``TCP_NODELAY=1`` on both sides, in turns, each with its
defaults. Medhub's clock stops when the last object is durable, de-identified and indexed, so that it is found by a
query; Orthanc's when the last one is acknowledged, which it is after it was written and indexed. Every round has new
objects. Then a thousand associations one after another, with the memory of Medhub's processes (anonymous PSS: what is
shared with the file system grows whenever some other program of this Python ends).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import server
from pydicom import dcmread
from pydicom.data import get_testdata_file
from tests.factories.dicom_nodes import Listener, Orthanc, program

from medhub.accounts import service as accounts
from medhub.accounts.actor import COMMAND_LINE
from medhub.entrypoints.bootstrap import build
from medhub.foundation.settings import Settings
from medhub.nodes import service as nodes

ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
SERIES = 200
MOST_GROWTH_MB = 5.0
_LONGEST_S = 600.0

DURABILITY = """
- Medhub acknowledges an object when it is sealed in the intake journal and `fdatasync` has returned for it; one sync
  serves all who wait. What it counts here comes later: the cleaned object in its own file (`fsync`, and of its folder)
  and the transaction that indexes it (SQLite, WAL, `synchronous=FULL`).
- Orthanc with `SyncStorageArea` (its default) syncs each file before it acknowledges; its index (SQLite, WAL,
  `synchronous=NORMAL`) may lose its last transactions with the power. It keeps objects as they came.
"""


@dataclass(frozen=True)
class Round:
    """Seconds until all objects were acknowledged, and until all were stored and indexed."""

    acknowledged_s: float
    stored_s: float


def objects(folder: Path, count: int, number: int) -> list[Path]:
    """Copies of pydicom's CT of 39 kB with UIDs of their own, in series of 200."""
    source = get_testdata_file("CT_small.dcm", download=False)
    dataset = dcmread(str(source))
    folder.mkdir()
    root = f"1.2.826.0.1.3680043.10.{os.getpid()}.{number}"
    dataset.PatientID = f"bench-{number}"
    for index in range(count):
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{root}.1", f"{root}.2.{index // SERIES + 1}"
        dataset.SOPInstanceUID, dataset.InstanceNumber = f"{root}.3.{index + 1}", index % SERIES + 1
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{index:05d}.dcm")
    return sorted(folder.iterdir())


def send(files: list[Path], associations: int, called: str, port: int) -> None:
    """Send files by several associations at the same time, and wait for all acknowledgements."""
    senders = [
        subprocess.Popen(
            [program("storescu"), "-aet", "BENCH", "-aec", called, "127.0.0.1", str(port), *files[part::associations]],
            env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for part in range(associations)
    ]  # fmt: skip
    assert [sender.wait(_LONGEST_S) for sender in senders] == [0] * associations


def to_orthanc(orthanc: Orthanc, files: list[Path], associations: int) -> Round:
    """One round with Orthanc."""
    count_before = orthanc.get("/statistics")["CountInstances"]
    start = time.perf_counter()
    send(files, associations, orthanc.title, orthanc.port)
    elapsed_s = time.perf_counter() - start
    assert orthanc.get("/statistics")["CountInstances"] - count_before == len(files)
    return Round(elapsed_s, elapsed_s)


def to_medhub(listener: Listener, files: list[Path], associations: int) -> Round:
    """One round with Medhub."""
    with contextlib.closing(sqlite3.connect(listener.data / "medhub.sqlite")) as database:

        def image_count() -> int:
            return int(database.execute("SELECT count(*) FROM images").fetchone()[0])

        count_before = image_count()
        start = time.perf_counter()
        send(files, associations, "MEDHUB", listener.port)
        acknowledged_s = time.perf_counter() - start
        while image_count() - count_before < len(files):
            assert time.perf_counter() - start < _LONGEST_S
            time.sleep(0.02)
        return Round(acknowledged_s, time.perf_counter() - start)


def memory_mb(listener: Listener) -> float:
    """Memory of the listener and the intake process together, without files that other programs also map."""
    assert listener.process is not None
    total = 0
    for pid in (listener.process.pid, listener.intake_process()):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss_Anon:"))
    return total / 1024


@contextlib.contextmanager
def both() -> Iterator[tuple[Listener, Orthanc, Path]]:
    """Medhub's listener and an Orthanc, each on a fresh folder of the same disk."""
    with tempfile.TemporaryDirectory(prefix="medhub-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        app = build(Settings(data=folder / "data"))
        with app.database.writing() as session:
            project_id = accounts.add_project(session, server.PROJECT).id
            permissions = {
                "host": "",
                "port": 0,
                "only_from_host": False,
                "tls": False,
                "may_store": True,
                "may_query": True,
            }
            nodes.add_node(
                session, COMMAND_LINE, project_id, {"ae_title": "BENCH", "called_ae": "MEDHUB", **permissions}
            )
        app.close()
        orthanc = Orthanc(folder / "orthanc", {"bench": ("BENCH", 104)})
        listener = Listener(folder / "data")
        try:
            yield listener.start(), orthanc, folder
        finally:
            listener.stop()
            orthanc.stop()


def memory_over_associations(listener: Listener, count: int) -> list[tuple[int, float]]:
    """Open and end associations one after another; returns the memory after some of them."""
    measurements = []
    for number in range(1, count + 1):
        subprocess.run(
            [program("echoscu"), "-aet", "BENCH", "-aec", "MEDHUB", "127.0.0.1", str(listener.port)],
            env=ENVIRONMENT, check=True,
        )  # fmt: skip
        if number in (count // 10, count // 2, count):
            time.sleep(1)
            measurements.append((number, memory_mb(listener)))
    return measurements


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--associations", type=int, default=1_000, help="one after another, for the memory")
    arguments = parser.parse_args()
    verdicts = []
    with both() as (listener, orthanc, folder):
        # The decoding processes start with the first objects.
        to_medhub(listener, objects(folder / "warm", 20, 0), 1)
        rows = []
        number = 0
        for associations in (1, 4):
            medhub_rounds, orthanc_rounds = [], []
            for turn in range(arguments.rounds):
                number += 1
                files = objects(folder / str(number), arguments.objects, number)
                for is_medhub in (True, False) if turn % 2 == 0 else (False, True):
                    if is_medhub:
                        medhub_rounds.append(to_medhub(listener, files, associations))
                    else:
                        orthanc_rounds.append(to_orthanc(orthanc, files, associations))
                for path in files:
                    path.unlink()
            rates = [
                arguments.objects / statistics.median(result.stored_s for result in results)
                for results in (medhub_rounds, orthanc_rounds)
            ]
            acknowledged_rate = arguments.objects / statistics.median(result.acknowledged_s for result in medhub_rounds)
            rows.append(
                f"| {associations} | {rates[0]:.0f} | {acknowledged_rate:.0f} | {rates[1]:.0f} "
                f"| {rates[0] / rates[1]:.2f} |"
            )
            verdicts.append(
                f"{'met' if rates[0] >= rates[1] else 'NOT met'}: at least Orthanc's files/s by {associations} "
                f"association{'s' if associations > 1 else ''} ({rates[0]:.0f} of {rates[1]:.0f})"
            )
        measurements = memory_over_associations(listener, arguments.associations)
    growth = measurements[-1][1] - measurements[0][1]
    verdicts.append(
        f"{'met' if growth <= MOST_GROWTH_MB else 'NOT met'}: memory flat over {arguments.associations} associations "
        f"({growth:+.1f} MB from the {measurements[0][0]}th on, at most {MOST_GROWTH_MB:g})"
    )
    print(
        f"{arguments.objects} CT of 39 kB a round, medians of {arguments.rounds}; {server.machine()}; SQLite; "
        f"{program('storescu')} with TCP_NODELAY=1.\n"
    )
    print(
        "| associations | Medhub: kept, files/s | Medhub: acknowledged, files/s | Orthanc, files/s | ratio |\n"
        "|---:|---:|---:|---:|---:|"
    )
    print("\n".join(rows))
    print("\n| associations so far | memory, MB (anonymous PSS) |\n|---:|---:|")
    print("\n".join(f"| {number} | {memory:.0f} |" for number, memory in measurements))
    print(DURABILITY)
    print("\n".join(f"- {verdict}" for verdict in verdicts))


if __name__ == "__main__":
    main()
