# SPDX-License-Identifier: Apache-2.0
"""Labels of images: a table with a line for each image, or the folders that the images are in.

Every way in which a data set comes (command line, ZIP in the app) reads it here, so that the same files give the same
labels and parts.
"""

from __future__ import annotations

import codecs
import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from medhub.errors import Invalid
from medhub.science.learning.patient_splits import PARTS, Part

LABELS_FILE = "labels.csv"
LONGEST_LABEL = 100
_NEEDED = ("path", "label")
_SEPARATORS = ",;\t|"
_PART_FOLDERS: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
# Files that accompany data sets, by the ending of their names.
_DOCUMENTS = {
    ".csv", ".doc", ".docx", ".html", ".ini", ".json", ".jsonl", ".log", ".md", ".odt", ".parquet", ".pdf", ".py",
    ".rst", ".rtf", ".sha256", ".toml", ".tsv", ".txt", ".xls", ".xlsx", ".xml", ".yaml", ".yml",
}  # fmt: skip
_DOCUMENT_NAMES = {"license", "licence", "readme", "copying", "citation", "changelog", "dicomdir"}


@dataclass(frozen=True)
class LabelLine:
    """One line of a table of labels, with its number for messages; empty text where nothing is stated."""

    number: int
    path: str
    label: str
    group: str
    split: str
    source: str


def document_kind(name: str) -> str | None:
    """The ending of a file that accompanies a data set, such as ``.txt``; None for every other file."""
    path = PurePosixPath(name.lower())
    if path.suffix in _DOCUMENTS:
        return path.suffix
    return path.stem if path.stem in _DOCUMENT_NAMES and not path.suffix else None


def read_label_table(data: bytes, name: str) -> list[LabelLine]:
    """Read a CSV with the columns path, label and optionally group, split and source.

    The separator is a comma, a semicolon, a tab or a vertical bar; the case and order of the columns do not matter, and
    further columns are ignored.

    Raises
    ------
    Invalid
        The encoding, a column, a path, a label or a part is missing or wrong, or a group is in two parts; the message
        names the line or the group.
    """
    text = _decode(data, name)
    first_line, _, rest = text.partition("\n")
    declares = first_line[:4].lower() == "sep="  # a line that Excel writes and reads
    separators = _SEPARATORS
    if declares:
        text, separators = rest, first_line[4:5].strip('\r"') or _SEPARATORS
    try:
        lines = _lines_by_column(text, separators, name)
    except csv.Error as error:
        raise Invalid(f"{name} cannot be read as CSV: {error}.") from error
    rows = [_check_line(name, number + declares, line) for number, line in lines if any(line.values())]
    if not rows:
        raise Invalid(f"{name} names no image.")
    _check_groups(name, rows)
    return rows


def _decode(data: bytes, name: str) -> str:
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid(f"{name} is not in UTF-8. Save it as “CSV UTF-8”.") from error


def _lines_by_column(text: str, separators: str, name: str) -> list[tuple[int, dict[str, str]]]:
    """The number and the values by column of each line, by the first separator that gives the needed columns."""
    for separator in separators:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        columns = [column.strip().lower() for column in next(reader, [])]
        if set(_NEEDED) <= set(columns):
            if repeated := [column for column, count in Counter(columns).items() if count > 1 and column]:
                raise Invalid(f"{name} has the column {repeated[0]} twice.")
            return [
                (reader.line_num, dict(zip(columns, (cell.strip() for cell in line), strict=False))) for line in reader
            ]
    first = text.partition("\n")[0].strip()
    raise Invalid(
        f"{name} lacks the columns path and label in its first line, which is {first[:100]!r}. "
        "It needs path,label[,group][,split]."
    )


def _check_line(name: str, number: int, line: dict[str, str]) -> LabelLine:
    path, split = line.get("path", ""), line.get("split", "").lower()
    if not path or not line.get("label"):
        raise Invalid(f"{name}, line {number}: path and label must not be empty.")
    if split and split not in PARTS:
        raise Invalid(f'{name}, line {number}: split is "{split}"; it is train, val or test.')
    try:
        label = clean_label(line["label"])
    except Invalid as error:
        raise Invalid(f"{name}, line {number}: {error}") from None
    return LabelLine(number, path, label, line.get("group", ""), split, line.get("source", ""))


def _check_groups(name: str, rows: Iterable[LabelLine]) -> None:
    parts: dict[str, str] = {}
    for row in rows:
        if row.group and row.split and parts.setdefault(row.group, row.split) != row.split:
            raise Invalid(
                f'{name}: the group "{row.group}" is in {parts[row.group]} and in {row.split}. Images of one group in '
                "two parts would be learned and measured with."
            )


def clean_label(label: str) -> str:
    """Return a label in Unicode's composed form (NFC) without surplus spaces; raises ``Invalid`` if it is none."""
    label = unicodedata.normalize("NFC", " ".join(label.split()))
    if not label or len(label) > LONGEST_LABEL or not label.isprintable():
        raise Invalid(f"a label is empty, longer than {LONGEST_LABEL} characters, or cannot be printed.")
    return label


def unify_labels(labels: Iterable[str]) -> dict[str, str]:
    """Map each label to the spelling in use: the most frequent one of words that differ by case alone.

    Single letters stay as they are: K and k are two antigens.
    """
    spellings = Counter(labels)
    by_word: dict[str, list[str]] = {}
    for label in spellings:
        by_word.setdefault(label.casefold() if len(label) > 1 else label, []).append(label)
    return {
        label: max(sorted(variants), key=lambda variant: spellings[variant])
        for variants in by_word.values()
        for label in variants
    }


def labels_from_folders(folders: Sequence[tuple[str, ...]]) -> list[tuple[str, Part | None]]:
    """Return the label and the part of each image by the folders that it is in.

    The label is the innermost folder. If all images are in folders train, val and test, around or inside those of the
    labels, these are the parts.

    Raises
    ------
    Invalid
        An image is in no folder, only some are in a folder of a part, or nothing but parts can be read.
    """
    if not all(folders):
        raise Invalid(
            "An image is in no folder. Put the images of each label into a folder of that name, "
            f"or name their labels in {LABELS_FILE} (path,label,group,split)."
        )
    inner = _without_common_folders(folders)
    outermost = {path[0].lower() for path in inner}
    if any(len(path) == 1 for path in inner) and _PART_FOLDERS.keys() >= outermost and len(outermost) > 1:
        raise Invalid("The folders are named after parts (train, val, test). Each needs a folder for each label.")
    for position_of_part, position_of_label in ((0, -1), (-1, -2)):
        parts = [_PART_FOLDERS.get(path[position_of_part].lower()) if len(path) > 1 else None for path in inner]
        if None not in parts:
            labels = [clean_label(path[position_of_label]) for path in inner]
            return list(zip(labels, parts, strict=True))
        if "train" in parts:
            outside = "/".join(inner[parts.index(None)])
            raise Invalid(
                f"Only some images are in the folders train, val and test; those in {outside[:100]!r} are not."
            )
    return [(clean_label(path[-1]), None) for path in inner]


def _without_common_folders(folders: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The folders of each image below those that contain all images; the innermost one always stays."""
    common = 0
    while all(len(path) > common + 1 for path in folders) and len({path[common] for path in folders}) == 1:
        common += 1
    return [path[common:] for path in folders]
