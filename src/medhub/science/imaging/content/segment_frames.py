# SPDX-License-Identifier: Apache-2.0
"""The segments of a segmentation, and the segment and source image of each frame."""

from __future__ import annotations

from typing import Any

from pydicom import Dataset

from medhub.science.imaging.content.attribute_text import items, words
from medhub.science.imaging.dicom.object_checks import number_of_frames
from medhub.science.imaging.rendering.segmentation import is_label_map, segment_of_frame, segments_of


def segment_rows(dataset: Dataset) -> list[dict[str, Any]]:
    """Segments as rows: number, label, color, algorithm, category, type, and in how many frames each is."""
    numbers = frame_segments(dataset)
    return [
        {
            "number": segment.number,
            "label": segment.label,
            "color": "#{:02x}{:02x}{:02x}".format(*segment.color),
            "algorithm": segment.algorithm.lower(),
            "category": segment.category,
            "property_type": segment.property_type,
            "frames": numbers.count(segment.number) if not is_label_map(dataset) else None,
        }
        for segment in segments_of(dataset).values()
    ]


def frame_segments(dataset: Dataset) -> list[int | None]:
    """The number of the segment of each frame; ``None`` for each of a label map."""
    return [segment_of_frame(dataset, frame) for frame in range(number_of_frames(dataset))]


def frame_sources(dataset: Dataset) -> list[list[Any] | None]:
    """The source image of each frame: SOP Instance UID and frame number (from 1); ``None`` without one."""
    sources: list[list[Any] | None] = []
    for group in items(dataset, "PerFrameFunctionalGroupsSequence"):
        sources.append(_source(group))
    return sources


def _source(group: Dataset) -> list[Any] | None:
    for derivation in items(group, "DerivationImageSequence", 1):
        sources = items(derivation, "SourceImageSequence", 2)
        if len(sources) == 1:
            frame = words(sources[0], "ReferencedFrameNumber") or "1"
            if frame.isdigit():
                return [words(sources[0], "ReferencedSOPInstanceUID"), int(frame)]
    return None
