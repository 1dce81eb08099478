# SPDX-License-Identifier: Apache-2.0
"""Range requests (RFC 9110, 14): a part of an object or of a long value, so that a broken download is continued."""

from __future__ import annotations

import re

from fastapi import Request, Response

from medhub.foundation.file_responses import FileRange
from medhub.foundation.http_caching import REVALIDATED, cacheable_file_response, cacheable_response

_BYTE_RANGE = re.compile(r"bytes=\s*([0-9]{1,18})?-([0-9]{1,18})?\s*")


def file_response(request: Request, etag: str, file_range: FileRange, media_type: str) -> Response:
    """A file, or the requested part of it."""
    length = file_range.length
    part = requested_range(request, etag, length)
    if part is None:
        response = cacheable_file_response(etag, file_range, media_type)
    elif part[0] >= part[1]:
        return _not_satisfiable(length)
    else:
        start, end = part
        response = cacheable_file_response(
            etag, FileRange(file_range.path, file_range.start + start, end - start), media_type
        )
    return _with_range(response, part, length)


def content_response(request: Request, etag: str, content: bytes, media_type: str) -> Response:
    """Content in memory, or the requested part of it."""
    part = requested_range(request, etag, len(content))
    if part is None:
        response = cacheable_response(request, etag, content, media_type)
    elif part[0] >= part[1]:
        return _not_satisfiable(len(content))
    else:
        response = Response(content[part[0] : part[1]], media_type=media_type)
        response.headers.update(
            {"ETag": f'"{etag}"', "Cache-Control": REVALIDATED, "X-Content-Type-Options": "nosniff"}
        )
    return _with_range(response, part, len(content))


def requested_range(request: Request, etag: str, length: int) -> tuple[int, int] | None:
    """The first byte and the end of the requested part; ``None`` for the entire content.

    Several ranges, and a range of another version (If-Range), are answered with the entire content. An empty part
    cannot be satisfied.
    """
    match = _BYTE_RANGE.fullmatch(request.headers.get("range", ""))
    if match is None or not (match[1] or match[2]):
        return None
    if request.headers.get("if-range", f'"{etag}"') != f'"{etag}"':
        return None
    if not match[1]:  # the last bytes
        return max(0, length - int(match[2])), length
    start, end = int(match[1]), min(length, int(match[2]) + 1 if match[2] else length)
    return None if match[2] and int(match[2]) < start else (start, end)


def _with_range(response: Response, part: tuple[int, int] | None, length: int) -> Response:
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Vary"] = "Accept"
    if part is not None:
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {part[0]}-{part[1] - 1}/{length}"
    return response


def _not_satisfiable(length: int) -> Response:
    return Response(status_code=416, headers={"Content-Range": f"bytes */{length}", "Accept-Ranges": "bytes"})
