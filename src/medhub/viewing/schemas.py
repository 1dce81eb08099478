# SPDX-License-Identifier: Apache-2.0
"""What the JSON API says of objects beside their pictures."""

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
    """A line of a report, with what hangs on it."""

    name: str
    value: str
    kind: str
    relation: str
    refers_to: str = Field(description="SOP Instance UID of the object that the line names.")
    image_id: str | None = Field(default=None, description="The same object, where it is in the archive.")
    children: list[ReportTreeNode]


class SegmentOut(Schema):
    """A segment of a segmentation."""

    number: int
    label: str
    color: str = Field(pattern=r"^#[0-9a-f]{6}$")
    algorithm: str
    category: str
    property_type: str
    frames: int | None = Field(description="In how many frames it is; none in a label map, whose frames show many.")


class SourceImage(Schema):
    """The image that a frame of a segmentation was made of."""

    image_id: str
    frame: int = Field(description="Number of the frame, from 0.")


class Channel(Schema):
    """A channel of a waveform."""

    name: str
    unit: str = Field(description="In UCUM; empty where the values have none.")
    values: list[float | None]


class ChannelGroup(Schema):
    """Channels that were sampled together."""

    title: str
    frequency_hz: float
    samples: int
    shown: int = Field(description="How many samples of each channel are here, from the first.")
    channels: list[Channel]
    fault: str = Field(description="Why there are no channels; empty where there are.")


class DocumentOut(Schema):
    """A document within an object."""

    media_type: str = Field(description="Empty where it is of no known kind.")
    size_bytes: int
    pages: int
    texts: list[str] = Field(description="The text of each page.")


class Content(Schema):
    """What an object says beside its picture."""

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
