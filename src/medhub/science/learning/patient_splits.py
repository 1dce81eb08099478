# SPDX-License-Identifier: Apache-2.0
"""Splits of patients into training, validation and test parts by a keyed hash.

The part of a group depends only on the key and the group, not on the other data. A later version of a data set
therefore never moves a patient to another part, and nobody without the key can choose a name that is assigned to a
certain part.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
SHARES = (0.70, 0.15, 0.15)


def part_of_group(key: bytes, group: str, shares: tuple[float, float, float] = SHARES) -> Part:
    """Compute the part of a group, such as a patient.

    Parameters
    ----------
    key
        Secret of the installation or of the data set; at least 16 bytes.
    group
        Code of the patient, or the name of the group.
    shares
        Shares of training, validation and test; their sum is 1. They must not change for a key.

    Returns
    -------
    Part

    Raises
    ------
    ValueError
        The key is too short, a share is negative, or their sum is not 1.
    """
    if len(key) < 16:
        raise ValueError("a key has at least 16 bytes")
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError("the shares are not negative and their sum is 1")
    position = int.from_bytes(hmac.new(key, group.encode(), hashlib.sha256).digest()[:8]) / 2**64
    if position < shares[0]:
        return "train"
    return "val" if position < shares[0] + shares[1] else "test"


def missing_labels(labels: Sequence[str], parts: Sequence[str]) -> list[tuple[str, str]]:
    """List the labels that a part lacks, as (part, label); random splits of few patients may lack one.

    Parameters
    ----------
    labels, parts
        Label and part of each image.

    Returns
    -------
    list[tuple[str, str]]
    """
    there = Counter(zip(parts, labels, strict=True))
    return [(part, label) for part in PARTS for label in sorted(set(labels)) if not there[part, label]]


def assign(groups: Iterable[tuple[str, str]], key: bytes, locked: Mapping[str, Part] | None = None) -> dict[str, Part]:
    """Split groups, stratified by label, without moving groups that already have a part.

    Within each label, new groups are processed in the order of their keyed hash, and each is assigned to the part that
    is furthest below its share. If the result of every earlier version is passed as ``locked``, no patient ever changes
    the part. Unlike ``part_of_group``, the shares are also met in small data sets.

    Parameters
    ----------
    groups
        Group and label of each image; a group with several labels has its most frequent one.
    key
        Secret; at least 16 bytes.
    locked
        Parts of groups that are already assigned.

    Returns
    -------
    dict[str, Part]
        The part of each group.
    """
    if len(key) < 16:
        raise ValueError("a key has at least 16 bytes")
    locked = locked or {}
    label_counts: dict[str, Counter[str]] = {}
    for group, label in groups:
        label_counts.setdefault(group, Counter())[label] += 1
    by_label: dict[str, list[str]] = {}
    for group, labels in label_counts.items():
        by_label.setdefault(min(labels, key=lambda label: (-labels[label], label)), []).append(group)
    parts: dict[str, Part] = {}
    for members in by_label.values():
        part_counts: Counter[Part] = Counter()
        for group in members:
            if group in locked:
                parts[group] = locked[group]
                part_counts[locked[group]] += 1
        added = [group for group in members if group not in locked]
        for group in sorted(added, key=lambda group: hmac.new(key, group.encode(), hashlib.sha256).digest()):
            total = sum(part_counts.values()) + 1
            deficits = {part: share * total - part_counts[part] for part, share in zip(PARTS, SHARES, strict=True)}
            # The second and third group of a label go to validation and test, so that neither lacks the label.
            if part_counts["train"] and not part_counts["val"]:
                part: Part = "val"
            elif part_counts["train"] and not part_counts["test"]:
                part = "test"
            else:
                part = max(PARTS, key=lambda part_name: deficits[part_name])
            parts[group] = part
            part_counts[part] += 1
    return parts
