# SPDX-License-Identifier: Apache-2.0
"""Responses that a browser may cache, and a small cache of content in this process."""

from __future__ import annotations

import threading

from cachetools import LRUCache
from fastapi import Request, Response

from medhub.foundation.file_responses import FileRange, FileRangeResponse

# An ETag always means the same content. Only the person who may see it may cache it. After a minute the browser asks
# again whether the person still may see it.
REVALIDATED = "private, max-age=60, must-revalidate"


def is_unchanged(request: Request, etag: str) -> bool:
    """Whether the browser has this content already (If-None-Match)."""
    tags = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return f'"{etag}"' in tags


def cacheable_response(request: Request, etag: str, content: bytes | None, media_type: str) -> Response:
    """The content with its ETag, or status 304 if the browser has it already."""
    headers = _headers(etag)
    if content is None or is_unchanged(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


def cacheable_file_response(etag: str, file_range: FileRange, media_type: str) -> Response:
    """A range of a file with its ETag."""
    return FileRangeResponse(file_range, media_type=media_type, headers=_headers(etag))


def _headers(etag: str) -> dict[str, str]:
    return {"ETag": f'"{etag}"', "Cache-Control": REVALIDATED, "X-Content-Type-Options": "nosniff"}


class ByteCache:
    """The most recently used contents, up to a total number of bytes; safe to use from several threads."""

    def __init__(self, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._contents: LRUCache[str, bytes] = LRUCache(max_bytes, getsizeof=len)

    def get(self, key: str) -> bytes | None:
        """The content under a key, if it is cached."""
        with self._lock:
            return self._contents.get(key)

    def put(self, key: str, content: bytes) -> None:
        """Cache content, except content so large that it would replace most of the others."""
        with self._lock:
            if key not in self._contents and len(content) <= self._contents.maxsize // 4:
                self._contents[key] = content
