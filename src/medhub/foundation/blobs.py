# SPDX-License-Identifier: Apache-2.0
"""Blobs: content too large for a database row, stored in files that are named by the SHA-256 of their content."""

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
    """There is no stored file with this digest."""

    code = "blob-not-found"


class BlobStore:
    """Content-addressed files in a folder; a blob is durable once ``put`` has returned."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "incoming").mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, data: bytes) -> str:
        """Store the bytes and return their digest; equal bytes are stored once."""
        (digest,) = self.put_all([data])
        return digest

    def put_all(self, contents: Sequence[bytes]) -> list[str]:
        """Store several contents and return their digests, with one wait for the disk for all of them.

        All files are written before the first is synced, and all are renamed before a folder is synced: the first sync
        writes most of the data, so that the others return quickly.
        """
        digests = [hashlib.sha256(data).hexdigest() for data in contents]
        missing = {digest: data for digest, data in zip(digests, contents, strict=True) if not self.has(digest)}
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
                # A new folder is durable once its parent is synced.
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
        """Read the bytes of a blob."""
        try:
            return self._path(digest).read_bytes()
        except FileNotFoundError as error:
            raise BlobNotFound("The stored file is missing. Restore it from a backup.", digest=digest) from error

    def path(self, digest: str) -> Path:
        """The path of a blob, for responses that stream the file."""
        path = self._path(digest)
        if not path.exists():
            raise BlobNotFound("The stored file is missing. Restore it from a backup.", digest=digest)
        return path

    def has(self, digest: str) -> bool:
        """Whether there is a blob with this digest."""
        return self._path(digest).exists()

    def delete(self, digest: str) -> None:
        """Delete a blob, if it exists."""
        self._path(digest).unlink(missing_ok=True)

    def digests(self, *, older_than_s: float = 0.0) -> Iterator[str]:
        """The digests of all blobs that are older than this."""
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
        """Delete partly written files, older than an hour, of processes that were killed."""
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
