# SPDX-License-Identifier: Apache-2.0
"""Reading a ZIP of labeled images that nobody vouches for, in memory alone.

Names in the archive are compared, never opened: an image's label is the name of its folder, or stands beside its path
in ``labels.csv``. Everything is counted before it is unpacked, and unpacked no further than it says it is long.
"""

from __future__ import annotations

import csv
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from medhub.errors import Invalid

LABELS_FILE = "labels.csv"
_END = b"PK\x05\x06"
_END_BYTES = 22
_END64_LOCATOR = b"PK\x06\x07"
_ENCRYPTED = 0x1
_LONGEST_LABEL = 100
_IGNORED = {".ds_store", "thumbs.db", "desktop.ini"}
_NESTED = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst")


class ArchiveRefused(Invalid):
    """The ZIP cannot be taken."""

    code = "archive-refused"
    title = "The ZIP cannot be taken"


@dataclass(frozen=True)
class ArchiveLimits:
    """The largest archive that is taken."""

    max_files: int = 20_000
    max_directory_bytes: int = 8 * 1024**2
    max_file_bytes: int = 200 * 1024**2
    max_unpacked_bytes: int = 8 * 1024**3
    max_ratio: int = 200
    max_labels: int = 200


@dataclass(frozen=True)
class LabeledFile:
    """One file of the archive with its label and, where one was given, the group (the patient) that it belongs to."""

    data: bytes
    label: str
    group: str | None


def read_archive(data: bytes, limits: ArchiveLimits) -> Iterator[LabeledFile]:
    """The labeled files of a ZIP, one at a time; ``ArchiveRefused`` at the first thing that is not as it should be."""
    _check_directory(data, limits)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _members(archive, len(data), limits)
            labels = _labels(archive, members, limits)
            for info, path in members:
                if path[-1].lower() == LABELS_FILE:
                    continue
                label, group = labels[path] if labels is not None else (_folder_of(path), None)
                yield LabeledFile(_unpack(archive, info, limits), _checked(label), group)
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, UnicodeDecodeError, NotImplementedError) as error:
        raise ArchiveRefused(
            "The ZIP is damaged. Pack it again and upload it once more. Nothing was stored."
        ) from error


def _check_directory(data: bytes, limits: ArchiveLimits) -> None:
    """Refuse a directory that is too long before anything reads it: each entry takes far more memory than space."""
    at = len(data) - _END_BYTES
    if at < 0 or data[at : at + 4] != _END or data[-2:] != b"\0\0":
        at = data.rfind(_END, max(0, len(data) - _END_BYTES - 65_535))
    if at < 0 or at + _END_BYTES > len(data):
        raise ArchiveRefused("This is not a ZIP, or its end is missing. Pack the images into a ZIP.")
    if data[max(0, at - 20) : at].startswith(_END64_LOCATOR):
        raise ArchiveRefused(f"The ZIP has more than {limits.max_files:,} files, or is too large. Divide it.")
    count, size = struct.unpack_from("<HI", data, at + 10)
    if count > limits.max_files or size > limits.max_directory_bytes:
        raise ArchiveRefused(f"The ZIP lists {count:,} files; at most {limits.max_files:,} are taken. Divide it.")


def _members(
    archive: zipfile.ZipFile, length: int, limits: ArchiveLimits
) -> list[tuple[zipfile.ZipInfo, tuple[str, ...]]]:
    infos = archive.infolist()
    if len(infos) > limits.max_files:
        raise ArchiveRefused(f"The ZIP has {len(infos):,} files; at most {limits.max_files:,} are taken. Divide it.")
    found: dict[tuple[str, ...], zipfile.ZipInfo] = {}
    unpacked = packed = 0
    for info in infos:
        path = _path(info)
        if path is None or info.is_dir():
            continue
        unpacked += info.file_size
        packed += info.compress_size
        _check_member(info, limits)
        if unpacked > limits.max_unpacked_bytes:
            raise ArchiveRefused(
                f"Unpacked the ZIP is larger than {limits.max_unpacked_bytes // 1024**3} GB. Divide it."
            )
        if path in found:
            raise ArchiveRefused("The ZIP has two files of the same name. Pack the images again.")
        found[path] = info
    if packed > length:
        raise ArchiveRefused("Files of the ZIP overlap, as no packer makes them. Pack the images again.")
    if not found:
        raise ArchiveRefused("There are no files in the ZIP.")
    return [(info, path) for path, info in found.items()]


def _path(info: zipfile.ZipInfo) -> tuple[str, ...] | None:
    name = info.filename
    parts = tuple(part for part in name.replace("\\", "/").split("/") if part)
    if name.startswith(("/", "\\")) or ".." in parts or (parts and parts[0].endswith(":")):
        raise ArchiveRefused("A file of the ZIP wants to lie outside of it. Pack the images again, without full paths.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise ArchiveRefused("The ZIP has a symbolic link. Pack the images themselves.")
    if not parts or parts[0] == "__MACOSX" or parts[-1].lower() in _IGNORED or parts[-1].startswith("._"):
        return None
    if not info.is_dir() and parts[-1].lower().endswith(_NESTED):
        raise ArchiveRefused("There is an archive inside the ZIP. Unpack it first, and pack the images themselves.")
    return parts


def _check_member(info: zipfile.ZipInfo, limits: ArchiveLimits) -> None:
    if info.flag_bits & _ENCRYPTED:
        raise ArchiveRefused("The ZIP is encrypted. Pack it without a password.")
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ArchiveRefused("The ZIP is packed in an unusual way. Pack it as an ordinary ZIP (deflate).")
    if info.file_size > limits.max_file_bytes:
        raise ArchiveRefused(f"A file of the ZIP is larger than {limits.max_file_bytes // 1024**2} MB.")
    if info.file_size > limits.max_ratio * max(info.compress_size, 1024):
        raise ArchiveRefused("A file of the ZIP grows too much when it is unpacked. Pack the images again.")


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: ArchiveLimits) -> bytes:
    with archive.open(info) as file:
        data = file.read(info.file_size + 1)
    if len(data) != info.file_size or len(data) > limits.max_file_bytes:
        raise ArchiveRefused("A file of the ZIP is not as long as it says. Pack the images again.")
    return data


def _folder_of(path: tuple[str, ...]) -> str:
    if len(path) < 2:
        raise ArchiveRefused(
            "An image lies in no folder. Put the images of each label into a folder of that name, "
            f"or name their labels in {LABELS_FILE} (path,label,group)."
        )
    return path[-2]


def _labels(
    archive: zipfile.ZipFile,
    members: list[tuple[zipfile.ZipInfo, tuple[str, ...]]],
    limits: ArchiveLimits,
) -> dict[tuple[str, ...], tuple[str, str | None]] | None:
    """The label and group of each file by ``labels.csv``, if there is one."""
    lists = [(info, path) for info, path in members if path[-1].lower() == LABELS_FILE]
    if not lists:
        labels = {_folder_of(path) for _, path in members}
        if len(labels) > limits.max_labels:
            raise ArchiveRefused(f"The ZIP has {len(labels):,} folders; at most {limits.max_labels} labels are taken.")
        return None
    if len(lists) > 1:
        raise ArchiveRefused(f"The ZIP has more than one {LABELS_FILE}.")
    (info, place), known = lists[0], {path for _, path in members}
    try:
        rows = list(csv.DictReader(io.StringIO(_unpack(archive, info, limits).decode("utf-8-sig")), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ArchiveRefused(f"{LABELS_FILE} is not a CSV in UTF-8.") from error
    found: dict[tuple[str, ...], tuple[str, str | None]] = {}
    for number, row in enumerate(rows, 2):
        if row.get("path") is None or row.get("label") is None:
            raise ArchiveRefused(
                f"Line {number} of {LABELS_FILE} has no path or no label. The first line names the columns."
            )
        path = (*place[:-1], *(part for part in row["path"].replace("\\", "/").split("/") if part not in {"", "."}))
        if path not in known:
            raise ArchiveRefused(f"Line {number} of {LABELS_FILE} names a file that is not in the ZIP.")
        if path in found:
            raise ArchiveRefused(f"Line {number} of {LABELS_FILE} names a file for the second time.")
        found[path] = (row["label"], (row.get("group") or "").strip() or None)
    if len({label for label, _ in found.values()}) > limits.max_labels:
        raise ArchiveRefused(f"{LABELS_FILE} has more than {limits.max_labels} labels.")
    unnamed = len(known) - 1 - len(found)
    if unnamed:
        raise ArchiveRefused(
            f"{unnamed} files of the ZIP are not in {LABELS_FILE}. Name each, or leave it out of the ZIP."
        )
    return found


def _checked(label: str) -> str:
    label = label.strip()
    if not label or len(label) > _LONGEST_LABEL or not label.isprintable():
        raise ArchiveRefused(f"A label is empty, longer than {_LONGEST_LABEL} characters, or cannot be printed.")
    return label
