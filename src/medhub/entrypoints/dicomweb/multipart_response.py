# SPDX-License-Identifier: Apache-2.0
"""Answers in several parts, sent piece by piece as the other end takes them (PS3.18, 8.6.1.2)."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from fastapi import Response
from starlette.types import Receive, Scope, Send

from medhub.foundation.file_responses import CHUNK_BYTES, FileRange
from medhub.foundation.work_pools import run_in


@dataclass(frozen=True)
class TypedContent:
    """Content with its media type, where that is known only when it is made."""

    media_type: str
    content: bytes


Source = Sequence[FileRange] | bytes | Callable[[], "bytes | TypedContent"]
"""Pieces of files, bytes, or what makes them when they are due."""


@dataclass(frozen=True)
class ResponsePart:
    """One part: its media type with parameters, where it is found, and what it holds."""

    media_type: str
    location: str
    source: Source

    @property
    def length(self) -> int | None:
        """How many bytes it holds, where that is known before it is made."""
        if isinstance(self.source, bytes):
            return len(self.source)
        return None if callable(self.source) else sum(span.length for span in self.source)


class PartsResponse(Response):
    """A multipart/related answer; no more than one part lies in memory, and none that is a file."""

    def __init__(
        self, parts: Sequence[ResponsePart], media_type: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        boundary = uuid.uuid4().hex
        self._boundary, self._parts = boundary, parts
        self._end = f"\r\n--{boundary}--\r\n".encode()
        lengths = [part.length for part in parts]
        known = [length for length in lengths if length is not None]
        more = dict(headers or {})
        if len(known) == len(lengths):
            more["Content-Length"] = str(
                sum(known) + sum(len(_head(boundary, part)) for part in parts) + len(self._end)
            )
        super().__init__(
            headers={"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff", **more},
            media_type=f'multipart/related; type="{media_type}"; boundary={boundary}',
        )
        if "Content-Length" not in more:
            del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send part after part; each piece waits until the one before it has left."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for part in self._parts:
            current = part
            if callable(part.source):
                content = await run_in("rendering", part.source)
                current = (
                    replace(part, source=content)
                    if isinstance(content, bytes)
                    else replace(part, media_type=content.media_type, source=content.content)
                )
            await send({"type": "http.response.body", "body": _head(self._boundary, current), "more_body": True})
            await _send_source(current.source, send)
        await send({"type": "http.response.body", "body": self._end})


def _head(boundary: str, part: ResponsePart) -> bytes:
    lines = (f"--{boundary}", f"Content-Type: {part.media_type}", f"Content-Location: {part.location}")
    return ("\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode()


async def _send_source(source: Source, send: Send) -> None:
    if isinstance(source, bytes):
        await send({"type": "http.response.body", "body": source, "more_body": True})
        return
    if callable(source):
        raise TypeError("the content is not made yet")
    for span in source:
        descriptor = os.open(span.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            offset, end = span.start, span.start + span.length
            while offset < end:
                chunk = await run_in("rendering", os.pread, descriptor, min(CHUNK_BYTES, end - offset), offset)
                if not chunk:
                    raise OSError(f"The file ends {end - offset} bytes too early.")
                offset += len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        finally:
            os.close(descriptor)
