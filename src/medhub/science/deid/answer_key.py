# SPDX-License-Identifier: Apache-2.0
"""Comparison of de-identified files with an answer key, as in the MIDI-B challenge (2024).

A key lists checks for each object. A missing file fails all of its checks. Text that must be removed is searched in the
complete object, word by word, so that neither a dummy that contains a part of it nor a leak into another attribute
passes.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pydicom
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydicom import Dataset

from medhub.errors import Invalid

Category = Literal[
    "tag_retained",
    "text_retained",
    "text_removed",
    "date_shifted",
    "uid_changed",
    "uid_consistent",
    "patient_consistent",
    "pixels_retained",
    "pixels_hidden",
]
# A failure of these means that too much was changed; a failure of the others, that too little was.
OVER_DONE = frozenset(("tag_retained", "text_retained", "pixels_retained"))
_WORD = re.compile(r"[^\W_]+")
_PATH = re.compile(r"\(([0-9A-Fa-f]{4}),([0-9A-Fa-f]{4})\)(?:\[(\d+)\])?")
_LEAST_IN_BYTES = 5
_PIXELS = 0x7FE00010
# A box counts as hidden if no more than this share of the contrast of its text is left.
_HIDDEN = 0.05


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AnswerKeyCheck(_Part):
    """One check of an object.

    Attributes
    ----------
    category
        Kind of check.
    path
        Of the attribute, as a manifest writes it; empty for pixels.
    value
        The original value: the text that must stay or go, the date, the UID. An attribute that must stay keeps it too,
        where it is given.
    box
        Frame, and left, top, right and bottom in pixels, for ``pixels_hidden``.
    """

    category: Category
    path: Annotated[str, Field(pattern=r"^(?:\([0-9A-Fa-f]{4},[0-9A-Fa-f]{4}\)(?:\[\d+\])?)*$")] = ""
    value: str = ""
    box: tuple[int, int, int, int, int] | None = None


class KeyObject(_Part):
    """One object of a key: its received file, its patient, and its checks."""

    input: str
    patient: str = ""
    checks: tuple[AnswerKeyCheck, ...]


class AnswerKey(_Part):
    """An answer key."""

    format: Literal["medhub-deid-key/1"] = "medhub-deid-key/1"
    objects: Annotated[tuple[KeyObject, ...], Field(min_length=1)]


@dataclass
class Score:
    """Result of a comparison.

    Attributes
    ----------
    met, missed, over_done
        Number of checks by category.
    failures
        Input, category and path of each check that failed; never a value.
    """

    met: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    over_done: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Share of the checks that were met."""
        met = sum(self.met.values())
        return met / (met + sum(self.missed.values()) + sum(self.over_done.values()))


def read_key(path: Path) -> AnswerKey:
    """Read an answer key.

    Raises
    ------
    Invalid
        It is not JSON, or not a key.
    """
    try:
        return AnswerKey.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(str(part) for part in first["loc"]) or "the key as a whole"
        raise Invalid(f"{path.name} is no answer key: {location}: {first['msg']}.", field="key") from error


def outputs_of(manifest: Path) -> dict[str, str]:
    """Read from a manifest which output each input has.

    Raises
    ------
    Invalid
        A line is not a line of a manifest.
    """
    outputs: dict[str, str] = {}
    for number, line in enumerate(manifest.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entry = json.loads(line)
            if entry["output"] is not None:
                outputs[entry["input"]] = entry["output"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise Invalid(f"{manifest.name}, line {number}, is no line of a manifest.", field="manifest") from error
    return outputs


def score(key: AnswerKey, outputs: Mapping[str, str], folder: Path, received: Path | None = None) -> Score:
    """Compare de-identified files with a key.

    Parameters
    ----------
    key
        The checks.
    outputs
        Output of each input, relative to ``folder``; inputs without one fail their checks.
    folder
        Of the de-identified files.
    received
        Folder of the inputs, for checks of pixels; without it they fail.

    Returns
    -------
    Score
    """
    result = Score()
    uids: dict[str, set[str]] = defaultdict(set)
    patients: dict[str, set[str]] = defaultdict(set)
    shifts: dict[str, set[int]] = defaultdict(set)
    deferred: list[tuple[KeyObject, AnswerKeyCheck, str]] = []
    for key_object in key.objects:
        dataset = _read_file(folder, outputs.get(key_object.input))
        original = _read_file(received, key_object.input) if received is not None else None
        for check in key_object.checks:
            if dataset is None:
                _record_check(result, key_object, check, False)
            elif check.category in ("uid_consistent", "patient_consistent", "date_shifted"):
                value = _value_at(dataset, check.path)
                if check.category == "uid_consistent":
                    uids[check.value].add(value)
                elif check.category == "patient_consistent":
                    patients[key_object.patient].add(value)
                elif (days := _days_between(check.value, value)) is not None:
                    shifts[key_object.patient].add(days)
                deferred.append((key_object, check, value))
            else:
                _record_check(result, key_object, check, _meets_check(check, dataset, original))
    shared = Counter(value for values in uids.values() for value in values)
    codes = Counter(value for values in patients.values() for value in values)
    for key_object, check, value in deferred:
        if check.category == "uid_consistent":
            holds = bool(value) and len(uids[check.value]) == 1 and shared[value] == 1
        elif check.category == "patient_consistent":
            holds = bool(value) and len(patients[key_object.patient]) == 1 and codes[value] == 1
        else:
            holds = _days_between(check.value, value) not in (None, 0) and len(shifts[key_object.patient]) == 1
        _record_check(result, key_object, check, holds)
    return result


def _record_check(result: Score, key_object: KeyObject, check: AnswerKeyCheck, holds: bool) -> None:
    if holds:
        result.met[check.category] += 1
        return
    (result.over_done if check.category in OVER_DONE else result.missed)[check.category] += 1
    result.failures.append((key_object.input, check.category, check.path))


def _read_file(folder: Path | None, name: str | None) -> Dataset | None:
    if folder is None or name is None or not (folder / name).is_file():
        return None
    try:
        return pydicom.dcmread(BytesIO((folder / name).read_bytes()), force=True)
    # A file that cannot be read fails its checks like a missing file.
    except Exception:
        return None


def _find_element(dataset: Dataset, path: str) -> pydicom.DataElement | None:
    container: Dataset | None = dataset
    element = None
    for group, number, item in _PATH.findall(path):
        if container is None:
            return None
        tag = int(group, 16) << 16 | int(number, 16)
        if tag not in container:
            return None
        element = container[tag]
        container = None
        if item:
            items = element.value or ()
            if int(item) > len(items):
                return None
            container = items[int(item) - 1]
    return element


def _value_at(dataset: Dataset, path: str) -> str:
    element = _find_element(dataset, path)
    return "" if element is None or element.value is None else str(element.value)


def _meets_check(check: AnswerKeyCheck, dataset: Dataset, original: Dataset | None) -> bool:
    if check.category == "tag_retained":
        element = _find_element(dataset, check.path)
        return element is not None and check.value in ("", str(element.value))
    if check.category == "text_retained":
        return set(_split_words(check.value)) <= set(_split_words(_value_at(dataset, check.path)))
    if check.category == "text_removed":
        sought = set(_split_words(check.value))
        return not sought & _words_of_dataset(dataset) and not _occurs_in_bytes(sought, dataset)
    if check.category == "uid_changed":
        return _value_at(dataset, check.path) not in ("", check.value)
    if original is None:
        return False
    before, after = original.pixel_array, dataset.pixel_array
    if check.category == "pixels_retained":
        return bool(np.array_equal(before, after))
    return check.box is not None and _is_hidden(before, after, check.box)


def _is_hidden(before: np.ndarray, after: np.ndarray, box: tuple[int, int, int, int, int]) -> bool:
    frame, left, top, right, bottom = box
    frames = before.ndim - (2 if before.shape[-1] not in (3, 4) else 3)
    parts = [pixels[frame] if frames else pixels for pixels in (before, after)]
    old, new = (part[top:bottom, left:right].astype(np.float64) for part in parts)
    spread = old.std()
    if not spread:
        return True
    correlation = np.abs(np.corrcoef(old.ravel(), new.ravel())[0, 1]) if new.std() > 1e-9 else 0.0
    return bool(correlation <= _HIDDEN or new.std() <= _HIDDEN * spread)


def _split_words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


def _words_of_dataset(dataset: Dataset) -> set[str]:
    words: set[str] = set()
    for element in dataset.iterall():
        if element.VR not in ("SQ", "UI") and not isinstance(element.value, bytes):
            words |= set(_split_words(str(element.value)))
    return words


def _occurs_in_bytes(words: set[str], dataset: Dataset) -> bool:
    """Whether a word occurs in bytes other than pixels; words too short for this occur in bytes by chance."""
    forms = [word.encode() for word in words if len(word) >= _LEAST_IN_BYTES]
    blocks = [
        element.value.lower()
        for element in dataset.iterall()
        if isinstance(element.value, bytes) and element.tag != _PIXELS
    ]
    return any(form in block for block in blocks for form in forms)


def _days_between(before: str, after: str) -> int | None:
    try:
        first, second = (np.datetime64(f"{value[:4]}-{value[4:6]}-{value[6:8]}") for value in (before, after))
    except ValueError:
        return None
    return int((second - first).astype(int))
