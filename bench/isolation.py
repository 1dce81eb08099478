# SPDX-License-Identifier: Apache-2.0
"""Calls of isolated processes, beside calls in the same process and beside a pool that pickles.

``.venv/bin/python bench/isolation.py``: reads the patient identifiers of batches of CT files, and one frame of each.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pydicom.data import get_testdata_file

from medhub.foundation.isolation import Isolation
from medhub.science.arrivals.patient_identifiers import read_identifiers_of_files
from medhub.science.imaging.decoding_limits import DecodingLimits
from medhub.science.imaging.rendering.frames import read_frame

ROUNDS = 40


def wall_ms(call: Callable[[], Any]) -> float:
    """Time one call by the clock."""
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def _run_pickled(pool: ProcessPoolExecutor, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return pool.submit(function, *arguments).result()


def main() -> None:
    """Print the table; the three ways take turns, so that a busy machine is busy for all."""
    path = get_testdata_file("CT_small.dcm")
    assert isinstance(path, str)
    file = Path(path).read_bytes()
    limits = DecodingLimits()
    works: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "identifiers of 1 file": (read_identifiers_of_files, ([file], limits)),
        "identifiers of 50 files": (read_identifiers_of_files, ([file] * 50, limits)),
        "one frame as RGB": (read_frame, (file,)),
    }
    modules = tuple({function.__module__ for function, _ in works.values()})
    isolation = Isolation(1, preload=modules)
    # "spawn", as a server with threads needs it.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        print(f"CT of {len(file) / 1e3:.0f} kB, medians of {ROUNDS} rounds, load {os.getloadavg()[0]:.1f}")
        print("| work | same process, ms | Isolation, ms | pool with pickle, ms | Isolation / pool |")
        print("|---|---:|---:|---:|---:|")
        for title, (function, arguments) in works.items():
            ways: tuple[Callable[[], Any], ...] = (
                partial(function, *arguments),
                partial(isolation.run, function, *arguments),
                partial(_run_pickled, pool, function, arguments),
            )
            for call in ways:
                call()
            rounds = [[wall_ms(call) for call in ways] for _ in range(ROUNDS)]
            same, isolated, pickled = (statistics.median(times) for times in zip(*rounds, strict=True))
            print(f"| {title} | {same:.2f} | {isolated:.2f} | {pickled:.2f} | {isolated / pickled:.2f} |")
    isolation.close()


if __name__ == "__main__":
    main()
