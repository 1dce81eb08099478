# SPDX-License-Identifier: Apache-2.0
"""Functions that read hostile bytes, run in processes that may loop, crash or exhaust memory without harm to others.

A pool of long-lived processes runs functions that are named by module and name. Arguments and results have the types
that the function declares by annotations (``message_codec`` lists the types) and travel in a framed format: JSON, and
segments of bytes. Nothing is unpickled: the process that answers has handled hostile bytes, so that every answer is
checked against the declared type of the result.

::

    isolation = Isolation(workers=2, memory_bytes=2 * 1024**3, timeout_s=30)
    image = isolation.run(prepare_arrival, data, context=context, limits=limits)  # a CleanedImage

A process has limited address space and processor time, may write no file, and knows no secret of the environment. One
that exceeds its time, ends or grows is killed and replaced at the next call. When the server is killed, the kernel ends
its processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, ClassVar, ParamSpec, TypeVar, cast

from medhub.errors import MedhubError, Unavailable
from medhub.foundation.call_codec import codec_of_call, encode_arguments
from medhub.foundation.isolation_worker import HEAD, MAGIC, frame, import_function
from medhub.foundation.message_codec import MAX_JSON_BYTES
from medhub.foundation.work_pools import check_wanted, wait_for

P = ParamSpec("P")
R = TypeVar("R")

_MAX_SEGMENTS = 256  # three of each file of a batch
_MAX_FACT_CHARACTERS = 1_000
_START_TIMEOUT_S = 30.0


class DecoderFailed(Unavailable):
    """The isolated process gave no answer; the fact ``how`` is "timeout", "crash", "memory", "error" or "answer"."""

    code: ClassVar[str] = "decoder-failed"
    title: ClassVar[str] = "The file could not be read"
    temporary: ClassVar[bool] = False  # the file is the reason


_SENTENCES = {
    "timeout": "Reading the file took longer than is allowed for a file.",
    "crash": "The program that reads files ended while it read this file.",
    "memory": "Reading the file takes more memory than is allowed for a file.",
    "error": "The file could not be read, for an unexpected reason.",
    "answer": "The program that reads files gave an invalid answer.",
}


class Isolation:
    """A pool of processes that can be killed; safe to use from many threads."""

    def __init__(
        self,
        workers: int = 2,
        memory_bytes: int = 2 * 1024**3,
        timeout_s: float = 30.0,
        *,
        preload: Sequence[str] = (),
        max_calls: int = 2_000,
        patience_s: float = 120.0,
    ) -> None:
        """Prepare the pool; its processes start when they are first needed.

        ``preload`` names modules that a process imports before its first call, ``max_calls`` is the number of calls
        after which a process is replaced, ``patience_s`` how long a call waits for a free process.
        """
        if workers < 1:
            raise ValueError("a pool has at least one worker")
        self._memory_bytes = memory_bytes
        self._timeout_s = timeout_s
        self._preload = tuple(preload)
        self._max_calls = max_calls
        self._patience_s = patience_s
        self._slots = threading.BoundedSemaphore(workers)
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._closed = False
        # The kernel ends a child when the *thread* that started it ends (PR_SET_PDEATHSIG), so that one thread, which
        # lives as long as the pool, starts all of them.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="isolation")

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function of a module in an isolated process, and return its result.

        Errors of the tree of ``medhub.errors`` are raised as themselves; every other failure, and a result of another
        type than declared, is ``DecoderFailed``. A function without annotations takes and returns plain values, in
        which tuples become lists.
        """
        return self.run_within(self._timeout_s, function, *args, **kwargs)

    def run_within(self, timeout_s: float, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do ``run`` with another timeout."""
        request = _build_request(function, args, kwargs, timeout_s)
        if not wait_for(self._slots, self._patience_s):
            raise Unavailable("Too many files are being read at the moment. Try again in a minute.")
        try:
            check_wanted()
            return cast(R, self._exchange(function, request, timeout_s))
        finally:
            self._slots.release()

    def close(self) -> None:
        """End all processes; calls under way fail with ``Unavailable``."""
        with self._lock:
            self._closed = True
            workers, self._all, self._idle = list(self._all), set(), []
        for worker in workers:
            worker.end()
        self._starter.shutdown(wait=True)

    def __enter__(self) -> Isolation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def process_ids(self) -> list[int]:
        """The processes that live now."""
        with self._lock:
            return sorted(worker.process.pid for worker in self._all)

    def _exchange(self, function: Callable[..., Any], request: list[bytes], timeout_s: float) -> Any:
        worker = self._acquire_worker()
        reusable = False
        try:
            answer = worker.ask(request, timeout_s, self._memory_bytes)
            reusable = not answer.leaving and worker.calls < self._max_calls
            return answer.decode_value(function)
        except DecoderFailed:
            reusable = False
            if self._closed:
                raise Unavailable("The program is stopping. Try again in a minute.") from None
            raise
        finally:
            self._release_worker(worker, reusable)

    def _acquire_worker(self) -> _Worker:
        while True:
            with self._lock:
                if self._closed:
                    raise Unavailable("The program is stopping. Try again in a minute.")
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                return self._start_worker()
            if worker.process.poll() is None:
                return worker
            self._release_worker(worker, reusable=False)

    def _start_worker(self) -> _Worker:
        try:
            worker = self._starter.submit(_Worker, self._memory_bytes, self._preload).result()
        except (OSError, RuntimeError) as error:
            raise Unavailable("No process can be started to read files.", cause=type(error).__name__) from error
        try:
            worker.wait_until_ready()
        except Unavailable:
            worker.end()
            raise
        with self._lock:
            if not self._closed:
                self._all.add(worker)
                return worker
        worker.end()
        raise Unavailable("The program is stopping. Try again in a minute.")

    def _release_worker(self, worker: _Worker, reusable: bool) -> None:
        with self._lock:
            reusable = reusable and worker in self._all
            if reusable:
                self._idle.append(worker)
            else:
                self._all.discard(worker)
        if not reusable:
            worker.end()


class _Answer:
    """The answer of an isolated process: JSON and segments, which are checked before they are used."""

    def __init__(self, content: dict[str, Any], segments: list[bytes]) -> None:
        self._content = content
        self._segments = segments
        self.leaving = content.get("leaving") is True

    def decode_value(self, function: Callable[..., Any]) -> Any:
        """Return the result of the function, or raise the failure that the process reported."""
        if "value" in self._content:
            try:
                return codec_of_call(function).result.decode(self._content["value"], self._segments)
            # The checks of a record's constructor may raise other errors for values that are none of its own.
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
                raise _decoder_failed("answer") from None
        raise _rebuild_failure(self._content.get("failure"))


class _Worker:
    """One isolated process and the socket to it; created in the thread that lives as long as the pool."""

    def __init__(self, memory_bytes: int, preload: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        program = "from medhub.foundation.isolation_worker import serve; serve()"
        arguments = [str(theirs.fileno()), str(os.getpid()), str(memory_bytes), *preload]
        with theirs:
            try:
                self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own program
                    [sys.executable, "-c", program, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    # Libraries write there what they find in hostile bytes.
                    stderr=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    env=_environment(),
                    cwd="/",
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        self._socket = ours
        self.calls = 0

    def ask(self, request: list[bytes], timeout_s: float, most_bytes: int) -> _Answer:
        """Send a request and wait for its answer, for the time of a call (and of a start, at the first)."""
        deadline = time.monotonic() + timeout_s
        self.calls += 1
        try:
            for part in request:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                self._socket.sendall(part)
            return self._receive(deadline, most_bytes)
        except TimeoutError:
            raise _decoder_failed("timeout") from None
        except (OSError, EOFError):
            raise _decoder_failed("crash" if self._killed_by() != signal.SIGXCPU else "timeout") from None
        except (ValueError, RecursionError):
            raise _decoder_failed("answer") from None

    def wait_until_ready(self) -> None:
        """Wait until the process has imported what it needs."""
        try:
            self._receive(time.monotonic() + _START_TIMEOUT_S, 0)
        except (OSError, EOFError, ValueError) as error:
            raise Unavailable("The program that reads files does not start.", cause=type(error).__name__) from error

    def _killed_by(self) -> int:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return -self.process.wait(5.0)
        return 0

    def end(self) -> None:
        """Kill the process and whatever it started."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
        self._socket.close()

    def _receive(self, deadline: float, most_bytes: int) -> _Answer:
        magic, length = HEAD.unpack(self._read(HEAD.size, deadline))
        if magic != MAGIC or length > MAX_JSON_BYTES:
            raise ValueError("no frame")
        content = json.loads(self._read(length, deadline))
        if not isinstance(content, dict) or not isinstance(content.get("segments"), list):
            raise ValueError("no content")
        lengths = content["segments"]
        if not all(type(n) is int and n >= 0 for n in lengths) or len(lengths) > _MAX_SEGMENTS:
            raise ValueError("no segments")
        if sum(lengths) > most_bytes:
            raise ValueError("more bytes than the process can hold")
        return _Answer(content, [self._read(n, deadline) for n in lengths])

    def _read(self, length: int, deadline: float) -> bytes:
        buffer = bytearray(length)
        rest = memoryview(buffer)
        while rest:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            count = self._socket.recv_into(rest)
            if not count:
                raise EOFError
            rest = rest[count:]
        return bytes(buffer)


def _environment() -> dict[str, str]:
    """The environment of an isolated process: where modules are, and one thread; no setting and no secret."""
    inherited = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "VIRTUAL_ENV") if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {
        **inherited,
        **threads,
        "MALLOC_ARENA_MAX": "1",
        # Arrow's own allocator reserves a gigabyte of addresses at its first use, half of what the process may have.
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _decoder_failed(how: str, **facts: object) -> DecoderFailed:
    return DecoderFailed(_SENTENCES[how], how=how, **facts)


def _rebuild_failure(failure: Any) -> MedhubError:
    """Rebuild the error that was raised in an isolated process, if it is of a class that Medhub defines."""
    if not isinstance(failure, dict):
        return _decoder_failed("answer")
    if "how" in failure:
        how = failure["how"]
        known_how = how if isinstance(how, str) and how in _SENTENCES else "answer"
        return _decoder_failed(known_how, kind=_shorten(failure.get("kind")), where=_shorten(failure.get("where")))
    names, facts, message = failure.get("kinds"), failure.get("facts"), failure.get("message")
    if not isinstance(names, list) or not isinstance(facts, dict) or not isinstance(message, str):
        return _decoder_failed("answer")
    known = _error_classes(MedhubError)
    for name in names:
        if isinstance(name, str) and name in known:
            plain = {key: fact for key, fact in facts.items() if isinstance(fact, bool | int | float | str)}
            error = known[name].__new__(known[name])
            MedhubError.__init__(error, _shorten(message), **{key: plain[key] for key in plain if key != "message"})
            return error
    return _decoder_failed("answer")


def _shorten(text: object) -> str:
    return str(text)[:_MAX_FACT_CHARACTERS]


def _error_classes(root: type[MedhubError]) -> dict[str, type[MedhubError]]:
    classes = {f"{root.__module__}:{root.__qualname__}": root}
    for error_class in root.__subclasses__():
        classes |= _error_classes(error_class)
    return classes


def _build_request(function: Callable[..., Any], args: Any, kwargs: Any, timeout_s: float) -> list[bytes]:
    name = f"{function.__module__}:{function.__qualname__}"
    if function.__module__ == "__main__" or "<" in name or import_function(name) is not function:
        raise ValueError(f"{name} cannot be imported by its name in another process")
    segments: list[bytes] = []
    arguments = encode_arguments(function, args, kwargs, segments)
    return frame({"function": name, "arguments": arguments, "timeout_s": timeout_s}, segments)
