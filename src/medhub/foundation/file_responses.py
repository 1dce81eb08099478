# SPDX-License-Identifier: Apache-2.0
"""Responses that stream a range of a file in chunks, as fast as the client reads, so that no file is held in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import Response
from starlette.types import Receive, Scope, Send

from medhub.foundation.work_pools import run_in

CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True)
class FileRange:
    """A contiguous range of bytes of a file."""

    path: Path
    start: int
    length: int

    @classmethod
    def of_file(cls, path: Path) -> FileRange:
        """The range of the entire file."""
        return cls(path, 0, path.stat().st_size)


class FileRangeResponse(Response):
    """A response whose body is a range of a file."""

    def __init__(self, file_range: FileRange, *, media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(headers={**headers, "Content-Length": str(file_range.length)}, media_type=media_type)
        self.file_range = file_range

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the chunks in order; each waits until the previous chunk has been sent."""
        position, end = self.file_range.start, self.file_range.start + self.file_range.length
        descriptor = os.open(self.file_range.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while True:
                chunk = await _read(descriptor, min(CHUNK_BYTES, end - position), position)
                position += len(chunk)
                if not chunk and position < end:
                    raise OSError(f"The file ends {end - position} bytes too early.")
                await send({"type": "http.response.body", "body": chunk, "more_body": position < end})
                if position >= end:
                    return
        finally:
            os.close(descriptor)


async def _read(descriptor: int, length: int, position: int) -> bytes:
    """Read what is in the page cache at once; read the rest from the disk in another thread."""
    if hasattr(os, "RWF_NOWAIT"):
        chunk = bytearray(length)
        try:
            count = os.preadv(descriptor, [chunk], position, os.RWF_NOWAIT)
        except OSError:  # not in the page cache, or the file system does not support the flag
            pass
        else:
            return bytes(chunk) if count == length else bytes(chunk[:count])
    return await run_in("rendering", os.pread, descriptor, length, position)
