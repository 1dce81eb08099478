# SPDX-License-Identifier: Apache-2.0
"""Ingest the files of an upload in batches while the rest of the request streams in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.types import Receive

from medhub.accounts.access import Call
from medhub.errors import Invalid
from medhub.foundation.work_pools import run_in, run_until_disconnect
from medhub.ingest.context import IngestSource
from medhub.ingest.ingest_file import ReceivedFile
from medhub.ingest.pipeline import BATCH_BYTES, BATCH_FILES, ingest_files
from medhub.ingest.schemas import UploadItem
from medhub.ingest.upload_parser import UploadPart

# Files that arrive before the fields that name their patient stay in memory, up to this.
MOST_PENDING_BYTES = 256 * 1024**2

OpenSource = Callable[[Mapping[str, str]], IngestSource]


async def ingest_upload(
    call: Call,
    parts: AsyncIterator[UploadPart],
    open_source: OpenSource,
    required: tuple[str, ...] = (),
    *,
    receive: Receive,
) -> list[UploadItem]:
    """Ingest the ``files`` of an upload, and return the result of each in their order.

    ``open_source`` makes the source from the fields as soon as the ``required`` ones and a file have arrived; it
    raises where the actor may not upload. Files that are not being ingested yet are dropped when the client disconnects
    (``receive`` is that of the request): nobody learns their result, and they are sent again.
    """
    upload = _Upload(call)
    fields: dict[str, str] = {}
    try:
        async for part in parts:
            if part.filename is None:
                fields[part.name] = part.data.decode("utf-8", "replace").replace("\x00", "")
                part.free()
            elif part.name == "files":
                upload.add(part)
            else:
                part.free()
            # All fields that name the patient and the target come before the first file.
            if upload.source is None and upload.pending and set(required) <= fields.keys():
                upload.source = await run_in_threadpool(open_source, fields)
            if upload.source is not None and upload.is_full:
                await upload.ingest_pending()
            elif upload.pending_bytes > MOST_PENDING_BYTES:
                raise Invalid(f"Send {' and '.join(required)} before the files.", field=required[0])
    except Invalid:
        # The complete files of a broken upload are ingested; when they are sent again they are duplicates.
        if upload.source is not None:
            await upload.ingest_pending()
        raise
    for name in required:
        if name not in fields:
            raise Invalid(f"The upload does not say its {name}.", field=name)
    if upload.source is None:
        upload.source = await run_in_threadpool(open_source, fields)
    await upload.ingest_rest(receive)
    if not upload.items:
        raise Invalid("The upload has no files. Choose at least one.", field="files")
    return upload.items


class _Upload:
    """The files of one upload that are not ingested yet, and the results of the others."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.source: IngestSource | None = None
        self.pending: list[UploadPart] = []
        self.pending_bytes = 0
        self.items: list[UploadItem] = []

    @property
    def is_full(self) -> bool:
        """Whether the pending files fill a batch."""
        return len(self.pending) >= BATCH_FILES or self.pending_bytes >= BATCH_BYTES

    def add(self, part: UploadPart) -> None:
        """Add a file; raises ``Invalid`` where the upload has too many."""
        most = self._call.app.settings.upload_max_files
        if len(self.items) + len(self.pending) >= most:
            raise Invalid(f"At most {most} files go into one upload. Send the rest apart.", field="files")
        self.pending.append(part)
        self.pending_bytes += len(part.data)

    async def ingest_pending(self) -> None:
        """Ingest the pending files."""
        if (parts := self._take_pending()) and self.source is not None:
            self.items += await run_in("upload", _ingest_parts, self._call, self.source, parts)
            for part in parts:
                part.free()

    async def ingest_rest(self, receive: Receive) -> None:
        """Ingest the pending files after the end of the body, unless the client disconnects meanwhile."""
        if (parts := self._take_pending()) and self.source is not None:
            self.items += await run_until_disconnect(receive, "upload", _ingest_parts, self._call, self.source, parts)

    def _take_pending(self) -> list[UploadPart]:
        parts, self.pending, self.pending_bytes = self.pending, [], 0
        return parts


def _ingest_parts(call: Call, source: IngestSource, parts: list[UploadPart]) -> list[UploadItem]:
    # The bytes of the parts count as held until they are ingested.
    files = [
        ReceivedFile(None if part.truncated else bytes(part.data), part.size, (part.filename or "")[:255])
        for part in parts
    ]
    return [
        UploadItem(filename=file.name, outcome=result.outcome, reason=result.reason, image_id=result.image_id)
        for file, result in zip(files, ingest_files(call.app, call.actor, source, files), strict=True)
    ]
