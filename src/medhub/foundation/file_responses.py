# SPDX-License-Identifier: Apache-2.0
"""Sending a part of a file in pieces, as fast as the other end takes them, so that no answer lies in memory whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread
from fastapi import Response
from starlette.types import Receive, Scope, Send

PIECE_BYTES = 256 * 1024


@dataclass(frozen=True)
class Span:
    """Where in a file something lies."""

    path: Path
    start: int
    length: int

    @classmethod
    def whole(cls, path: Path) -> Span:
        """All of a file."""
        return cls(path, 0, path.stat().st_size)


class SpanResponse(Response):
    """An answer whose body is a part of a file."""

    def __init__(self, span: Span, *, media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(headers={**headers, "Content-Length": str(span.length)}, media_type=media_type)
        self.span = span

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send piece after piece; each waits until the one before it has left."""
        at, end = self.span.start, self.span.start + self.span.length
        descriptor = os.open(self.span.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while True:
                piece = await _read(descriptor, min(PIECE_BYTES, end - at), at)
                at += len(piece)
                if not piece and at < end:
                    raise OSError(f"The file ends {end - at} bytes too early.")
                await send({"type": "http.response.body", "body": piece, "more_body": at < end})
                if at >= end:
                    return
        finally:
            os.close(descriptor)


async def _read(descriptor: int, length: int, at: int) -> bytes:
    """Read what the kernel has in memory at once, and what it must fetch from the disk in another thread."""
    if hasattr(os, "RWF_NOWAIT"):
        piece = bytearray(length)
        try:
            count = os.preadv(descriptor, [piece], at, os.RWF_NOWAIT)
        except OSError:  # it is not in memory, or this file system cannot tell
            pass
        else:
            return bytes(piece) if count == length else bytes(piece[:count])
    return await to_thread.run_sync(os.pread, descriptor, length, at)
