# SPDX-License-Identifier: Apache-2.0
"""Reading an uploaded ZIP of labeled images, in memory alone.

An image's label is the name of its folder, or stands beside its path in ``labels.csv``.
"""

from __future__ import annotations

import io
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from medhub.errors import Invalid
from medhub.foundation import safe_zip
from medhub.foundation.safe_zip import ArchiveRefused, Member, Path, unpack_member
from medhub.science.learning.label_listing import (
    LABELS_FILE,
    document_kind,
    labels_from_folders,
    read_label_table,
    unify_labels,
)
from medhub.science.learning.patient_splits import Part


@dataclass(frozen=True)
class LabeledZipLimits(safe_zip.ZipLimits):
    """The largest archive of labeled images that is taken."""

    max_labels: int = 200


@dataclass(frozen=True)
class _ImageLabel:
    """What is stated about one image."""

    label: str
    group: str | None = None
    part: Part | None = None


@dataclass(frozen=True)
class LabeledFile:
    """One file of the archive with its label and, where they are stated, its group (the patient) and its part."""

    data: bytes
    label: str
    group: str | None
    part: Part | None = None


def read_archive(data: bytes, limits: LabeledZipLimits, documents: Counter[str] | None = None) -> Iterator[LabeledFile]:
    """The labeled files of a ZIP, one at a time; raises ``ArchiveRefused`` at the first fault.

    ``documents`` counts the files that accompany the images and are not read, by the endings of their names.
    """
    with safe_zip.open_zip(io.BytesIO(data), limits) as (archive, members):
        try:
            labels = _read_labels(archive, members, limits)
        except ArchiveRefused:
            raise
        except Invalid as error:
            raise ArchiveRefused(str(error)) from error
        for info, path in members:
            if path in labels:
                stated = labels[path]
                yield LabeledFile(unpack_member(archive, info, limits), stated.label, stated.group, stated.part)
            elif documents is not None and path[-1].lower() != LABELS_FILE:
                documents[document_kind(path[-1]) or ""] += 1


def _read_labels(
    archive: zipfile.ZipFile, members: Sequence[Member], limits: LabeledZipLimits
) -> Mapping[Path, _ImageLabel]:
    """What is stated about each image, by ``labels.csv`` or else by its folders."""
    lists = [(info, path) for info, path in members if path[-1].lower() == LABELS_FILE]
    if len(lists) > 1:
        raise ArchiveRefused(f"The ZIP has more than one {LABELS_FILE}.")
    images = [path for _, path in members if document_kind(path[-1]) is None]
    if not lists:
        if not images:
            raise ArchiveRefused("There are no images in the ZIP.")
        stated = labels_from_folders([path[:-1] for path in images])
        labels = {path: _ImageLabel(label, None, part) for path, (label, part) in zip(images, stated, strict=True)}
    else:
        info, list_path = lists[0]
        labels = _read_list(unpack_member(archive, info, limits), list_path[:-1], [path for _, path in members])
        unnamed = [path for path in images if path not in labels]
        if unnamed:
            raise ArchiveRefused(
                f"{len(unnamed)} images of the ZIP are not in {LABELS_FILE}. Name each, or leave it out of the ZIP."
            )
    spellings = unify_labels(stated.label for stated in labels.values())
    if (count := len(set(spellings.values()))) > limits.max_labels:
        raise ArchiveRefused(f"The ZIP has {count:,} labels; at most {limits.max_labels} are accepted.")
    return {path: _ImageLabel(spellings[stated.label], stated.group, stated.part) for path, stated in labels.items()}


def _read_list(data: bytes, folder: Path, paths: Sequence[Path]) -> dict[Path, _ImageLabel]:
    known = set(paths)
    by_letters: dict[Path, list[Path]] = {}
    for path in paths:
        by_letters.setdefault(_letters(path), []).append(path)
    labels: dict[Path, _ImageLabel] = {}
    for line in read_label_table(data, LABELS_FILE):
        path = (*folder, *(part for part in line.path.replace("\\", "/").split("/") if part not in {"", "."}))
        if path not in known:
            similar = by_letters.get(_letters(path), [])
            if len(similar) != 1:
                raise ArchiveRefused(f"Line {line.number} of {LABELS_FILE} names a file that is not in the ZIP.")
            path = similar[0]
        if path in labels:
            raise ArchiveRefused(f"Line {line.number} of {LABELS_FILE} names a file for the second time.")
        labels[path] = _ImageLabel(line.label, line.group or None, cast(Part, line.split) if line.split else None)
    _check_completeness(labels)
    return labels


def _letters(path: Path) -> Path:
    """A path without differences of case and of Unicode form, which file systems change."""
    return tuple(unicodedata.normalize("NFC", part).casefold() for part in path)


def _check_completeness(labels: Mapping[Path, _ImageLabel]) -> None:
    without = sum(stated.part is None for stated in labels.values())
    if 0 < without < len(labels):
        raise ArchiveRefused(
            f"{without} of {len(labels)} images in {LABELS_FILE} have no split. Give one to all of them, or to none."
        )
