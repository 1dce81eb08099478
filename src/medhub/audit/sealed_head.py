# SPDX-License-Identifier: Apache-2.0
"""The protection of the audit chain against people who can write the database: a key and a file outside of it.

The key is derived from the master key, so that nobody without it can compute the hash of an entry. The file names the
last entry; it shows that entries were removed from the end of the chain, which leaves no gap in the chain itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from medhub.foundation import clock
from medhub.foundation.logging import get_logger

log = get_logger()

_FILE_BYTES = 512  # one sector: a write is complete or did not happen


@dataclass(frozen=True)
class ChainHead:
    """An entry of the chain by number and hash."""

    seq: int
    hash: str


class HeadDamaged(Exception):
    """The file of the head is not one that this installation has written."""


@dataclass
class ChainSeal:
    """The key of the chain, and the file of its head."""

    load_key: Callable[[], bytes]
    path: Path
    is_keyed: bool = False  # whether this process knows that the chain has its turning point
    _key: bytes | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _handle: int = -1
    _inode: tuple[int, int] = (0, 0)

    @property
    def key(self) -> bytes:
        """The key of the hashes."""
        if self._key is None:
            self._key = self.load_key()
        return self._key

    def read_head(self) -> ChainHead | None:
        """The head in the file; none if there is no file yet."""
        with self._lock:
            if not self._open(create=False):
                return None
            return self._parse(os.pread(self._handle, _FILE_BYTES, 0))

    def write_head(self, head: ChainHead, *, replace: bool = False) -> None:
        """Write the head, unless the file names a later one of another process; ``replace`` writes it in any case."""
        with self._lock:
            try:
                self._open(create=True)
                fcntl.flock(self._handle, fcntl.LOCK_EX)
                try:
                    if replace or not self._is_later(os.pread(self._handle, _FILE_BYTES, 0), head):
                        os.pwrite(self._handle, self._serialize(head), 0)
                finally:
                    fcntl.flock(self._handle, fcntl.LOCK_UN)
            except OSError as error:
                log.error("audit.head_not_written", error=type(error).__name__)

    def _open(self, *, create: bool) -> bool:
        """Open the file; open it again if the path leads to another file now, such as one restored from a backup."""
        try:
            present = os.stat(self.path)
            if self._handle >= 0 and (present.st_dev, present.st_ino) == self._inode:
                return True
        except FileNotFoundError:
            if not create:
                return False
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        opened = os.fstat(self._handle)
        self._inode = (opened.st_dev, opened.st_ino)
        return True

    def _is_later(self, content: bytes, head: ChainHead) -> bool:
        try:
            written = self._parse(content) if content else None
        except HeadDamaged:
            return True  # stays for the verification, which reports it
        return written is not None and written.seq >= head.seq

    def _serialize(self, head: ChainHead) -> bytes:
        text = f"{head.seq} {head.hash} {clock.iso(clock.now())}"
        return f"{text} {self._seal_of(text)}".ljust(_FILE_BYTES - 1).encode() + b"\n"

    def _parse(self, content: bytes) -> ChainHead:
        try:
            text, _, seal = content.decode("ascii").strip().rpartition(" ")
            if not hmac.compare_digest(seal, self._seal_of(text)):
                raise HeadDamaged
            seq, digest, _at = text.split(" ")
            return ChainHead(int(seq), digest)
        except ValueError as error:
            raise HeadDamaged from error

    def _seal_of(self, text: str) -> str:
        return hmac.digest(self.key, b"head " + text.encode(), hashlib.sha256).hex()
