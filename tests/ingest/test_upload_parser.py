# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medhub.errors import Invalid
from medhub.ingest.upload_parser import LARGEST_FIELD_BYTES, LONGEST_HEADER_BYTES, MOST_FIELDS, UploadPart, UploadReader

BOUNDARY = "medhub-test-boundary"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"

PartValues = tuple[str, str | None, bytes]


def multipart_message(*parts: PartValues) -> bytes:
    message = b""
    for name, filename, data in parts:
        message += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if filename is not None:
            message += f'; filename="{filename}"\r\nContent-Type: image/jpeg'.encode()
        message += b"\r\n\r\n" + data + b"\r\n"
    return message + f"--{BOUNDARY}--\r\n".encode()


def read(chunks: Sequence[bytes], *, content_type: str = CONTENT_TYPE, largest: int = 10_000) -> list[UploadPart]:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def collect() -> list[UploadPart]:
        reader = UploadReader(content_type, largest_file_bytes=largest)
        return [part async for part in reader.parts(stream())]

    return asyncio.run(collect())


def part_values(parts: list[UploadPart]) -> list[tuple[str, str | None, bytes, int]]:
    return [(part.name, part.filename, bytes(part.data), part.size) for part in parts]


FILES: list[PartValues] = [
    ("patient_id", None, b"0193"),
    ("files", "cells.jpg", b"\xff\xd8\xff" + bytes(range(256)) * 20),
    ("files", "\U0001f600 b\xe9ta.png", b"--" + BOUNDARY.encode()[:-1] + b"\r\n--"),
    ("files", "empty.jpg", b""),
    ("pathway", None, b"smear-review"),
]
MESSAGE = multipart_message(*FILES)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, len(MESSAGE)), max_size=40))
def test_however_it_is_cut_the_parts_are_the_same(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(MESSAGE)]
    chunks = [MESSAGE[start:end] for start, end in pairwise(edges)]
    assert part_values(read(chunks)) == [(name, filename, data, len(data)) for name, filename, data in FILES]


def test_one_byte_at_a_time_gives_the_same_parts_too() -> None:
    assert part_values(read([MESSAGE[i : i + 1] for i in range(len(MESSAGE))])) == part_values(read([MESSAGE]))


contents = st.binary(max_size=300).filter(lambda data: BOUNDARY.encode() not in data)


@settings(max_examples=80, deadline=None)
@given(st.lists(contents, min_size=1, max_size=6), st.integers(1, 400))
def test_whatever_is_sent_arrives(file_contents: list[bytes], step: int) -> None:
    sent_parts: list[PartValues] = [("files", f"{number}.jpg", data) for number, data in enumerate(file_contents)]
    message = multipart_message(*sent_parts)
    parts = read([message[start : start + step] for start in range(0, len(message), step)])
    assert [bytes(part.data) for part in parts] == file_contents


def test_a_part_is_given_as_soon_as_it_is_complete() -> None:
    seen: list[str] = []

    async def stream() -> AsyncIterator[bytes]:
        for sent in FILES[:3]:
            seen.append(f"sent {sent[1]}")
            yield multipart_message(sent).removesuffix(f"--{BOUNDARY}--\r\n".encode())
        yield f"--{BOUNDARY}--\r\n".encode()

    async def collect() -> None:
        async for part in UploadReader(CONTENT_TYPE, largest_file_bytes=10_000).parts(stream()):
            seen.append(f"got {part.filename}")

    asyncio.run(collect())
    assert seen.index("got None") < seen.index(f"sent {FILES[2][1]}")


def test_of_a_file_that_is_too_large_only_the_size_is_kept() -> None:
    parts = read([multipart_message(("files", "large", b"x" * 5001), ("files", "fits", b"y" * 5000))], largest=5000)
    assert [(part.size, len(part.data), part.truncated) for part in parts] == [(5001, 0, True), (5000, 5000, False)]


def test_a_field_without_a_file_is_short() -> None:
    with pytest.raises(Invalid, match="larger than 256 KB"):
        read([multipart_message(("patient_id", None, b"x" * (LARGEST_FIELD_BYTES + 1)))], largest=10**9)
    (part,) = read([multipart_message(("text", None, b"x" * LARGEST_FIELD_BYTES))], largest=10)
    assert len(part.data) == LARGEST_FIELD_BYTES


def test_an_upload_has_few_fields() -> None:
    fields = [(f"field-{number}", None, b"x") for number in range(MOST_FIELDS + 1)]
    assert len(read([multipart_message(*fields[:-1])])) == MOST_FIELDS
    with pytest.raises(Invalid, match="at most 100 fields"):
        read([multipart_message(*fields)])


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=x"],
)
def test_what_is_no_form_is_refused(content_type: str) -> None:
    with pytest.raises(Invalid, match="multipart/form-data"):
        read([MESSAGE], content_type=content_type)


@pytest.mark.parametrize("missing", [3, 5, 30, len(MESSAGE) - 10, len(MESSAGE)])
def test_an_upload_that_breaks_off_is_told_so(missing: int) -> None:
    with pytest.raises(Invalid, match=r"broke off|not a whole"):
        read([MESSAGE[: len(MESSAGE) - missing]])


@pytest.mark.parametrize(
    "message",
    [
        b"no boundary at all",
        f"--{BOUNDARY}\r\nno header\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode(),
        f"--{BOUNDARY}\r\nContent-Disposition form-data\r\n\r\n".encode(),
        f"--{BOUNDARY}XX".encode(),
    ],
)
def test_a_broken_message_is_refused_in_words(message: bytes) -> None:
    with pytest.raises(Invalid, match="upload"):
        read([message])


def test_a_header_without_end_is_refused_before_it_fills_the_memory() -> None:
    head = f"--{BOUNDARY}\r\nX-Long: ".encode()
    with pytest.raises(Invalid, match=r"too long|not a whole"):
        read([head, *[b"x" * 8192] * (LONGEST_HEADER_BYTES // 8192 + 2)])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=8))
def test_hostile_bytes_are_refused_and_nothing_else_happens(chunks: list[bytes]) -> None:
    try:
        parts = read([f"--{BOUNDARY}\r\n".encode(), *chunks])
    except Invalid:
        return
    assert all(isinstance(part, UploadPart) for part in parts)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\x00b.jpg", "x" * 5000, "\U0001f600.png", "CON", ""])
def test_names_are_kept_as_they_are_and_mean_nothing(name: str) -> None:
    (part,) = read([multipart_message(("files", name, b"x"))])
    assert part.filename is not None
    assert bytes(part.data) == b"x"
