# SPDX-License-Identifier: Apache-2.0
"""Doing several things at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")

LONGEST_S = 120.0


def together(*acts: Callable[[], R]) -> list[R]:
    """Start every act at the same moment, each in a thread of its own, and return their results in order."""
    start = threading.Barrier(len(acts))
    results: dict[int, R] = {}
    errors: list[BaseException] = []

    def run(number: int, act: Callable[[], R]) -> None:
        try:
            start.wait(LONGEST_S)
            results[number] = act()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONGEST_S)
    if errors:
        raise errors[0]
    if len(results) != len(acts):
        raise TimeoutError(f"{len(acts) - len(results)} of {len(acts)} threads did not end")
    return [results[number] for number in range(len(acts))]
