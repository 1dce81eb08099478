# SPDX-License-Identifier: Apache-2.0
"""JSON schemas of exports."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from medhub.export.export_findings import FindingCounts, FindingGroup
from medhub.export.formats import FormatName
from medhub.export.models import Export
from medhub.export.selection import SelectionKind
from medhub.export.service import ClearScope, PictureType
from medhub.foundation.http import Id, IdOrName, Line, Moment, Schema, Text

State = Literal["waiting", "looking", "blocked", "packing", "ready", "expired", "erased", "failed", "destroyed"]
Note = Annotated[Text, Field(min_length=3, max_length=2000)]


class ExportCreate(Schema):
    """An order: which images, and in which format."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"form": "dicom", "selection": "project"},
                {"form": "training", "picture": "png", "selection": "verdicts", "pathway": "smear-review"},
            ]
        }
    )

    project_id: IdOrName | None = None
    form: Annotated[FormatName, Field(description="DICOM files, pictures with their labels, or metadata only.")]
    picture: Annotated[PictureType | None, Field(description="Picture type of a data set for training.")] = None
    selection: Annotated[
        SelectionKind,
        Field(description="The whole project, patients, studies, series, images, a search, or signed verdicts."),
    ]
    ids: Annotated[
        tuple[Id, ...],
        Field(max_length=5000, description="Ids of the selected patients, studies, series or images."),
    ] = ()
    pathway: Annotated[Line | None, Field(description="Pathway of the selected signed verdicts.")] = None
    wanted: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=1024)]] | None,
        Field(max_length=32, description="Search: DICOM keyword to value, as in C-FIND, such as Modality: CT."),
    ] = None


class AnonymityOut(Schema):
    """K-anonymity: how many patients share the quasi-identifying values of each."""

    k: Annotated[int, Field(description="Patients in the smallest class.")]
    patients: int
    classes: int
    alone: Annotated[int, Field(description="Patients whose values no other patient shares.")]
    below: Annotated[int, Field(description="Patients in classes of fewer than `least`.")]
    least: int
    columns: Annotated[list[str], Field(description="The quasi-identifying columns.")]


class SendTo(Schema):
    """The DICOM node that an export is sent to."""

    node: Annotated[str, Field(min_length=1, max_length=16, description="AE title of a node of the project.")]


class SendingOut(Schema):
    """One transmission of an export, and its progress."""

    node: str
    state: Literal["waiting", "sending", "sent", "failed"]
    total: int
    done: int
    refused: Annotated[int, Field(description="Objects that the node rejected.")]
    failure: str | None
    created_at: Moment
    created_by: str
    finished_at: Moment | None


class ExportOut(Schema):
    """An export: the order, its progress and its result."""

    id: str
    project_id: str
    project: str
    form: FormatName
    picture: PictureType | None
    selection: SelectionKind
    pathway: str | None
    state: State
    failure: str | None
    images: int
    patients: int
    looked: Annotated[int, Field(description="Images that the PHI scan has read.")]
    excluded: Annotated[int, Field(description="Images that a person excluded.")]
    open_findings: Annotated[int, Field(description="Values that wait for a decision.")]
    cleared_findings: int
    left_out: dict[str, int]
    anonymity: AnonymityOut | None
    size_bytes: int | None
    digest: Annotated[str | None, Field(description="SHA-256 of the file to download.")]
    created_at: Moment
    created_by: str
    finished_at: Moment | None
    expires_at: Moment | None

    @classmethod
    def of(cls, export: Export, project: str, counts: FindingCounts) -> ExportOut:
        """The schema of an export."""
        computed = {"project", "looked", "excluded", "open_findings", "cleared_findings"}
        return cls.model_validate(
            {
                **{name: getattr(export, name) for name in cls.model_fields if name not in computed},
                "project": project,
                "looked": export.scanned,
                "excluded": counts.excluded,
                "open_findings": counts.open,
                "cleared_findings": counts.cleared,
            }
        )


class FindingOut(Schema):
    """A value that identifies, or may identify, a patient, with all its occurrences in an export."""

    id: str
    kinds: Annotated[list[str], Field(description="What the value may be.")]
    places: Annotated[list[str], Field(description="Where it occurs; the first few locations.")]
    image_id: Annotated[str | None, Field(description="The first image with this value.")]
    patient_code: str | None
    images: int
    findings: int
    excerpt: Annotated[str | None, Field(description="The value; only for roles that may read identities.")]
    state: Literal["open", "cleared", "excluded"]
    note: str | None
    decided_at: Moment | None
    decided_by: str | None

    @classmethod
    def of(cls, group: FindingGroup) -> FindingOut:
        """The schema of a group of findings."""
        of_group = ("kinds", "image_id", "patient_code", "images", "findings", "excerpt")
        of_finding = ("id", "state", "note", "decided_at", "decided_by")
        return cls.model_validate(
            {
                "places": group.locations,
                **{name: getattr(group, name) for name in of_group},
                **{name: getattr(group.finding, name) for name in of_finding},
            }
        )


class ClearIn(Schema):
    """The reason why a value identifies nobody."""

    note: Annotated[Note, Field(examples=["The date of arrival in the hub, which identifies nobody."])]
    alike: Annotated[
        ClearScope,
        Field(description="Clear the same value everywhere, or every value of this kind at the same location."),
    ] = "value"


class ExcludeIn(Schema):
    """The reason why images are excluded, if there is one to note."""

    note: Note | None = None
