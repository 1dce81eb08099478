# SPDX-License-Identifier: Apache-2.0
"""What the JSON API sends and takes of exports."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from medhub.export.models import Export
from medhub.export.selection import Form, Kind
from medhub.export.service import Alike, Counts, FindingGroup, Picture
from medhub.foundation.http import Id, Line, Moment, Schema, Text

State = Literal["waiting", "looking", "blocked", "packing", "ready", "expired", "erased", "failed", "destroyed"]
Note = Annotated[Text, Field(min_length=3, max_length=2000)]


class ExportCreate(Schema):
    """What is to leave, and in which form."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"form": "dicom", "selection": "project"},
                {"form": "training", "picture": "png", "selection": "verdicts", "pathway": "smear-review"},
            ]
        }
    )

    project_id: Id | None = None
    form: Annotated[Form, Field(description="DICOM files, pictures with their labels, or metadata alone.")]
    picture: Annotated[Picture | None, Field(description="Of a data set for training: the form of its pictures.")] = (
        None
    )
    selection: Annotated[
        Kind, Field(description="All of the project, some patients, studies, series or images, signed verdicts.")
    ]
    ids: Annotated[
        tuple[Id, ...],
        Field(max_length=5000, description="Of a selection of patients, studies, series or images: which ones."),
    ] = ()
    pathway: Annotated[Line | None, Field(description="Of signed verdicts: those of which pathway.")] = None
    wanted: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=1024)]] | None,
        Field(max_length=32, description="Of a search: DICOM keyword to value, as in C-FIND, such as Modality: CT."),
    ] = None


class AnonymityOut(Schema):
    """Among how many people each patient hides by what leaves beside the images."""

    k: Annotated[int, Field(description="Patients in the smallest class.")]
    patients: int
    classes: int
    alone: Annotated[int, Field(description="Patients who share their values with nobody.")]
    below: Annotated[int, Field(description="Patients in classes of fewer than `least`.")]
    least: int
    columns: Annotated[list[str], Field(description="What somebody may know of a person.")]


class SendTo(Schema):
    """To which DICOM node an export is sent."""

    node: Annotated[str, Field(min_length=1, max_length=16, description="AE title of a node of the project.")]


class SendingOut(Schema):
    """One time that an export was sent, and how far it is."""

    node: str
    state: Literal["waiting", "sending", "sent", "failed"]
    total: int
    done: int
    refused: Annotated[int, Field(description="Objects that the node did not take.")]
    failure: str | None
    created_at: Moment
    created_by: str
    finished_at: Moment | None


class ExportOut(Schema):
    """An export: what was ordered, how far it is, and what became of it."""

    id: str
    project_id: str
    project: str
    form: Form
    picture: Picture | None
    selection: Kind
    pathway: str | None
    state: State
    failure: str | None
    images: int
    patients: int
    looked: int
    excluded: Annotated[int, Field(description="Images that a person took out.")]
    open_findings: Annotated[int, Field(description="Values on which nobody has decided.")]
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
    def of(cls, export: Export, project: str, counts: Counts) -> ExportOut:
        """The export as it is sent."""
        made = {"project", "excluded", "open_findings", "cleared_findings"}
        return cls.model_validate(
            {
                **{name: getattr(export, name) for name in cls.model_fields if name not in made},
                "project": project,
                "excluded": counts.excluded,
                "open_findings": counts.open,
                "cleared_findings": counts.cleared,
            }
        )


class FindingOut(Schema):
    """A value that says, or may say, who somebody is, wherever in an export it was found."""

    id: str
    kinds: Annotated[list[str], Field(description="What it looks like.")]
    places: Annotated[list[str], Field(description="Where it stands; the first few places.")]
    image_id: Annotated[str | None, Field(description="The first image in which it was found.")]
    patient_code: str | None
    images: int
    findings: int
    excerpt: Annotated[str | None, Field(description="The value, for who may see identities.")]
    state: Literal["open", "cleared", "excluded"]
    note: str | None
    decided_at: Moment | None
    decided_by: str | None

    @classmethod
    def of(cls, group: FindingGroup) -> FindingOut:
        """The finding as it is sent."""
        told = {
            name: getattr(group, name)
            for name in ("kinds", "places", "image_id", "patient_code", "images", "findings", "excerpt")
        }
        names = ("id", "state", "note", "decided_at", "decided_by")
        return cls.model_validate({**{name: getattr(group.finding, name) for name in names}, **told})


class ClearIn(Schema):
    """Why a value identifies nobody."""

    note: Annotated[Note, Field(examples=["The day of arrival in the hub, of no meaning outside."])]
    alike: Annotated[
        Alike, Field(description="Clear the same value everywhere, or every value of this kind at the same place.")
    ] = "value"


class ExcludeIn(Schema):
    """Why images are taken out, if anybody asks."""

    note: Note | None = None
