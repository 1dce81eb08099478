# SPDX-License-Identifier: Apache-2.0
"""A seeded sample of the fuzzer; make fuzz runs ten thousand."""

from __future__ import annotations

from medhub.foundation.isolation import Isolation
from medhub.records.isolated_calls import PRELOADED_MODULES
from tests.fuzz.mutations import MUTATIONS, mutated, samples
from tests.fuzz.receiving import FIRST_SEED, LONGEST_S, MEMORY_BYTES, receive_all

COUNT = 240


def test_no_mutated_file_hangs_crashes_or_passes_without_being_shown_or_refused_in_words() -> None:
    several = samples()
    with Isolation(1, MEMORY_BYTES, LONGEST_S, preload=PRELOADED_MODULES) as isolation:
        report = receive_all(isolation, several, range(FIRST_SEED, FIRST_SEED + COUNT))
    assert not report.wrong
    assert set(report.outcomes) == set(MUTATIONS)
    assert len(report.syntaxes) >= 10


def test_the_same_seed_makes_the_same_file() -> None:
    several = samples()[:10]
    assert [mutated(several, seed) for seed in range(40)] == [mutated(several, seed) for seed in range(40)]
