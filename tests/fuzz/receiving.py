# SPDX-License-Identifier: Apache-2.0
"""The functions of the receive path on mutated files, in the process in which files are read; make fuzz runs all.

python -m tests.fuzz.receiving --count 10000
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from medhub.errors import MedhubError
from medhub.foundation.isolation import DecoderFailed, Isolation
from medhub.records.isolated_calls import PRELOADED_MODULES
from medhub.science.arrivals.cleaned_image import CleanedImage, CleaningContext
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers, read_identifiers_of_files
from medhub.science.deid.profile import find_profile
from medhub.science.imaging.content.summary import content_of
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.rendering.frames import read_frame
from tests.fuzz.mutations import Sample, mutated, samples

LONGEST_S = 10.0
MEMORY_BYTES = 1536 * 1024**2
FIRST_SEED = 42


@dataclass
class FuzzReport:
    """The outcomes of the mutated files."""

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)  # by mutation
    syntaxes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    def add(self, mutation: str, outcome: str, syntax: str) -> None:
        """Count one outcome."""
        self.outcomes.setdefault(mutation, Counter())[outcome] += 1
        self.syntaxes[syntax] += 1


def receive_all(isolation: Isolation, several: list[Sample], seeds: range) -> FuzzReport:
    """Receive the mutation of each seed; outcomes that must not happen are listed in ``wrong``."""
    report = FuzzReport()
    profiles = [find_profile(name) for name in ("clinical-photo", "research-max-utility")]
    for seed in seeds:
        sample, mutation, data = mutated(several, seed)
        context = CleaningContext(
            uid_key=b"a key of the fuzzer",
            patient_code="P-1",
            received_at=datetime.now(UTC),
            profile=profiles[seed % 2],
        )
        start = time.monotonic()
        try:
            outcome = _receive_file(isolation, data, context)
        # Any other error of the isolated process is a fault.
        except Exception as error:
            outcome = f"WRONG: {type(error).__name__} {error}"
        took = time.monotonic() - start
        report.slowest_s = max(report.slowest_s, took)
        if outcome.startswith("WRONG") or outcome in ("held: timeout", "held: error", "held: answer"):
            report.wrong.append(f"seed {seed}, {sample.name}, {mutation}: {outcome} after {took:.1f} s")
        report.add(mutation, outcome.partition(":")[0] if outcome.startswith("WRONG") else outcome, sample.syntax)
    return report


def _receive_file(isolation: Isolation, data: bytes, context: CleaningContext) -> str:
    limits = DecodingLimits()
    try:
        (answer,) = isolation.run(read_identifiers_of_files, [data], limits)
        assert isinstance(answer, PatientIdentifiers) or answer.message.endswith(".")
        prepared = isolation.run(prepare_arrival, data, context=context, limits=limits)
    except Unacceptable as refusal:
        return f"not: {refusal.reason}" if refusal.message.endswith(".") else "WRONG"
    except DecoderFailed as failure:
        return f"held: {failure.facts.get('how')}"
    for uid in (prepared.sop_instance_uid, prepared.study_instance_uid, prepared.series_instance_uid):
        assert set(uid) <= set("0123456789."), "a UID that is none"
        assert len(uid) <= 64, "a UID that is too long"
    return _show_frames(isolation, prepared)


def _show_frames(isolation: Isolation, prepared: CleanedImage) -> str:
    """Whether an accepted file can be shown, or says why not."""
    try:
        if prepared.frames:
            for frame in sorted({0, prepared.frames - 1}):
                picture = isolation.run(read_frame, prepared.dicom, frame)
                assert picture.shape == (prepared.rows, prepared.columns, 3)
        if prepared.shown_as != "image":
            content = isolation.run(content_of, prepared.dicom)
            assert content["shown_as"] == prepared.shown_as
    except DecoderFailed as failure:
        return f"held: {failure.facts.get('how')}"
    except MedhubError as refusal:
        return "taken, and says why it is not shown" if refusal.message.endswith(".") else "WRONG"
    return "taken and shown"


def main() -> int:
    """Run the fuzzer, print its table, and say by the exit code whether anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    chosen = parser.parse_args()
    several = samples()
    start = time.monotonic()
    with Isolation(1, MEMORY_BYTES, LONGEST_S, preload=PRELOADED_MODULES) as isolation:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        report = receive_all(isolation, several, range(chosen.seed, chosen.seed + chosen.count))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    columns = sorted(
        {name for counts in report.outcomes.values() for name in counts}, key=lambda name: (name[0] != "t", name)
    )
    table = Table("mutation", *columns, "files", title=f"{chosen.count:,} mutated files of {len(several)} real ones")
    for mutation, counts in sorted(report.outcomes.items()):
        table.add_row(mutation, *(str(counts[name] or "") for name in columns), str(counts.total()))
    total = sum(report.outcomes.values(), Counter[str]())
    table.add_row("all", *(str(total[name] or "") for name in columns), str(total.total()))
    console = Console(width=220)
    console.print(table)
    console.print(f"transfer syntaxes: {len(report.syntaxes)} ({', '.join(sorted(report.syntaxes))})")
    console.print(
        f"slowest {report.slowest_s:.2f} s (limit {LONGEST_S:.0f} s a call), memory of the process apart limited to "
        f"{MEMORY_BYTES // 1024**2} MiB, memory of this process grew by {grown / 1024:.0f} MiB, "
        f"{time.monotonic() - start:.0f} s in all"
    )
    for line in report.wrong:
        console.print(f"WRONG: {line}")
    console.print(f"{len(report.wrong)} wrong")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
