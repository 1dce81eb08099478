# SPDX-License-Identifier: Apache-2.0
"""Schemas of erasures: what is destroyed, requests, and certificates."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from medhub.foundation.http import Moment, Schema, Text


class ErasureOut(Schema):
    """The certificate of a person's erasure."""

    id: str
    patient_code: str
    contents: Annotated[
        dict[str, int | list[dict[str, str | int]]],
        Field(
            description="What was erased: counts, the data sets that contained it, and the classifiers trained with it."
        ),
    ]
    erased_at: Moment
    erased_by: str
    reason: str | None = None
    requested_by: Annotated[
        str | None, Field(description="The first of two people, where the project demands two.")
    ] = None
    completed_at: Annotated[Moment | None, Field(description="When a check found no remaining data of the person.")]


class ErasureRequestIn(Schema):
    """Why a patient is erased."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "Request of the person of 3 May."}]})

    reason: Annotated[
        Text, Field(min_length=1, max_length=2000, description="It stays in the certificate: name nobody in it.")
    ]


class ErasureRequestOut(Schema):
    """A requested erasure that waits for the second person."""

    reason: str
    requested_at: Moment
    requested_by: str
    mine: Annotated[bool, Field(description="Whether you requested it; then another administrator erases.")]


class ErasurePreviewOut(Schema):
    """What the erasure of a patient destroys."""

    contents: Annotated[
        dict[str, int | list[dict[str, str | int]]],
        Field(
            description="What is destroyed, and the data sets and classifiers in which the patient's images were used."
        ),
    ]
    needs_second_person: bool
    request: ErasureRequestOut | None


class PatientErasedOut(Schema):
    """What was erased."""

    erased: bool = True
    code: str
    images: int
    certificate_id: str
