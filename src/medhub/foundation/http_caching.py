# SPDX-License-Identifier: Apache-2.0
"""Answers that a browser may keep, and the small cache that keeps them ready here."""

from __future__ import annotations

import threading
from collections import OrderedDict

from fastapi import Request, Response

from medhub.foundation.file_responses import Span, SpanResponse

# Names of content never mean other content; but only the person who may see it may keep it.
FOREVER = "private, max-age=31536000, immutable"


def unchanged(request: Request, etag: str) -> bool:
    """Whether the browser has this very content already."""
    given = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return f'"{etag}"' in given


def answer(request: Request, etag: str, content: bytes | None, media_type: str) -> Response:
    """The content with its tag, or word that it has not changed."""
    headers = _headers(etag)
    if content is None or unchanged(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


def answer_span(etag: str, span: Span, media_type: str) -> Response:
    """A part of a file with its tag."""
    return SpanResponse(span, media_type=media_type, headers=_headers(etag))


def _headers(etag: str) -> dict[str, str]:
    return {"ETag": f'"{etag}"', "Cache-Control": FOREVER, "X-Content-Type-Options": "nosniff"}


class RecentBytes:
    """The latest used pieces of content, up to so many bytes in all."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._size = 0
        self._guard = threading.Lock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """The content under a key, if it is kept."""
        with self._guard:
            content = self._kept.get(key)
            if content is not None:
                self._kept.move_to_end(key)
            return content

    def put(self, key: str, content: bytes) -> None:
        """Keep content, and drop what was not used for longest."""
        with self._guard:
            if key in self._kept or len(content) > self._most // 4:
                return
            self._kept[key] = content
            self._size += len(content)
            while self._size > self._most:
                _key, dropped = self._kept.popitem(last=False)
                self._size -= len(dropped)
