# SPDX-License-Identifier: Apache-2.0
"""What becomes of every DICOM file of a folder: taken in as what, or not and why.

PYTHONPATH=. python bench/reading.py [FOLDER]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from medhub.science.arrivals.cleaned_image import CleaningContext
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.deid.profile import find_profile
from medhub.science.imaging.content.summary import content_of
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.dicom.received_file import is_dicom, quiet
from medhub.science.imaging.rendering.frames import read_frame

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "dicom"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DATA)
    parser.add_argument("--profile", default="research-max-utility")
    chosen = parser.parse_args()
    context = CleaningContext(
        uid_key=b"a key of the benchmark",
        patient_code="P-1",
        received_at=datetime.now(UTC),
        profile=find_profile(chosen.profile),
    )
    taken: dict[str, Counter[str]] = defaultdict(Counter)
    refused: list[tuple[str, str, str]] = []
    held: list[str] = []
    times: list[float] = []
    for path in sorted(chosen.folder.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        if not is_dicom(data):
            continue
        folder = path.relative_to(chosen.folder).parts[0]
        start = time.perf_counter()
        try:
            with quiet():
                prepared = prepare_arrival(data, context=context, limits=DecodingLimits())
                for frame in sorted({0, prepared.frames - 1}) if prepared.frames else ():
                    read_frame(prepared.dicom, frame)
                if prepared.shown_as != "image":
                    content_of(prepared.dicom)
            taken[folder][prepared.shown_as] += 1
            times.append(time.perf_counter() - start)
            if prepared.shown_as == "document":
                held.append(str(path.relative_to(chosen.folder)))
        except Unacceptable as refusal:
            taken[folder][f"not: {refusal.reason}"] += 1
            refused.append((str(path.relative_to(chosen.folder)), refusal.reason, refusal.message))
    draw(taken, refused, held, times)


def draw(
    outcomes: dict[str, Counter[str]], refusals: list[tuple[str, str, str]], held: list[str], times: list[float]
) -> None:
    console = Console(width=200)
    columns = sorted(
        {column for counts in outcomes.values() for column in counts}, key=lambda name: ("not" in name, name)
    )
    table = Table("folder", *columns, "files", title="What becomes of the DICOM files of each folder")
    for folder, counts in sorted(outcomes.items()):
        table.add_row(folder, *(str(counts[column] or "") for column in columns), str(counts.total()))
    total = sum(outcomes.values(), Counter[str]())
    table.add_row("all", *(str(total[column] or "") for column in columns), str(total.total()))
    console.print(table)
    reasons = Table("file", "reason", "sentence", title="Not taken in, and why")
    by_sentence: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, reason, sentence in refusals:
        by_sentence[reason, sentence].append(name)
    for (reason, sentence), names in by_sentence.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        reasons.add_row("\n".join(names[:3]) + more, reason, sentence)
    console.print(reasons)
    for name in held:
        console.print(f"held for a person: {name}")
    if times:
        console.print(f"median {1000 * statistics.median(times):.0f} ms a file, longest {max(times):.2f} s")


if __name__ == "__main__":
    main()
