# SPDX-License-Identifier: Apache-2.0
"""Data sets of labeled images: a CSV file, or a folder with a subfolder for each label.

A CSV has the columns ``path,label``, and optionally ``group`` (images of one patient are in one part), ``split``
(train, val or test) and ``source`` (laboratory, device). Paths are relative to a folder, and must not lead out of it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medhub.errors import Invalid
from medhub.science.arrivals.transient_decoding import decode_photograph
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.photographs.format_registry import PHOTOGRAPH_EXTENSIONS
from medhub.science.inference.preprocessing import Preprocessing, resize
from medhub.science.learning.label_listing import (
    LABELS_FILE,
    LabelLine,
    labels_from_folders,
    read_label_table,
    unify_labels,
)
from medhub.science.learning.patient_splits import PARTS, Part, assign

# One of a label in each part.
FEWEST_OF_A_LABEL = 3
_MOST_SHOWN = 5


@dataclass(frozen=True)
class ListingRow:
    """One image of a data set.

    Attributes
    ----------
    path
        The file.
    name
        The path as the CSV states it.
    label
        The label.
    group
        The group (patient), which is not divided between parts; the name if unknown.
    split
        ``train``, ``val`` or ``test``; empty if it is not yet assigned.
    source
        Laboratory, device or the like; empty if unknown.
    """

    path: Path
    name: str
    label: str
    group: str
    split: str = ""
    source: str = ""


@dataclass(frozen=True)
class ImageSet:
    """Labeled images in memory.

    Attributes
    ----------
    images
        N x S x S x 3, uint8, RGB.
    targets
        N indices into the labels.
    shapes
        N, width by height of each image before resizing; none if unknown.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.int64]
    shapes: NDArray[np.float64] | None = None


def read_listing(path: Path, root: Path | None = None) -> tuple[ListingRow, ...]:
    """Read a CSV file, or a folder with a subfolder for each label.

    Parameters
    ----------
    path
        The CSV file, or the folder.
    root
        Folder that the paths of the CSV are relative to; by default the nearest folder at or above that of the CSV that
        contains the first file.

    Returns
    -------
    tuple[ListingRow, ...]

    Raises
    ------
    Invalid
        A file, a column or a label is missing; a path leads out of the folder; a group is in two parts; or a part is
        unknown.
    """
    if path.is_dir():
        if not (path / LABELS_FILE).is_file():
            return _read_folders(path)
        path, root = path / LABELS_FILE, root or path
    if not path.is_file():
        raise Invalid(f"There is no file {path}.")
    lines = read_label_table(path.read_bytes(), path.name)
    folder = root if root is not None else _root_of(path, lines[0].path)
    spellings = unify_labels(line.label for line in lines)
    rows = tuple(_row(path, folder, line, spellings[line.label]) for line in lines)
    if duplicates := [name for name, count in Counter(row.path for row in rows).items() if count > 1]:
        raise Invalid(f"{path.name} names {_some(str(name) for name in duplicates)} twice.")
    if missing := [row.name for row in rows if not row.path.is_file()]:
        raise Invalid(
            f"{len(missing)} of the {len(rows)} files that {path.name} names are not there: {_some(missing)}. Paths "
            f"are relative to {folder}; name another folder by --root."
        )
    return rows


def _read_folders(root: Path) -> tuple[ListingRow, ...]:
    files = [
        file
        for file in sorted(root.rglob("*"))
        if file.suffix.lower() in PHOTOGRAPH_EXTENSIONS
        and not any(part.startswith(".") for part in file.relative_to(root).parts)
    ]
    names = [file.relative_to(root).as_posix() for file in files]
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    if not files or not any(folders):
        raise Invalid(f"There are no images in {root}: it needs a folder for each label, with images in it.")
    stated = labels_from_folders(folders)
    spellings = unify_labels(label for label, _ in stated)
    return tuple(
        ListingRow(file, name, spellings[label], name, part or "")
        for file, name, (label, part) in zip(files, names, stated, strict=True)
    )


def _root_of(path: Path, first: str) -> Path:
    here = path.resolve().parent
    for folder in (here, *here.parents):
        if first and (folder / first).is_file():
            return folder
    return here


def _row(path: Path, root: Path, line: LabelLine, label: str) -> ListingRow:
    name = line.path
    if "\x00" in name or ".." in PurePosixPath(name.replace("\\", "/")).parts:
        raise Invalid(f"{path.name}, line {line.number}: the path leads out of its folder. Nothing was read.")
    file = root / name
    if not file.is_file() and "\\" in name:
        file = root / name.replace("\\", "/")
    # A symbolic link inside the folder may lead out of it too.
    if not Path(name).is_absolute() and file.exists() and not file.resolve().is_relative_to(root.resolve()):
        raise Invalid(f"{path.name}, line {line.number}: the path leads out of its folder. Nothing was read.")
    return ListingRow(file, name, label, line.group or name, line.split, line.source)


def split_rows(rows: Sequence[ListingRow], key: bytes) -> tuple[ListingRow, ...]:
    """Assign a part to each row: that of the listing, or by a keyed hash of the group if the listing has none.

    Raises
    ------
    Invalid
        Only some rows have a part, there is only one label, a label has too few images, or a part lacks a label.
    """
    labels = labels_of(rows)
    if len(labels) < 2:
        raise Invalid(f'All images have the label "{labels[0]}". A classifier needs two labels or more.')
    counts = Counter(row.label for row in rows)
    if few := [label for label in labels if counts[label] < FEWEST_OF_A_LABEL]:
        raise Invalid(
            f"Too few images of {_some(f'{label} ({counts[label]})' for label in few)}: each label needs "
            f"{FEWEST_OF_A_LABEL}, one to learn from, one to validate with, one to measure with. Add images, or leave "
            "the label out."
        )
    without = sum(not row.split for row in rows)
    if 0 < without < len(rows):
        raise Invalid(f"{without} of {len(rows)} images have no split. Give one to all of them, or to none.")
    if without:
        parts = assign(((row.group, row.label) for row in rows), key)
        rows = [replace(row, split=parts[row.group]) for row in rows]
    there = {(row.split, row.label) for row in rows}
    if lacking := [f"{part} has no {label}" for part in PARTS for label in labels if (part, label) not in there]:
        raise Invalid(f"The parts cannot be used: {_some(lacking)}. Images of more patients are needed.")
    return tuple(rows)


def with_sources(rows: Sequence[ListingRow], source_of: Callable[[str], str]) -> tuple[ListingRow, ...]:
    """Set the source of each row that has none."""
    return tuple(row if row.source else replace(row, source=source_of(row.name)) for row in rows)


def labels_of(rows: Iterable[ListingRow]) -> tuple[str, ...]:
    """List the labels, sorted."""
    return tuple(sorted({row.label for row in rows}))


def part_of(rows: Iterable[ListingRow], part: Part) -> tuple[ListingRow, ...]:
    """List the rows of one part."""
    return tuple(row for row in rows if row.split == part)


def digest_of(rows: Iterable[ListingRow]) -> str:
    """Compute the digest of a data set: SHA-256 over the digest, label, group and part of each image, sorted."""
    digest = hashlib.sha256()
    lines = sorted((hashlib.sha256(row.path.read_bytes()).hexdigest(), row.label, row.group, row.split) for row in rows)
    for line in lines:
        digest.update("\t".join(line).encode() + b"\n")
    return digest.hexdigest()


def load_images(
    rows: Sequence[ListingRow],
    labels: tuple[str, ...],
    preprocessing: Preprocessing,
    read: Callable[[], None] = lambda: None,
) -> ImageSet:
    """Read images into memory, resized to the input size of the network.

    Parameters
    ----------
    rows
        The images.
    labels
        The labels in the order of the classifier's outputs.
    preprocessing
        The preprocessing of the classifier; only its resizing is applied.
    read
        Called after each image.

    Returns
    -------
    ImageSet

    Raises
    ------
    Invalid
        Files cannot be decoded; the message names up to five of them.
    """
    side = preprocessing.size
    images = np.empty((len(rows), side, side, 3), np.uint8)
    shapes = np.ones(len(rows))
    broken: list[str] = []

    def fill(index: int) -> None:
        try:
            image = read_image(rows[index].path)
            images[index], shapes[index] = resize(image, preprocessing), image.shape[1] / image.shape[0]
        except Unacceptable as error:
            broken.append(f"{rows[index].name} ({error.message.split('.')[0]})")
        read()

    with ThreadPoolExecutor(4) as pool:  # decoding releases the global interpreter lock
        list(pool.map(fill, range(len(rows))))
    if broken:
        raise Invalid(
            f"{len(broken)} of {len(rows)} files cannot be read as images: {_some(sorted(broken))}. Mend them, or take "
            "them out of the list."
        )
    return ImageSet(images, np.array([labels.index(row.label) for row in rows], np.int64), shapes)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file as height x width x 3, RGB, by the decoder that also serves.

    Raises
    ------
    Unacceptable
        The file is not an image, or exceeds the size limits.
    """
    return decode_photograph(path.read_bytes(), DecodingLimits())


def thumbnails(rows: Sequence[ListingRow], side: int) -> NDArray[np.float32]:
    """Read images as grayscale thumbnails, N x side x side; unreadable files are black."""
    small = np.zeros((len(rows), side, side), np.float32)

    def fill(index: int) -> None:
        try:
            with Image.open(rows[index].path) as image:
                image.draft("L", (side * 4, side * 4))
                grey = image.convert("L").resize((side, side), Image.Resampling.BOX)
            small[index] = np.asarray(grey, np.float32)
        except (OSError, ValueError, Image.DecompressionBombError):
            return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, range(len(rows))))
    return small


def as_part(split: str) -> Part:
    """The part of a checked row."""
    return cast(Part, split)


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _MOST_SHOWN} more" if len(listed) > _MOST_SHOWN else ""
    return ", ".join(listed[:_MOST_SHOWN]) + more
