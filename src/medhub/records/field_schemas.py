# SPDX-License-Identifier: Apache-2.0
"""Requests and responses of the JSON API for the fields that projects define."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from medhub.foundation.http import IdOrName, Schema, Text
from medhub.records.field_values import Kind, Subject

Limit = Annotated[float | Annotated[Text, Field(max_length=10)] | None, Field(union_mode="left_to_right")]


class FieldLimits(Schema):
    """Limits of a number or a date: none beyond minimum and maximum; beyond low and high only if confirmed."""

    minimum: Limit = None
    low: Limit = None
    high: Limit = None
    maximum: Limit = None


class FieldCreate(Schema):
    """A new field for the patients or studies of a project."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "subject": "patient",
                    "key": "haemoglobin",
                    "label": "Hemoglobin",
                    "kind": "decimal",
                    "unit": "g/dL",
                    "required": False,
                }
            ]
        }
    )

    project_id: IdOrName | None = None
    subject: Subject
    key: Annotated[Text, Field(min_length=1, max_length=40)]
    label: Annotated[Text, Field(min_length=1, max_length=100)]
    kind: Kind
    required: bool = False
    unit: Annotated[Text, Field(max_length=20)] | None = None
    choices: Annotated[list[Annotated[Text, Field(max_length=100)]], Field(max_length=200)] = Field(
        default_factory=list
    )
    position: Annotated[int, Field(ge=0, le=10_000)] = 0
    limits: FieldLimits = Field(default_factory=lambda: FieldLimits())


class FieldChange(Schema):
    """Changes of a field; omitted values stay."""

    label: Annotated[Text, Field(min_length=1, max_length=100)] | None = None
    required: bool | None = None
    unit: Annotated[Text, Field(max_length=20)] | None = None
    choices: Annotated[list[Annotated[Text, Field(max_length=100)]], Field(max_length=200)] | None = None
    position: Annotated[int, Field(ge=0, le=10_000)] | None = None
    limits: Annotated[FieldLimits | None, Field(description="All limits; those that are left out are removed.")] = None


class FieldOut(Schema):
    """A field that a project defines."""

    id: str
    project_id: str
    subject: Subject
    key: str
    label: str
    kind: Kind
    required: bool
    unit: str | None
    choices: list[str]
    position: int
    limits: FieldLimits
    etag: Annotated[str, Field(description="For `If-Match` of a change.")]
