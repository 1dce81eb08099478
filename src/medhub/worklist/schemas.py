# SPDX-License-Identifier: Apache-2.0
"""Schemas of scheduled studies in the JSON API."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from sqlalchemy.orm import Session

from medhub.foundation.http import Id, Moment, Schema, Text
from medhub.foundation.keys import Keys
from medhub.worklist import service
from medhub.worklist.models import ScheduledStudy

State = Literal["scheduled", "in-progress", "completed", "discontinued", "canceled"]


def _value_of_dicom(text: str) -> str:
    """Refuse what a value of a DICOM attribute cannot have (PS3.5, 6.2)."""
    if "\\" in text or any(ord(letter) < 32 for letter in text):
        raise ValueError("must not contain a backslash, or a line break or other control character")
    return text.strip()


Value = Annotated[Text, AfterValidator(_value_of_dicom)]
Modality = Annotated[
    str,
    Field(pattern=r"^[A-Z0-9_ ]{1,16}$", description="DICOM code of the modality.", examples=["CT"]),
]
Station = Annotated[
    str,
    Field(pattern=r"^[!-\[\]-~]{0,16}$", description="AE title of the station; empty for any.", examples=["CT_ROOM_2"]),
]
Accession = Annotated[Value, Field(max_length=16, description="Accession number; made up if empty.")]
Description = Annotated[Value, Field(max_length=64, description="What is to be done.")]
Physician = Annotated[Value, Field(max_length=64, description="Name of the physician who requested it.")]
Start = Annotated[
    datetime,
    Field(description="Local date and time of the institution, without a time zone.", examples=["2026-03-01T09:30:00"]),
]


class ScheduledStudyCreate(Schema):
    """A study to schedule for a patient."""

    patient_id: Id
    modality: Modality
    starts_at: Start
    station_ae: Station = ""
    accession_number: Accession = ""
    description: Description = ""
    requesting_physician: Physician = ""


class ScheduledStudyChange(Schema):
    """Changes of a scheduled study; omitted fields stay."""

    modality: Modality | None = None
    starts_at: Start | None = None
    station_ae: Station | None = None
    accession_number: Accession | None = None
    description: Description | None = None
    requesting_physician: Physician | None = None


def values_of(body: ScheduledStudyCreate | ScheduledStudyChange) -> dict[str, Any]:
    """The values that were given, the start as DICOM has it."""
    values = body.model_dump(exclude={"patient_id"}, exclude_none=True)
    if "starts_at" in values:
        start: datetime = values.pop("starts_at")
        values |= {"start_date": start.strftime("%Y%m%d"), "start_time": start.strftime("%H%M%S")}
    return values


class ScheduledStudyOut(Schema):
    """A scheduled study."""

    id: str
    project_id: str
    patient_id: str
    study_uid: Annotated[str, Field(description="Study UID that the modality gets; the stored study has another.")]
    step_id: str
    modality: str
    station_ae: str
    starts_at: str
    state: State
    accession_number: str
    description: str
    requesting_physician: str
    created_at: Moment
    created_by: str
    changed_at: Moment

    @classmethod
    def of(cls, session: Session, keys: Keys, study: ScheduledStudy) -> ScheduledStudyOut:
        """The schema of a row."""
        details = service.details_of(session, keys, study)
        start = datetime.strptime(study.start_date + study.start_time, "%Y%m%d%H%M%S")  # local time
        plain = ("id", "project_id", "patient_id", "study_uid", "step_id", "modality", "station_ae", "state")
        moments = ("created_at", "created_by", "changed_at")
        return cls(
            **{name: getattr(study, name) for name in (*plain, *moments)},
            starts_at=start.isoformat(),
            accession_number=details.accession_number,
            description=details.description,
            requesting_physician=details.requesting_physician,
        )
