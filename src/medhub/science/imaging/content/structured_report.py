# SPDX-License-Identifier: Apache-2.0
"""The content tree of a structured report or of a selection of key objects (PS3.3, C.17.3)."""

from __future__ import annotations

from typing import Any

from pydicom import Dataset

from medhub.science.imaging.content.attribute_text import code, date, items, number, words
from medhub.science.imaging.dicom.object_kinds import class_name

MAX_NODES = 5_000
_MAX_DEPTH = 32
# The attribute that holds a value, by its type.
_PLAIN = {"TEXT": "TextValue", "PNAME": "PersonName", "UIDREF": "UID", "TIME": "Time"}
_DATES = {"DATE": "Date", "DATETIME": "DateTime"}
_COORDINATES = frozenset(("SCOORD", "SCOORD3D", "TCOORD"))

Node = dict[str, Any]


def content_tree(dataset: Dataset) -> tuple[Node, bool]:
    """Read the tree of a report.

    Parameters
    ----------
    dataset
        As stored.

    Returns
    -------
    tuple[dict, bool]
        The root, each node with ``name``, ``value``, ``kind``, ``relation``, ``refers_to`` (the SOP Instance UID of
        an object that it names) and ``children``; and whether all of it is there.
    """
    budget = [MAX_NODES]
    return _node(dataset, budget, 0), budget[0] > 0


def _node(item: Dataset, budget: list[int], depth: int) -> Node:
    budget[0] -= 1
    kind = words(item, "ValueType")
    value, refers_to = _value(item, kind)
    children: list[Node] = []
    if depth < _MAX_DEPTH:
        for child in items(item, "ContentSequence"):
            if budget[0] <= 0:
                break
            children.append(_node(child, budget, depth + 1))
    elif items(item, "ContentSequence", 1):
        budget[0] = 0
    return {
        "name": code(item, "ConceptNameCodeSequence"),
        "value": value,
        "kind": kind,
        "relation": words(item, "RelationshipType"),
        "refers_to": refers_to,
        "children": children,
    }


def _value(item: Dataset, kind: str) -> tuple[str, str]:
    """The value of a node as text, and the object to which it refers."""
    if kind in _PLAIN:
        return words(item, _PLAIN[kind]).replace("^", " "), ""
    if kind in _DATES:
        return date(words(item, _DATES[kind])), ""
    if kind == "CODE":
        return code(item, "ConceptCodeSequence"), ""
    if kind == "NUM":
        for measured in items(item, "MeasuredValueSequence", 1):
            unit = next(iter(items(measured, "MeasurementUnitsCodeSequence", 1)), Dataset())
            symbol = words(unit, "CodeValue")
            return f"{number(measured, 'NumericValue')} {'' if symbol == '1' else symbol}".strip(), ""
        return code(item, "NumericValueQualifierCodeSequence"), ""
    if kind in ("IMAGE", "COMPOSITE", "WAVEFORM"):
        for referred in items(item, "ReferencedSOPSequence", 1):
            name = class_name(words(referred, "ReferencedSOPClassUID")).removesuffix(" Storage") or "an object"
            frames = words(referred, "ReferencedFrameNumber")
            return name + (f", frame {frames}" if frames else ""), words(referred, "ReferencedSOPInstanceUID")
    if kind in _COORDINATES:
        shape = words(item, "GraphicType") or words(item, "TemporalRangeType")
        return shape.capitalize().replace("_", " "), ""
    return "", ""
