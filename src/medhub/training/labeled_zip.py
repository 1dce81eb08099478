# SPDX-License-Identifier: Apache-2.0
"""Reading a ZIP of labeled images that nobody vouches for, in memory alone.

An image's label is the name of its folder, or stands beside its path in ``labels.csv``.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

from medhub.foundation import safe_zip
from medhub.foundation.safe_zip import ArchiveRefused, Member, Path, unpack_member

LABELS_FILE = "labels.csv"
_LONGEST_LABEL = 100


@dataclass(frozen=True)
class LabeledZipLimits(safe_zip.ZipLimits):
    """The largest archive of labeled images that is taken."""

    max_labels: int = 200


@dataclass(frozen=True)
class LabeledFile:
    """One file of the archive with its label and, where one was given, the group (the patient) that it belongs to."""

    data: bytes
    label: str
    group: str | None


def read_archive(data: bytes, limits: LabeledZipLimits) -> Iterator[LabeledFile]:
    """The labeled files of a ZIP, one at a time; ``ArchiveRefused`` at the first thing that is not as it should be."""
    with safe_zip.open_zip(io.BytesIO(data), limits) as (archive, members):
        labels = _read_labels(archive, members, limits)
        for info, path in members:
            if path[-1].lower() == LABELS_FILE:
                continue
            label, group = labels[path] if labels is not None else (_folder_of(path), None)
            yield LabeledFile(unpack_member(archive, info, limits), _check_label(label), group)


def _folder_of(path: Path) -> str:
    if len(path) < 2:
        raise ArchiveRefused(
            "An image lies in no folder. Put the images of each label into a folder of that name, "
            f"or name their labels in {LABELS_FILE} (path,label,group)."
        )
    return path[-2]


def _read_labels(
    archive: zipfile.ZipFile,
    members: list[Member],
    limits: LabeledZipLimits,
) -> dict[Path, tuple[str, str | None]] | None:
    """The label and group of each file by ``labels.csv``, if there is one."""
    lists = [(info, path) for info, path in members if path[-1].lower() == LABELS_FILE]
    if not lists:
        labels = {_folder_of(path) for _, path in members}
        if len(labels) > limits.max_labels:
            raise ArchiveRefused(f"The ZIP has {len(labels):,} folders; at most {limits.max_labels} labels are taken.")
        return None
    if len(lists) > 1:
        raise ArchiveRefused(f"The ZIP has more than one {LABELS_FILE}.")
    (info, list_path), known = lists[0], {path for _, path in members}
    try:
        rows = list(csv.DictReader(io.StringIO(unpack_member(archive, info, limits).decode("utf-8-sig")), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ArchiveRefused(f"{LABELS_FILE} is not a CSV in UTF-8.") from error
    labels_by_path: dict[Path, tuple[str, str | None]] = {}
    for number, row in enumerate(rows, 2):
        if row.get("path") is None or row.get("label") is None:
            raise ArchiveRefused(
                f"Line {number} of {LABELS_FILE} has no path or no label. The first line names the columns."
            )
        path = (*list_path[:-1], *(part for part in row["path"].replace("\\", "/").split("/") if part not in {"", "."}))
        if path not in known:
            raise ArchiveRefused(f"Line {number} of {LABELS_FILE} names a file that is not in the ZIP.")
        if path in labels_by_path:
            raise ArchiveRefused(f"Line {number} of {LABELS_FILE} names a file for the second time.")
        labels_by_path[path] = (row["label"], (row.get("group") or "").strip() or None)
    if len({label for label, _ in labels_by_path.values()}) > limits.max_labels:
        raise ArchiveRefused(f"{LABELS_FILE} has more than {limits.max_labels} labels.")
    unnamed = len(known) - 1 - len(labels_by_path)
    if unnamed:
        raise ArchiveRefused(
            f"{unnamed} files of the ZIP are not in {LABELS_FILE}. Name each, or leave it out of the ZIP."
        )
    return labels_by_path


def _check_label(label: str) -> str:
    label = label.strip()
    if not label or len(label) > _LONGEST_LABEL or not label.isprintable():
        raise ArchiveRefused(f"A label is empty, longer than {_LONGEST_LABEL} characters, or cannot be printed.")
    return label
