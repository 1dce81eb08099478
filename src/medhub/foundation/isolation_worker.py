# SPDX-License-Identifier: Apache-2.0
"""The program of an isolated process (see ``isolation``), and the frames that both sides send.

A frame is a magic word, the length of a JSON text, the text, and segments of bytes whose lengths are in the text. This
module imports little, so that a process starts quickly and stays small.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import socket
import struct
import sys
import traceback
from typing import Any

from medhub.errors import MedhubError
from medhub.foundation.call_codec import call_with_arguments, codec_of_call

HEAD = struct.Struct(">4sI")
MAGIC = b"MHI1"
_RETIRE_ABOVE_BYTES = 320 * 1024**2
_OBJECTS_BETWEEN_COLLECTIONS = 10_000
# After a request of this size garbage is collected at once.
_LARGE_BYTES = 8 * 1024**2


def frame(content: dict[str, Any], segments: list[bytes]) -> list[bytes]:
    """Build a frame as the parts that are to be sent one after the other."""
    text = json.dumps({**content, "segments": [len(segment) for segment in segments]}).encode()
    return [HEAD.pack(MAGIC, len(text)) + text, *segments]


def import_function(name: str) -> Any:
    """Import a function by its module and name, "module:name"."""
    module, _, path = name.partition(":")
    attribute: Any = importlib.import_module(module)
    for part in path.split("."):
        attribute = getattr(attribute, part)
    return attribute


def serve() -> None:
    """Answer the requests of the parent process until it ends."""
    descriptor, parent, memory_bytes = (int(argument) for argument in sys.argv[1:4])
    end_with_parent(parent)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    for module in sys.argv[4:]:
        importlib.import_module(module)
    # Parsers create thousands of small objects a file; collecting garbage among them takes a tenth of their time.
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    with socket.socket(fileno=descriptor) as stream:
        stream.sendall(b"".join(frame({"ready": True}, [])))
        leaving = False
        while not leaving:
            head = _receive_exactly(stream, HEAD.size)
            if not head:
                return
            content = json.loads(_receive_exactly(stream, HEAD.unpack(head)[1]))
            segments = [_receive_exactly(stream, length) for length in content["segments"]]
            large = sum(content["segments"]) > _LARGE_BYTES
            _limit_time(content["timeout_s"])
            answer, parts, leaving = _build_answer(content, segments)
            del content, segments
            if large:
                gc.collect()
            leaving = leaving or _resident_bytes() > _RETIRE_ABOVE_BYTES
            for part in frame({**answer, "leaving": leaving}, parts):
                stream.sendall(part)
            del answer, parts
            signal.setitimer(signal.ITIMER_REAL, 0)


def _build_answer(content: dict[str, Any], segments: list[bytes]) -> tuple[dict[str, Any], list[bytes], bool]:
    parts: list[bytes] = []
    try:
        function = import_function(content["function"])
        result = call_with_arguments(function, content["arguments"], segments)
        return {"value": codec_of_call(function).result.encode(result, parts)}, parts, False
    except MedhubError as error:
        kinds = [f"{kind.__module__}:{kind.__qualname__}" for kind in type(error).__mro__]
        facts = {key: fact for key, fact in error.facts.items() if isinstance(fact, bool | int | float | str)}
        return {"failure": {"kinds": kinds, "message": error.message, "facts": facts}}, [], False
    except MemoryError:
        return {"failure": {"how": "memory"}}, [], True
    except BaseException as error:
        # The text of the error may quote the file; its class and line numbers do not.
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        where = " < ".join(f"{os.path.basename(entry.filename)}:{entry.lineno}" for entry in reversed(frames))
        return {"failure": {"how": "error", "kind": type(error).__name__, "where": where}}, [], True


def forbid_core_dumps() -> None:
    """Keep the memory of this process, with keys and identities, out of core dumps (prctl(2): PR_SET_DUMPABLE).

    The limit alone does not apply to a core_pattern that is a pipe, as on many distributions.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(4, 0, 0, 0, 0)


def end_with_parent(parent: int) -> None:
    """Let the kernel end this process with its parent (prctl(2): PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS).

    Its memory is in no core dump.
    """
    forbid_core_dumps()
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        prctl(1, signal.SIGKILL, 0, 0, 0)
        prctl(38, 1, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _limit_time(timeout_s: float) -> None:
    """Let the kernel end this process two seconds after the time of its call, by the clock and by processor time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + timeout_s) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    signal.setitimer(signal.ITIMER_REAL, timeout_s + 2)


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _receive_exactly(stream: socket.socket, length: int) -> bytes:
    """Read a number of bytes into one object without a copy; empty when the other side has closed the socket."""
    data = stream.recv(length, socket.MSG_WAITALL) if length else b""
    if len(data) == length:
        return data
    parts = [data]
    rest = length - len(data)
    while rest:
        part = stream.recv(rest)
        if not part:
            return b""
        parts.append(part)
        rest -= len(part)
    return b"".join(parts)
