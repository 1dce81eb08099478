# SPDX-License-Identifier: Apache-2.0
"""Stored files read in parts: their attributes without their pixels, or one frame without the others."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from medhub.foundation.app_context import AppContext
from medhub.foundation.file_responses import FileRange
from medhub.science.imaging.dicom.pixel_offsets import PixelOffset, Read, Spans, locate_frame, locate_pixels

_MOST_KNOWN = 4096


@dataclass(frozen=True)
class FramePart:
    """One frame as it is stored, and the attributes of its file."""

    head: bytes
    frame: bytes
    vr: str
    encapsulated: bool


class _Known:
    """Where the pixels of the files lie that were read last; a file never changes under its digest."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._places: OrderedDict[str, PixelOffset | None] = OrderedDict()

    def get(self, digest: str, read: Read, size: int) -> PixelOffset | None:
        with self._guard:
            if digest in self._places:
                self._places.move_to_end(digest)
                return self._places[digest]
        place = locate_pixels(read, size)
        with self._guard:
            self._places[digest] = place
            while len(self._places) > _MOST_KNOWN:
                self._places.popitem(last=False)
        return place


_known = _Known()


@contextmanager
def _opened(app: AppContext, digest: str) -> Iterator[tuple[Read, int]]:
    descriptor = os.open(app.blobs.path(digest), os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield lambda at, length: os.pread(descriptor, length, at), os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def place_of(app: AppContext, digest: str) -> PixelOffset | None:
    """Where the pixels of a stored file lie; ``None`` where there are none, or they are not found by lengths."""
    with _opened(app, digest) as (read, size):
        return _known.get(digest, read, size)


def head_of(app: AppContext, digest: str) -> tuple[bytes, str]:
    """A stored file up to its pixels, and the representation of those; the whole file where none are found."""
    with _opened(app, digest) as (read, size):
        place = _known.get(digest, read, size)
        return (read(0, place.head), place.vr) if place is not None else (read(0, size), "")


def frame_spans(app: AppContext, digest: str, number: int) -> Spans | None:
    """Where one frame, from 0, lies in a stored file."""
    with _opened(app, digest) as (read, size):
        place = _known.get(digest, read, size)
        return locate_frame(read, place, number) if place is not None else None


def frame_part(app: AppContext, digest: str, number: int) -> FramePart | None:
    """One frame of a stored file, from 0, with the file's attributes; ``None`` where the file must be read whole."""
    with _opened(app, digest) as (read, size):
        place = _known.get(digest, read, size)
        spans = locate_frame(read, place, number) if place is not None else None
        if place is None or spans is None:
            return None
        frame = b"".join(read(at, length) for at, length in spans)
        return FramePart(read(0, place.head), frame, place.vr, place.encapsulated)


def pixel_span(app: AppContext, digest: str) -> FileRange | None:
    """Where the native pixels of a stored file lie, in one piece."""
    place = place_of(app, digest)
    if place is None or place.encapsulated:
        return None
    return FileRange(app.blobs.path(digest), place.start, place.length)
