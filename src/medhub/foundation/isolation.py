# SPDX-License-Identifier: Apache-2.0
"""Work on hostile bytes in processes of its own, which may loop, crash or eat memory without harm to anybody.

A pool of long-lived processes runs functions of ours that are named by module and name. Arguments and results are
plain values (``None``, bool, int, float, str, bytes, lists and string-keyed dicts of them) in a framed format, bytes
beside JSON. Nothing is unpickled: the process that answers has handled hostile bytes and is not believed.

::

    isolation = Isolation(workers=2, memory_bytes=2 * 1024**3, timeout_s=30)
    values = isolation.run(wire.prepare, data, context.to_wire(), limits.to_wire())
    prepared = Prepared.from_wire(values)

A process is limited in address space and processor time, may write no file, and knows no secret of the environment.
One that exceeds its time, dies or grows is ended and replaced at the next call. When the server is killed, the kernel
ends its processes with it.
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
from medhub.foundation.isolation_worker import HEAD, MAGIC, find, frame, pack, unpack

P = ParamSpec("P")
R = TypeVar("R")

_MOST_JSON_BYTES = 4 * 1024**2
_MOST_SEGMENTS = 256  # three of each file of a batch
_START_S = 30.0


class DecoderFailed(Unavailable):
    """The process apart gave no answer; the fact ``how`` is "timeout", "crash", "memory", "error" or "answer"."""

    code: ClassVar[str] = "decoder-failed"
    title: ClassVar[str] = "The file could not be read"


_SENTENCES = {
    "timeout": "Reading the file took longer than a file is given.",
    "crash": "The program that reads files ended while it read this one.",
    "memory": "Reading the file takes more memory than a file is given.",
    "error": "The file could not be read, for a reason that was not foreseen.",
    "answer": "The program that reads files gave an answer that makes no sense.",
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
        """Call a function of a module in a process apart, and give back what it returns.

        Errors of the tree of ``medhub.errors`` come back as themselves; everything else that goes wrong inside is
        ``DecoderFailed``. Tuples arrive as lists.
        """
        return self.run_within(self._timeout_s, function, *args, **kwargs)

    def run_within(self, timeout_s: float, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do ``run`` for a work that is known to take longer than others."""
        request = _request(function, args, kwargs, timeout_s)
        if not self._slots.acquire(timeout=self._patience_s):
            raise Unavailable("Too many files are being read at the moment. Try again in a minute.")
        try:
            return cast(R, self._run(request, timeout_s))
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

    def _run(self, request: list[bytes], timeout_s: float) -> Any:
        worker = self._take()
        keep = False
        try:
            answer = worker.ask(request, timeout_s, self._memory_bytes)
            keep = not answer.leaving and worker.calls < self._max_calls
            return answer.value()
        except DecoderFailed:
            if self._closed:
                raise Unavailable("The program is stopping. Try again in a minute.") from None
            raise
        finally:
            self._give_back(worker, keep)

    def _take(self) -> _Worker:
        while True:
            with self._lock:
                if self._closed:
                    raise Unavailable("The program is stopping. Try again in a minute.")
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                return self._start()
            if worker.process.poll() is None:
                return worker
            self._give_back(worker, keep=False)

    def _start(self) -> _Worker:
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

    def _give_back(self, worker: _Worker, keep: bool) -> None:
        with self._lock:
            keep = keep and worker in self._all
            if keep:
                self._idle.append(worker)
            else:
                self._all.discard(worker)
        if not keep:
            worker.end()


class _Answer:
    """What a process apart answered: JSON and bytes that are checked before they are used."""

    def __init__(self, content: dict[str, Any], segments: list[bytes]) -> None:
        self._content = content
        self._segments = segments
        self.leaving = content.get("leaving") is True

    def value(self) -> Any:
        if "value" in self._content:
            try:
                return unpack(self._content["value"], self._segments)
            except (ValueError, RecursionError):
                raise _decoder_failed("answer") from None
        failure = self._content.get("failure")
        if isinstance(failure, dict):
            raise _failure(failure)
        raise _decoder_failed("answer")


class _Worker:
    """One process apart and the socket to it; made in the thread that lives as long as the pool."""

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
            self._receive(time.monotonic() + _START_S, 0)
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
        if magic != MAGIC or length > _MOST_JSON_BYTES:
            raise ValueError("no frame")
        content = json.loads(self._read(length, deadline))
        if not isinstance(content, dict) or not isinstance(content.get("segments"), list):
            raise ValueError("no content")
        lengths = content["segments"]
        if not all(type(n) is int and n >= 0 for n in lengths) or len(lengths) > _MOST_SEGMENTS:
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
    """What a process apart knows: where modules are, and that one thread is enough; no setting and no secret."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "VIRTUAL_ENV") if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {
        **kept,
        **threads,
        "MALLOC_ARENA_MAX": "1",
        # Its own allocator takes a gigabyte of addresses at its first use, half of what the process may have.
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _decoder_failed(how: str, **facts: object) -> DecoderFailed:
    return DecoderFailed(_SENTENCES[how], how=how, **facts)


def _failure(failure: dict[str, Any]) -> MedhubError:
    """Make the error anew that was raised in a process apart, if it is one of those that Medhub knows."""
    if "how" in failure:
        how = failure["how"] if failure["how"] in _SENTENCES else "answer"
        return _decoder_failed(how, kind=str(failure.get("kind")), where=str(failure.get("where")))
    known = _kinds(MedhubError)
    for name in failure.get("kinds", ()):
        if name in known and isinstance(failure.get("facts"), dict):
            kind = known[name]
            error = kind.__new__(kind)
            MedhubError.__init__(error, str(failure.get("message")), **failure["facts"])
            return error
    return _decoder_failed("answer")


def _kinds(root: type[MedhubError]) -> dict[str, type[MedhubError]]:
    found = {f"{root.__module__}:{root.__qualname__}": root}
    for kind in root.__subclasses__():
        found |= _kinds(kind)
    return found


def _request(function: Callable[..., Any], args: Any, kwargs: Any, timeout_s: float) -> list[bytes]:
    name = f"{function.__module__}:{function.__qualname__}"
    if function.__module__ == "__main__" or "<" in name or find(name) is not function:
        raise ValueError(f"{name} cannot be found by its name in another process")
    segments: list[bytes] = []
    content = {
        "function": name,
        "args": pack(list(args), segments),
        "kwargs": pack(dict(kwargs), segments),
        "timeout_s": timeout_s,
    }
    return frame(content, segments)
