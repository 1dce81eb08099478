# SPDX-License-Identifier: Apache-2.0
"""Partial reads of stored files: the attributes without the pixels, or a single frame."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cachetools import LRUCache

from medhub.foundation.app_context import AppContext
from medhub.foundation.file_responses import FileRange
from medhub.science.imaging.dicom.pixel_offsets import PixelOffset, Read, Spans, locate_frame, locate_pixels

_CACHED_FILES = 4096


@dataclass(frozen=True)
class FramePart:
    """One frame as it is stored, and the attributes of its file."""

    head: bytes
    frame: bytes
    vr: str
    encapsulated: bool


class _OffsetCache:
    """Pixel offsets of the files that were read last; the content of a digest never changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offsets: LRUCache[str, PixelOffset | None] = LRUCache(_CACHED_FILES)

    def get(self, digest: str, read: Read, size: int) -> PixelOffset | None:
        with self._lock:
            if digest in self._offsets:
                return self._offsets[digest]
        offset = locate_pixels(read, size)
        with self._lock:
            self._offsets[digest] = offset
        return offset


_offset_cache = _OffsetCache()


@contextmanager
def _open_file(app: AppContext, digest: str) -> Iterator[tuple[Read, int]]:
    descriptor = os.open(app.blobs.path(digest), os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield lambda at, length: os.pread(descriptor, length, at), os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def locate_pixel_data(app: AppContext, digest: str) -> PixelOffset | None:
    """The offset of the pixels of a stored file; ``None`` if they are absent or not locatable."""
    with _open_file(app, digest) as (read, size):
        return _offset_cache.get(digest, read, size)


def read_header(app: AppContext, digest: str) -> tuple[bytes, str]:
    """A stored file up to its pixels, and their value representation; the entire file if no pixels are located."""
    with _open_file(app, digest) as (read, size):
        offset = _offset_cache.get(digest, read, size)
        return (read(0, offset.head), offset.vr) if offset is not None else (read(0, size), "")


def frame_spans(app: AppContext, digest: str, number: int) -> Spans | None:
    """The byte ranges of one frame, numbered from 0, of a stored file."""
    with _open_file(app, digest) as (read, size):
        offset = _offset_cache.get(digest, read, size)
        return locate_frame(read, offset, number) if offset is not None else None


def frame_part(app: AppContext, digest: str, number: int) -> FramePart | None:
    """One frame, numbered from 0, with the attributes of its file; ``None`` if the file cannot be read in parts."""
    with _open_file(app, digest) as (read, size):
        offset = _offset_cache.get(digest, read, size)
        spans = locate_frame(read, offset, number) if offset is not None else None
        if offset is None or spans is None:
            return None
        frame = b"".join(read(at, length) for at, length in spans)
        return FramePart(read(0, offset.head), frame, offset.vr, offset.encapsulated)


def native_pixel_range(app: AppContext, digest: str) -> FileRange | None:
    """The contiguous range of the native pixels of a stored file."""
    offset = locate_pixel_data(app, digest)
    if offset is None or offset.encapsulated:
        return None
    return FileRange(app.blobs.path(digest), offset.start, offset.length)
