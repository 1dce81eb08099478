# SPDX-License-Identifier: Apache-2.0
"""What runs inside a process apart (see ``isolation``), and the frames in which both sides talk.

A frame is a magic word, the length of a JSON text, the text, and segments of bytes whose lengths the text gives. This
module imports little, so that a process starts soon and stays small.
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

HEAD = struct.Struct(">4sI")
MAGIC = b"MHI1"
_RETIRE_ABOVE_BYTES = 320 * 1024**2
_OBJECTS_BETWEEN_LOOKS = 10_000
# What so large a request leaves behind goes at once.
_LARGE_BYTES = 8 * 1024**2


def frame(content: dict[str, Any], segments: list[bytes]) -> list[bytes]:
    """Write a frame as the parts that are to be sent."""
    text = json.dumps({**content, "segments": [len(segment) for segment in segments]}).encode()
    return [HEAD.pack(MAGIC, len(text)) + text, *segments]


def find(name: str) -> Any:
    """Find a function by its module and name, "module:name"."""
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def pack(value: Any, segments: list[bytes]) -> Any:
    """Put bytes aside and leave their number, so that the rest is JSON."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        segments.append(bytes(value) if not isinstance(value, bytes) else value)
        return {"$bytes": len(segments) - 1}
    if isinstance(value, list | tuple):
        return [pack(item, segments) for item in value]
    if isinstance(value, dict) and "$bytes" not in value and all(isinstance(key, str) for key in value):
        return {key: pack(item, segments) for key, item in value.items()}
    raise TypeError(f"a {type(value).__name__} does not travel between processes")


def unpack(value: Any, segments: list[bytes]) -> Any:
    """Put bytes back in their places; ``ValueError`` when there are no such bytes."""
    if isinstance(value, list):
        return [unpack(item, segments) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"$bytes"}:
            number = value["$bytes"]
            if type(number) is not int or not 0 <= number < len(segments):
                raise ValueError("no such segment")
            return segments[number]
        return {key: unpack(item, segments) for key, item in value.items()}
    return value


def serve() -> None:
    """Answer the requests of the process that started this one until it goes; the program of a process apart."""
    descriptor, parent, memory_bytes = (int(argument) for argument in sys.argv[1:4])
    end_with_parent(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    for module in sys.argv[4:]:
        importlib.import_module(module)
    # Parsers make thousands of small objects a file; looking through them for garbage takes a tenth of their time.
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_LOOKS)
    with socket.socket(fileno=descriptor) as stream:
        stream.sendall(b"".join(frame({"ready": True}, [])))
        leaving = False
        while not leaving:
            head = _take_exactly(stream, HEAD.size)
            if not head:
                return
            content = json.loads(_take_exactly(stream, HEAD.unpack(head)[1]))
            segments = [_take_exactly(stream, length) for length in content["segments"]]
            large = sum(content["segments"]) > _LARGE_BYTES
            _limit_time(content["timeout_s"])
            answer, parts, leaving = _answer(content, segments)
            del content, segments
            if large:
                gc.collect()
            leaving = leaving or _resident_bytes() > _RETIRE_ABOVE_BYTES
            for part in frame({**answer, "leaving": leaving}, parts):
                stream.sendall(part)
            del answer, parts
            signal.setitimer(signal.ITIMER_REAL, 0)


def _answer(content: dict[str, Any], segments: list[bytes]) -> tuple[dict[str, Any], list[bytes], bool]:
    parts: list[bytes] = []
    try:
        function = find(content["function"])
        value = function(*unpack(content["args"], segments), **unpack(content["kwargs"], segments))
        return {"value": pack(value, parts)}, parts, False
    except MedhubError as error:
        kinds = [f"{kind.__module__}:{kind.__qualname__}" for kind in type(error).__mro__]
        facts = {key: fact for key, fact in error.facts.items() if isinstance(fact, bool | int | float | str)}
        return {"failure": {"kinds": kinds, "message": error.message, "facts": facts}}, [], False
    except MemoryError:
        return {"failure": {"how": "memory"}}, [], True
    except BaseException as error:
        # The text of the error may quote the file; its kind and place do not.
        places = traceback.extract_tb(error.__traceback__)[-4:]
        where = " < ".join(f"{os.path.basename(place.filename)}:{place.lineno}" for place in reversed(places))
        return {"failure": {"how": "error", "kind": type(error).__name__, "where": where}}, [], True


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process with its parent (prctl(2), PR_SET_PDEATHSIG), and gain no rights by programs."""
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        prctl(1, signal.SIGKILL, 0, 0, 0)
        prctl(38, 1, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _limit_time(timeout_s: float) -> None:
    """End this process in any case a little after its call should have ended, by the clock and by the processor."""
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


def _take_exactly(stream: socket.socket, length: int) -> bytes:
    """Read so many bytes into one object without a copy; empty when the other side has gone."""
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
