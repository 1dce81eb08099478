# SPDX-License-Identifier: Apache-2.0
"""Responses of the JSON API for the content of objects besides their pictures."""

from __future__ import annotations

from pydantic import Field

from medhub.foundation.http import Schema
from medhub.science.imaging.dicom.object_kinds import ShownAs


class Section(Schema):
    """A table."""

    title: str
    heads: list[str]
    rows: list[list[str]]


class ReportTreeNode(Schema):
    """A node of the tree of a structured report."""

    name: str
    value: str
    kind: str
    relation: str
    refers_to: str = Field(description="SOP Instance UID of the referenced object.")
    image_id: str | None = Field(default=None, description="Id of the referenced object, if it is in the archive.")
    children: list[ReportTreeNode]


class SegmentOut(Schema):
    """A segment of a segmentation."""

    number: int
    label: str
    color: str = Field(pattern=r"^#[0-9a-f]{6}$")
    algorithm: str
    category: str
    property_type: str
    frames: int | None = Field(
        description="Number of its frames; null for a label map, whose frames show several segments."
    )


class SourceImage(Schema):
    """The source image of a frame of a segmentation."""

    image_id: str
    frame: int = Field(description="Number of the frame, from 0.")


class Channel(Schema):
    """A channel of a waveform."""

    name: str
    unit: str = Field(description="In UCUM; empty if the values have none.")
    values: list[float | None]


class ChannelGroup(Schema):
    """Channels with the same sampling."""

    title: str
    frequency_hz: float
    samples: int
    shown: int = Field(description="Number of included samples of each channel, from the first.")
    channels: list[Channel]
    fault: str = Field(description="Why there are no channels; empty if there are some.")


class DocumentOut(Schema):
    """A document within an object."""

    media_type: str = Field(description="Empty if it is unknown.")
    size_bytes: int
    pages: int
    texts: list[str] = Field(description="The text of each page.")


class Content(Schema):
    """The content of an object besides its picture."""

    shown_as: ShownAs
    class_name: str
    notes: list[str]
    facts: list[list[str]]
    sections: list[Section]
    tree: ReportTreeNode | None
    segments: list[SegmentOut]
    frame_segments: list[int | None]
    frame_sources: list[SourceImage | None]
    waveforms: list[ChannelGroup]
    document: DocumentOut | None
