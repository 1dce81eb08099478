# SPDX-License-Identifier: Apache-2.0
"""Threads by kind of work, so that lists never wait for uploads, pictures, or other machines.

Plain route functions share the default threads, whose work takes milliseconds. A route that waits for an isolated
process or for the network names its kind of work, and waits only for the threads of that kind::

    @images.get("/{id}/rendered")
    @work_pools.runs_in("rendering")
    def read_rendered(call: ..., id: ItemId) -> Response: ...
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

if TYPE_CHECKING:
    from starlette.types import Receive

P = ParamSpec("P")
R = TypeVar("R")

Work = Literal["upload", "rendering", "outside", "probe"]
# "outside": other machines, and documents that take seconds; "probe": readiness and metrics.
THREADS: dict[Work, int] = {"upload": 4, "rendering": 4, "outside": 2, "probe": 2}

_limiters: RunVar[dict[Work, CapacityLimiter]] = RunVar("medhub_work_pools")
_abandoned: ContextVar[threading.Event | None] = ContextVar("medhub_abandoned", default=None)


class WorkAbandoned(Exception):
    """The client that asked for the work has gone."""


def limiter(work: Work) -> CapacityLimiter:
    """The threads of a kind of work in this event loop."""
    limiters = _limiters.get({})
    if work not in limiters:
        limiters[work] = CapacityLimiter(THREADS[work])
        _limiters.set(limiters)
    return limiters[work]


async def run_in(work: Work, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function in a thread of a kind of work, as soon as one is free."""
    return await to_thread.run_sync(functools.partial(function, *args, **kwargs), limiter=limiter(work))


def runs_in(work: Work) -> Callable[[Callable[P, R]], Callable[P, Awaitable[R]]]:
    """Make a plain route function run in the threads of a kind of work."""

    def decorate(function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
        @functools.wraps(function)
        async def run(*args: P.args, **kwargs: P.kwargs) -> R:
            return await run_in(work, function, *args, **kwargs)

        return run

    return decorate


async def run_until_disconnect(
    receive: Receive, work: Work, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run a function in a thread of a kind of work, and give it up when the client disconnects.

    The body of the request must have been read to its end. Work that waits for a thread or an isolated process is not
    started any more; a step that has started is finished.

    Raises
    ------
    WorkAbandoned
        The client has disconnected, and the function has no result.
    """
    gone = threading.Event()
    results: list[R] = []
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        with abandoned_with(gone):
            try:
                results.append(await run_in(work, function, *args, **kwargs))
            except Exception as error:  # a task group would wrap it in a group
                failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not results:
        raise WorkAbandoned
    return results[0]


@contextmanager
def abandoned_with(gone: threading.Event | None) -> Iterator[None]:
    """Give up the work of this block, also in other threads with its context, when the event, if any, is set."""
    token = _abandoned.set(gone)
    try:
        yield
    finally:
        _abandoned.reset(token)


def check_wanted() -> None:
    """Raise ``WorkAbandoned`` where nobody waits for the current work any more."""
    gone = _abandoned.get()
    if gone is not None and gone.is_set():
        raise WorkAbandoned


def wait_for(semaphore: threading.Semaphore, timeout_s: float) -> bool:
    """Acquire a semaphore within a time, unless the work is abandoned meanwhile."""
    if _abandoned.get() is None:
        return semaphore.acquire(timeout=timeout_s)
    step_s, waited_s = 0.25, 0.0
    while waited_s < timeout_s:
        check_wanted()
        if semaphore.acquire(timeout=min(step_s, timeout_s - waited_s)):
            return True
        waited_s += step_s
    return False


def keep_context(function: Callable[P, R]) -> Callable[P, R]:
    """The function with the abandonment of the caller, for other threads."""
    gone = _abandoned.get()

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with abandoned_with(gone):
            return function(*args, **kwargs)

    return run
