# SPDX-License-Identifier: Apache-2.0
"""Random numbers that are the same in every run with the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def fix_seed(seed: int, threads: int | None = None) -> Iterator[None]:
    """Run with a fixed seed and number of threads, so that the same machine computes the same numbers again."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)


def derive_seed(seed: int, epoch: int, step: int) -> int:
    """Derive the seed of one step. Steps below 0 are for purposes that are not a step, such as the order of images."""
    return int(np.random.SeedSequence([seed, epoch, step + 8]).generate_state(1)[0])
