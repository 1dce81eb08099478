# SPDX-License-Identifier: Apache-2.0
"""A cache of function results by the identity of the argument."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

_MAX_RESULTS = 64

ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")


def cached_by_identity(function: Callable[[ArgumentT], ResultT]) -> Callable[[ArgumentT], ResultT]:
    """Cache the results of a function by the identity of its argument, without hashing or comparing it.

    For arguments that are never changed and are passed again and again.
    """
    results: OrderedDict[int, tuple[ArgumentT, ResultT]] = OrderedDict()  # references keep the ids from being reused

    @wraps(function)
    def call(argument: ArgumentT) -> ResultT:
        cached = results.get(id(argument))
        if cached is not None:
            return cached[1]
        result = function(argument)
        results[id(argument)] = (argument, result)
        if len(results) > _MAX_RESULTS:
            results.popitem(last=False)
        return result

    return call
