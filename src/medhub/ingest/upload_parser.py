# SPDX-License-Identifier: Apache-2.0
"""A parser of multipart uploads that keeps files in memory only.

The web framework's own form parser writes files above a megabyte to a temporary folder. What is received may identify
a patient and must not be written before it is cleaned; hence this reader, on the same parser of the multipart format.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from medhub.errors import Invalid
from medhub.foundation.byte_budget import ByteLease

FILES: dict[str, Any] = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
"""How the API's document describes several files."""

LARGEST_FIELD_BYTES = 256 * 1024  # the text of a profile
MOST_FIELDS = 100
LONGEST_HEADER_BYTES = 64 * 1024


def form(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """How the API's document describes a body of fields and files, which the framework does not read itself."""
    schema = {"type": "object", "required": list(required), "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


@dataclass
class UploadPart:
    """One part of an upload: a field or a file; of a file that is too large only the size."""

    name: str = ""
    filename: str | None = None
    data: bytearray = field(default_factory=bytearray)
    size: int = 0
    holder: UploadReader | None = None

    def free(self) -> None:
        """Give up the bytes, which then no longer count as held."""
        if self.holder is not None:
            self.holder.held_bytes -= len(self.data)
        self.data = bytearray()

    @property
    def truncated(self) -> bool:
        """Whether the file exceeded the limit and was not kept."""
        return self.size > len(self.data)


class UploadReader:
    """Parses the chunks of a request body into parts."""

    def __init__(
        self,
        content_type: str,
        *,
        largest_file_bytes: int,
        media_type: str = "multipart/form-data",
        lease: ByteLease | None = None,
    ) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != media_type.encode() or not boundary:
            raise Invalid(f"An upload is sent as {media_type}, with a boundary.", field="files")
        self._media_type = media_type
        # Parts of other messages than a form's have no names, and each is a file.
        self._all_files = media_type != "multipart/form-data"
        self._largest = largest_file_bytes
        self._lease = lease
        self._fields = 0
        self.held_bytes = 0  # of parts that are not freed
        self._finished: list[UploadPart] = []
        self._part = UploadPart()
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._header_bytes = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._start_part,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_header_field": self._header_field,
                "on_header_value": self._header_of_value,
                "on_header_end": self._header_end,
                "on_end": self._finish,
            },
            max_header_size=LONGEST_HEADER_BYTES,  # a file may have a name of ten thousand characters
        )

    async def parts(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[UploadPart]:
        """The parts, each as soon as it is complete."""
        async for chunk in chunks:
            try:
                # In slices, so that no more than one file's end lies between two answers.
                for start in range(0, len(chunk), 65536):
                    self._parser.write(chunk[start : start + 65536])
                    if self._lease is not None:
                        await self._lease.resize(self.held_bytes)
            except MultipartParseError as error:
                raise Invalid(
                    f"The upload is not a whole {self._media_type} message. Send it again.", field="files"
                ) from error
            finished, self._finished = self._finished, []
            for part in finished:
                yield part
        if not self._ended:
            raise Invalid("The upload broke off before its end. Send the rest again.", field="files")

    def _start_part(self) -> None:
        self._part = UploadPart(holder=self)
        self._header_bytes = 0

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header_name += data[start:end]

    def _header_of_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header_value += data[start:end]

    def _count_header(self, count: int) -> None:
        self._header_bytes += count
        if self._header_bytes > LONGEST_HEADER_BYTES:
            raise Invalid("A part of the upload has a header that is too long.", field="files")

    def _header_end(self) -> None:
        if bytes(self._header_name).lower() == b"content-disposition":
            _kind, options = parse_options_header(bytes(self._header_value))
            self._part.name = options.get(b"name", b"").decode("utf-8", "replace")
            if b"filename" in options:
                self._part.filename = options[b"filename"].decode("utf-8", "replace")
        self._header_name.clear()
        self._header_value.clear()

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        part.size += end - start
        is_file = self._all_files or part.filename is not None
        most = self._largest if is_file else LARGEST_FIELD_BYTES
        if part.size <= most:
            part.data += data[start:end]
            self.held_bytes += end - start
        elif not is_file:
            raise Invalid(
                f"The field {part.name[:40]} is larger than {LARGEST_FIELD_BYTES // 1024} KB.", field=part.name[:40]
            )
        else:
            part.free()

    def _end(self) -> None:
        if not self._all_files and self._part.filename is None:
            self._fields += 1
            if self._fields > MOST_FIELDS:
                name = self._part.name[:40]
                raise Invalid(f"An upload has at most {MOST_FIELDS} fields beside its files.", field=name)
        self._finished.append(self._part)

    def _finish(self) -> None:
        self._ended = True
