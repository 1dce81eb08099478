# SPDX-License-Identifier: Apache-2.0
"""Bytes that do not fit a row, kept under the SHA-256 of their content."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
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
        (digest,) = self.put_all([data])
        return digest

    def put_all(self, several: Sequence[bytes]) -> list[str]:
        """Keep each of some bytes and return their digests; the disk is waited for once for all of them.

        Everything is written before anything is synced, and every name given before a folder is: what the first sync
        brings to the disk, the others find there.
        """
        digests = [hashlib.sha256(data).hexdigest() for data in several]
        missing = {digest: data for digest, data in zip(digests, several, strict=True) if not self.has(digest)}
        written: dict[str, tuple[int, str]] = {}
        try:
            for digest, data in missing.items():
                handle, name = tempfile.mkstemp(dir=self.folder / "incoming")
                written[digest] = (handle, name)
                _write(handle, data)
            for handle, _ in written.values():
                os.fsync(handle)
            changed: dict[Path, None] = {}
            for digest, (_, name) in written.items():
                path = self._path(digest)
                # A folder is durable once the one above it is synced.
                for folder in (path.parent.parent, path.parent):
                    if not folder.exists():
                        folder.mkdir(exist_ok=True, mode=0o700)
                        changed[folder.parent] = None
                os.replace(name, path)
                changed[path.parent] = None
        finally:
            for handle, name in written.values():
                os.close(handle)
                Path(name).unlink(missing_ok=True)
        for folder in changed:
            _sync_folder(folder)
        return digests

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


def _write(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
