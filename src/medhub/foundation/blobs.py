# SPDX-License-Identifier: Apache-2.0
"""Bytes that do not fit a row, kept under the SHA-256 of their content."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from medhub.errors import NotFound

_DIGEST = re.compile(r"[0-9a-f]{64}")


class BlobNotFound(NotFound):
    """No bytes lie under this digest."""

    code = "blob-not-found"


class BlobStore:
    """Content-addressed files in a folder; what ``put`` returned for is durable."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "incoming").mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, data: bytes) -> str:
        """Keep the bytes and return their digest; the same bytes are kept once."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        if path.exists():
            return digest
        new_folders = [folder for folder in (path.parent, path.parent.parent) if not folder.exists()]
        for folder in reversed(new_folders):
            folder.mkdir(exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=self.folder / "incoming")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
        for folder in new_folders:  # a folder is durable once the one above it is synced
            _sync_folder(folder.parent)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes under a digest."""
        try:
            return self._path(digest).read_bytes()
        except FileNotFoundError as error:
            raise BlobNotFound("The stored file is missing. Restore it from a backup.", digest=digest) from error

    def path(self, digest: str) -> Path:
        """The file under a digest, to be sent without reading it first."""
        path = self._path(digest)
        if not path.exists():
            raise BlobNotFound("The stored file is missing. Restore it from a backup.", digest=digest)
        return path

    def has(self, digest: str) -> bool:
        """Whether bytes lie under a digest."""
        return self._path(digest).exists()

    def delete(self, digest: str) -> None:
        """Remove the bytes under a digest, if they are there."""
        self._path(digest).unlink(missing_ok=True)

    def digests(self, *, older_than_s: float = 0.0) -> Iterator[str]:
        """What is kept and was written longer ago than that."""
        newest = time.time() - older_than_s
        for path in self.folder.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*"):
            with suppress(FileNotFoundError):  # deleted meanwhile
                if _DIGEST.fullmatch(path.name) and path.stat().st_mtime <= newest:
                    yield path.name

    def check(self) -> None:
        """Raise OSError unless the store can be written to."""
        handle, name = tempfile.mkstemp(dir=self.folder / "incoming")
        os.close(handle)
        Path(name).unlink()

    def sweep(self) -> int:
        """Remove what a process that was killed left half-written more than an hour ago."""
        oldest = time.time() - 3600
        leftovers = [path for path in (self.folder / "incoming").iterdir() if path.stat().st_mtime < oldest]
        for path in leftovers:
            path.unlink(missing_ok=True)
        return len(leftovers)

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise BlobNotFound("That is not the digest of a stored file.")
        return self.folder / digest[:2] / digest[2:4] / digest


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
