# SPDX-License-Identifier: Apache-2.0
"""Reading of untrusted ZIP archives.

Names in the archive are never used as paths. Sizes are checked before anything is unpacked, and no file is unpacked
beyond its declared size.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from medhub.errors import Invalid
from medhub.foundation.zip_names import read_names

_END = b"PK\x05\x06"
_END_BYTES = 22
_END64_LOCATOR = b"PK\x06\x07"
_END64_LOCATOR_BYTES = 20
_END64 = b"PK\x06\x06"
_END64_BYTES = 56
_MAX_COMMENT_BYTES = 65_535
_ENCRYPTED = 0x1
_IGNORED = {".ds_store", "thumbs.db", "desktop.ini"}
_NESTED = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst")

Path = tuple[str, ...]
Member = tuple[zipfile.ZipInfo, Path]


class ArchiveRefused(Invalid):
    """The ZIP cannot be accepted."""

    code = "archive-refused"
    title = "The ZIP cannot be accepted"


@dataclass(frozen=True)
class ZipLimits:
    """Limits for archives."""

    max_files: int = 20_000
    max_directory_bytes: int = 8 * 1024**2
    max_file_bytes: int = 200 * 1024**2
    max_unpacked_bytes: int = 8 * 1024**3
    max_ratio: int = 200


@contextmanager
def open_zip(file: BinaryIO, limits: ZipLimits) -> Iterator[tuple[zipfile.ZipFile, list[Member]]]:
    """A ZIP and its files, after all checks; raises ``ArchiveRefused`` if the archive is invalid or too large."""
    length = file.seek(0, os.SEEK_END)
    _check_directory(file, length, limits)
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive, _members(archive, length, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, UnicodeDecodeError, NotImplementedError) as error:
        raise ArchiveRefused(
            "The ZIP is damaged. Pack it again and upload it once more. Nothing was stored."
        ) from error


def _check_directory(file: BinaryIO, length: int, limits: ZipLimits) -> None:
    """Refuse a central directory that is too large before it is read: its entries need much more memory than space."""
    start = max(0, length - _END_BYTES - _MAX_COMMENT_BYTES - _END64_LOCATOR_BYTES)
    file.seek(start)
    data = file.read()
    at = len(data) - _END_BYTES
    if at < 0 or data[at : at + 4] != _END or data[-2:] != b"\0\0":
        at = data.rfind(_END, max(0, len(data) - _END_BYTES - _MAX_COMMENT_BYTES))
    if at < 0 or at + _END_BYTES > len(data):
        raise ArchiveRefused("This is not a ZIP, or its end is missing. Pack the images into a ZIP.")
    stated = [struct.unpack_from("<HI", data, at + 10)]
    locator = data[max(0, at - _END64_LOCATOR_BYTES) : at]
    if len(locator) == _END64_LOCATOR_BYTES and locator.startswith(_END64_LOCATOR):
        # ZIP64: the true numbers are in a record of their own, which small archives have too if they were streamed.
        # Readers look for it before the locator or where the locator says; whatever either finds must be small enough.
        stated = _end64_numbers(file, start + at - _END64_LOCATOR_BYTES, struct.unpack_from("<Q", locator, 8)[0])
    for count, size in stated:
        if count > limits.max_files:
            raise ArchiveRefused(
                f"The ZIP lists {count:,} files; at most {limits.max_files:,} are accepted. Divide it."
            )
        if size > limits.max_directory_bytes:
            raise ArchiveRefused("The list of files in the ZIP is too long. Shorten the names, or divide the ZIP.")


def _end64_numbers(file: BinaryIO, locator_at: int, stated_at: int) -> list[tuple[int, int]]:
    """The number of files and the bytes of the directory in each ZIP64 end record that a reader may find."""
    numbers = []
    for position in {locator_at - _END64_BYTES, stated_at}:
        if not 0 <= position <= locator_at - _END64_BYTES:
            continue
        file.seek(position)
        record = file.read(_END64_BYTES)
        if record.startswith(_END64):
            numbers.append(struct.unpack_from("<QQ", record, 32))
    if not numbers:
        raise ArchiveRefused("The ZIP is damaged at its end. Pack it again and upload it once more.")
    return numbers


def _members(archive: zipfile.ZipFile, length: int, limits: ZipLimits) -> list[Member]:
    infos = archive.infolist()
    if len(infos) > limits.max_files:
        raise ArchiveRefused(f"The ZIP has {len(infos):,} files; at most {limits.max_files:,} are accepted. Divide it.")
    members: dict[Path, zipfile.ZipInfo] = {}
    unpacked = packed = 0
    for info, name in zip(infos, read_names(infos), strict=True):
        path = _path(info, name)
        if path is None or info.is_dir():
            continue
        unpacked += info.file_size
        packed += info.compress_size
        _check_member(info, limits)
        if unpacked > limits.max_unpacked_bytes:
            raise ArchiveRefused(
                f"The unpacked ZIP is larger than {limits.max_unpacked_bytes // 1024**3} GB. Divide it."
            )
        if path in members:
            raise ArchiveRefused("The ZIP has two files of the same name. Pack the images again.")
        members[path] = info
    if packed > length:
        raise ArchiveRefused("Files of the ZIP overlap, which no ordinary program creates. Pack the images again.")
    if not members:
        raise ArchiveRefused("There are no files in the ZIP.")
    return [(info, path) for path, info in members.items()]


def _path(info: zipfile.ZipInfo, name: str) -> Path | None:
    parts = tuple(part for part in name.replace("\\", "/").split("/") if part)
    if name.startswith(("/", "\\")) or ".." in parts or (parts and parts[0].endswith(":")):
        raise ArchiveRefused("A file of the ZIP has a path outside of it. Pack the images again, without full paths.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise ArchiveRefused("The ZIP has a symbolic link. Pack the images themselves.")
    if not parts or parts[0] == "__MACOSX" or parts[-1].lower() in _IGNORED or parts[-1].startswith("._"):
        return None
    if not info.is_dir() and parts[-1].lower().endswith(_NESTED):
        raise ArchiveRefused("There is an archive inside the ZIP. Unpack it first, and pack the images themselves.")
    return parts


def _check_member(info: zipfile.ZipInfo, limits: ZipLimits) -> None:
    if info.flag_bits & _ENCRYPTED:
        raise ArchiveRefused("The ZIP is encrypted. Pack it without a password.")
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ArchiveRefused("The ZIP uses an unusual compression. Pack it as an ordinary ZIP (deflate).")
    if info.file_size > limits.max_file_bytes:
        raise ArchiveRefused(f"A file of the ZIP is larger than {limits.max_file_bytes // 1024**2} MB.")
    if info.file_size > limits.max_ratio * max(info.compress_size, 1024):
        raise ArchiveRefused("A file of the ZIP grows too much when it is unpacked. Pack the images again.")


def unpack_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: ZipLimits) -> bytes:
    """Unpack one file of a ZIP, up to its declared size."""
    with archive.open(info) as file:
        data = file.read(info.file_size + 1)
    if len(data) != info.file_size or len(data) > limits.max_file_bytes:
        raise ArchiveRefused("A file of the ZIP does not have its declared size. Pack the images again.")
    return data
