# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from medhub.foundation.file_responses import CHUNK_BYTES, FileRange, FileRangeResponse


def sent(response: FileRangeResponse) -> list[Message]:
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    async def receive() -> Message:
        raise AssertionError

    scope: dict[str, Any] = {"type": "http", "method": "GET", "headers": []}
    asyncio.run(response(scope, receive, send))
    return messages


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(i % 251 for i in range(3 * CHUNK_BYTES + 17)))
    return path


@pytest.mark.parametrize(
    ("start", "length"), [(0, 1), (5, CHUNK_BYTES), (7, CHUNK_BYTES + 1), (0, 3 * CHUNK_BYTES + 17), (3, 0)]
)
def test_exactly_the_part_is_sent_in_chunks_of_bounded_size(file: Path, start: int, length: int) -> None:
    head, *body = sent(
        FileRangeResponse(FileRange(file, start, length), media_type="image/jpeg", headers={"ETag": '"x"'})
    )
    headers = dict(head["headers"])
    assert headers[b"content-length"] == str(length).encode()
    assert headers[b"content-type"] == b"image/jpeg"
    assert headers[b"etag"] == b'"x"'
    assert b"".join(chunk["body"] for chunk in body) == file.read_bytes()[start : start + length]
    assert max(len(chunk["body"]) for chunk in body) <= CHUNK_BYTES
    assert [chunk["more_body"] for chunk in body] == [True] * (len(body) - 1) + [False]


def test_a_file_system_that_cannot_tell_what_is_in_memory_is_read_too(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> int:
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "preadv", unsupported)
    _head, *body = sent(FileRangeResponse(FileRange.of_file(file), media_type="image/jpeg", headers={}))
    assert b"".join(chunk["body"] for chunk in body) == file.read_bytes()


def test_a_file_that_ends_too_early_is_an_error(file: Path) -> None:
    size = file.stat().st_size
    with pytest.raises(OSError, match="too early"):
        sent(FileRangeResponse(FileRange(file, size - 10, 20), media_type="image/jpeg", headers={}))


def test_a_file_that_is_gone_is_an_error_before_anything_was_sent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sent(FileRangeResponse(FileRange(tmp_path / "gone", 0, 1), media_type="image/jpeg", headers={}))
