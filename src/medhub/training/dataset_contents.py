# SPDX-License-Identifier: Apache-2.0
"""What a version of a data set holds, as plain values: its rows, how many of which kind, and the digest of it all."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from medhub.errors import Conflict, Invalid
from medhub.foundation import clock
from medhub.science.learning.patient_splits import PARTS, Part, part_of_group

FEWEST_LABELS = 2


class NothingToLearn(Conflict):
    """There are no labeled images to make a version of."""

    code = "nothing-to-learn"


class SingleLabel(Invalid):
    """All images have the same label."""

    code = "one-label-only"


@dataclass(frozen=True)
class Entry:
    """One labeled image: what it shows, whose it is, and who says so."""

    content: str  # SHA-256 of the stored image
    group: str  # a patient's id, or a keyed hash of the group that was given
    label: str
    part: Part | None = None  # as the uploaded list states it
    image_id: str | None = None
    patient_id: str | None = None
    case_id: str | None = None
    case_version: int | None = None
    labeled_by: str | None = None
    labeled_at: datetime | None = None

    def line(self, part: Part, group_key: str) -> str:
        """The row as it is hashed."""
        labeled_at = clock.iso(self.labeled_at) if self.labeled_at is not None else None
        facts = [
            self.content,
            self.label,
            group_key,
            part,
            self.case_id,
            self.case_version,
            self.labeled_by,
            labeled_at,
        ]
        return json.dumps(facts, ensure_ascii=False, separators=(",", ":"))


def check_labels(labels: Iterable[str]) -> None:
    """Refuse a version from which nothing can be learned."""
    names = sorted(set(labels))
    if not names:
        raise NothingToLearn("There are no labeled images here. Nothing was made.")
    if len(names) < FEWEST_LABELS:
        raise SingleLabel(
            f"All images have the label “{names[0]}”. A classifier tells labels apart: it needs at least two."
        )


def part_of(key: bytes, entry: Entry) -> Part:
    """The stated part of an image; else that of its patient, whatever else there is and will be."""
    return entry.part or part_of_group(key, entry.group)


def count_labels(labels: Sequence[str], parts: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many images of each label are in each part."""
    pairs = Counter(zip(labels, parts, strict=True))
    return {label: {part: pairs[label, part] for part in PARTS} for label in sorted(set(labels))}


def describe_gaps(counted: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What a training from these counts cannot do, in words."""
    words = {"train": "learned", "val": "tuned and calibrated", "test": "measured"}
    sentences = []
    for part in PARTS:
        missing = [label for label, of in counted.items() if not of.get(part)]
        if missing:
            sentences.append(
                f"No image of {', '.join(missing)} is in the part “{part}”: it cannot be {words[part]} there. "
                "More patients fill the gap; which part a patient belongs to never changes."
            )
    return sentences


def digest_of_rows(lines: Iterable[str]) -> str:
    """SHA-256 over the sorted rows, each ended by a line feed."""
    hasher = hashlib.sha256()
    for line in sorted(lines):
        hasher.update(line.encode())
        hasher.update(b"\n")
    return hasher.hexdigest()
