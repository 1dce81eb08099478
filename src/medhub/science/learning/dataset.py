# SPDX-License-Identifier: Apache-2.0
"""The images of a split file, resized as serving resizes them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medhub.errors import Invalid
from medhub.science.inference.preprocessing import Preprocessing, resize

Part = Literal["train", "val", "test"]
_COLUMNS = {"path", "label", "group", "split"}


@dataclass(frozen=True)
class Row:
    """One line of a split file; images of one group lie in one part."""

    path: str
    label: str
    group: str
    split: str


@dataclass(frozen=True)
class ImageSet:
    """Images in memory.

    Attributes
    ----------
    images
        N x S x S x 3, uint8, RGB.
    targets
        N indices into the labels.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.int64]


def read_split(path: Path) -> tuple[Row, ...]:
    """Read a split file, and check that no group lies in two parts.

    Parameters
    ----------
    path
        CSV with the columns ``path,label,group,split``.

    Returns
    -------
    tuple[Row, ...]

    Raises
    ------
    Invalid
        The file is missing, a column is, or a group is in two parts (its images would be learned and measured with).
    """
    if not path.is_file():
        raise Invalid(f"There is no split file {path.name}.")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if missing := _COLUMNS - set(reader.fieldnames or ()):
            raise Invalid(f"{path.name} lacks the columns {sorted(missing)}.")
        rows = tuple(Row(line["path"], line["label"], line["group"], line["split"]) for line in reader)
    parts: dict[str, str] = {}
    for row in rows:
        if parts.setdefault(row.group, row.split) != row.split:
            raise Invalid(f'{path.name}: the group "{row.group}" is in {parts[row.group]} and in {row.split}.')
    return rows


def labels_of(rows: tuple[Row, ...]) -> tuple[str, ...]:
    """List the labels of a split in alphabetical order."""
    return tuple(sorted({row.label for row in rows}))


def part_of(rows: tuple[Row, ...], part: Part) -> tuple[Row, ...]:
    """List the rows of one part."""
    return tuple(row for row in rows if row.split == part)


def load_images(folder: Path, rows: tuple[Row, ...], labels: tuple[str, ...], preprocessing: Preprocessing) -> ImageSet:
    """Read images into memory.

    Parameters
    ----------
    folder
        What the paths of the split are relative to.
    rows
        The images.
    labels
        The labels in the order of the classifier's outputs.
    preprocessing
        The classifier's preprocessing; its resizing is applied.

    Returns
    -------
    ImageSet
    """
    side = preprocessing.size
    images = np.empty((len(rows), side, side, 3), np.uint8)
    for index, row in enumerate(rows):
        images[index] = resize(read_image(folder / row.path), preprocessing)
    return ImageSet(images, np.array([labels.index(row.label) for row in rows], np.int64))


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read a trusted image file as height x width x 3, RGB. Uploads are read by ``science.imaging`` instead."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
