# SPDX-License-Identifier: Apache-2.0
"""A cache of function results by the identity of the argument."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import TypeVar

from cachetools import FIFOCache, cached

_MAX_RESULTS = 64

ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")


def cached_by_identity(function: Callable[[ArgumentT], ResultT]) -> Callable[[ArgumentT], ResultT]:
    """Cache the results of a function by the identity of its argument, without hashing or comparing it.

    For arguments that are never changed and are passed again and again.
    """

    # A result refers to its argument, so that no other object has the same id while the result is cached.
    @cached(FIFOCache(maxsize=_MAX_RESULTS), key=id, lock=Lock())
    def call_once(argument: ArgumentT) -> tuple[ArgumentT, ResultT]:
        return argument, function(argument)

    @wraps(function)
    def call(argument: ArgumentT) -> ResultT:
        return call_once(argument)[1]

    return call
