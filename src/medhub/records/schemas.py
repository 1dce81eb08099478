# SPDX-License-Identifier: Apache-2.0
"""Requests and responses of the JSON API for patients, studies, series and fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from medhub.foundation import clock
from medhub.foundation.http import Id, IdOrName, Moment, Schema, Text
from medhub.records.birth_dates import age_on
from medhub.records.identifier_index import ConfirmedDuplicate
from medhub.records.models import Patient
from medhub.records.series_service import SeriesFacts
from medhub.records.service import PatientCounts
from medhub.records.studies import StudyFacts

ConfirmedFields = Annotated[
    list[Annotated[Text, Field(max_length=40)]],
    Field(
        max_length=200,
        description="Keys of fields whose unlikely values are right (otherwise: 409, code `implausible-value`).",
    ),
]
Sex = Literal["F", "M", "O", "U"]
FieldValue = str | int | float | bool | None
FieldValues = dict[
    Annotated[Text, Field(max_length=40)], Annotated[Text, Field(max_length=2000)] | int | float | bool | None
]
IdentityLine = Annotated[Text, Field(max_length=300)]


class _Confirmations(Schema):
    """What a person confirms with the data of a patient: a second record, and unlikely values."""

    confirm_duplicate: Annotated[
        bool,
        Field(
            description="Save although a patient with this hospital number, or this name and birth date, is registered "
            "(otherwise: 409, code `duplicate-patient`, with the patients in `duplicates`)."
        ),
    ] = False
    duplicate_reason: Annotated[
        Annotated[Text, Field(max_length=500)] | None,
        Field(description="Why a second record is needed; required with `confirm_duplicate`."),
    ] = None
    confirmed_fields: ConfirmedFields = Field(default_factory=list)

    def confirmed_duplicate(self) -> ConfirmedDuplicate | None:
        """The confirmation of a second record, if it was given."""
        return ConfirmedDuplicate(self.duplicate_reason or "") if self.confirm_duplicate else None


class IdentityIn(Schema):
    """The identity of a patient; it is stored only in the encrypted vault."""

    name: IdentityLine | None = None
    hospital_number: IdentityLine | None = None
    birth_date: Annotated[Text, Field(max_length=10)] | None = None
    email: IdentityLine | None = None
    phone: IdentityLine | None = None

    def given(self) -> dict[str, str]:
        """The values that are not empty."""
        return {k: v.strip() for k, v in self.model_dump().items() if v and v.strip()}


class IdentityOut(Schema):
    """The identity of a patient."""

    name: str | None = None
    hospital_number: str | None = None
    birth_date: str | None = None
    email: str | None = None
    phone: str | None = None


class PatientCreate(_Confirmations):
    """A new patient."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "sex": "F",
                    "birth_year": 1980,
                    "fields": {},
                    "identity": {"name": "Siti binti Abdullah", "hospital_number": "H-100234"},
                }
            ]
        }
    )

    project_id: IdOrName | None = None
    sex: Sex = "U"
    birth_year: Annotated[int, Field(ge=1000, le=9999)] | None = None
    fields: FieldValues = Field(default_factory=dict)
    identity: IdentityIn | None = None


class PatientChange(_Confirmations):
    """Changes of a patient; omitted values stay."""

    sex: Sex | None = None
    birth_year: Annotated[int, Field(ge=1000, le=9999)] | None = None
    fields: FieldValues | None = None
    identity: IdentityIn | None = None


class PatientRow(Schema):
    """A patient in a list."""

    id: str
    project_id: str
    code: str
    sex: Sex
    birth_year: int | None
    age: Annotated[int | None, Field(description="In years, by the birth date if it is shown, else by the year.")]
    fields: dict[str, FieldValue]
    created_at: Moment
    images: int
    unverified: int
    studies: int
    cover_id: Annotated[str | None, Field(description="The first image that has a picture.")]
    identity_available: Annotated[bool, Field(description="Whether there is an identity that you may see.")]

    @classmethod
    def of(cls, patient: Patient, counts: PatientCounts, identity_available: bool) -> PatientRow:
        """A patient with its counts."""
        return cls(**_row(patient, counts, identity_available))


def _row(patient: Patient, counts: PatientCounts, identity_available: bool) -> dict[str, object]:
    year = patient.birth_year
    return {
        "id": patient.id,
        "project_id": patient.project_id,
        "code": patient.code,
        "sex": patient.sex,
        "birth_year": year,
        "age": age_on(None, year, clock.now().date()),
        "fields": patient.fields,
        "created_at": patient.created_at,
        "images": counts.images,
        "unverified": counts.unverified,
        "studies": counts.studies,
        "cover_id": counts.cover_id,
        "identity_available": identity_available,
    }


class PatientOut(PatientRow):
    """A patient, with the identity if you may see it."""

    identity: IdentityOut | None
    identity_hidden: Annotated[bool, Field(description="Whether there is an identity that you may not see.")]
    etag: Annotated[str, Field(description="For `If-Match` of a change.")]

    @classmethod
    def build(
        cls, patient: Patient, counts: PatientCounts, identity: dict[str, str] | None, exists: bool
    ) -> PatientOut:
        """A patient with its counts and identity."""
        row = _row(patient, counts, identity is not None)
        row["age"] = age_on((identity or {}).get("birth_date"), patient.birth_year, clock.now().date())
        return cls(
            **row,
            identity=IdentityOut(**identity) if identity is not None else None,
            identity_hidden=exists and identity is None,
            etag=patient.etag,
        )


class StudyCreate(Schema):
    """A new study of a patient."""

    patient_id: Id
    description: Annotated[Text, Field(max_length=2000)] = ""
    fields: FieldValues = Field(default_factory=dict)
    confirmed_fields: ConfirmedFields = Field(default_factory=list)


class StudyChange(Schema):
    """Changes of a study; omitted values stay."""

    description: Annotated[Text, Field(max_length=2000)] | None = None
    fields: FieldValues | None = None
    confirmed_fields: ConfirmedFields = Field(default_factory=list)


class ContentsOut(Schema):
    """The contents of a study or a series."""

    images: int
    size_bytes: Annotated[int, Field(description="Size of all files.")]
    modality: str | None
    locked: Annotated[bool, Field(description="A signed case refers to one of its images, so it cannot change.")]
    cover_id: Annotated[str | None, Field(description="The first image that has a picture.")]


class StudyOut(ContentsOut):
    """A study."""

    id: str
    patient_id: str
    patient_code: str
    project_id: str
    study_uid: str
    description: str
    pathway: str | None
    fields: dict[str, FieldValue]
    created_at: Moment
    series: int
    warnings: Annotated[list[str], Field(description="What should be checked, such as a study before the birth.")]
    etag: Annotated[str, Field(description="For `If-Match` of a change.")]

    @classmethod
    def of(cls, facts: StudyFacts) -> StudyOut:
        """The study with its counts."""
        study = facts.study
        return cls(
            id=study.id,
            patient_id=study.patient_id,
            patient_code=facts.patient_code,
            project_id=study.project_id,
            study_uid=study.study_uid,
            description=study.description,
            pathway=study.pathway,
            fields=study.fields,
            created_at=study.created_at,
            warnings=facts.warnings,
            etag=study.etag,
            **vars(facts.contents),
        )


class SeriesCreate(Schema):
    """A new series of a study."""

    study_id: Id
    modality: Annotated[Text, Field(min_length=1, max_length=16, pattern=r"^[A-Z]{2,16}$")]
    description: Annotated[Text, Field(max_length=2000)] = ""


class SeriesChange(Schema):
    """Changes of a series."""

    description: Annotated[Text, Field(max_length=2000)]


class SeriesOut(ContentsOut):
    """A series with its study."""

    id: str
    study_id: str
    study_description: str
    patient_id: str
    patient_code: str
    project_id: str
    series_uid: str
    modality: str
    description: str
    created_at: Moment

    @classmethod
    def of(cls, facts: SeriesFacts) -> SeriesOut:
        """The series with its counts."""
        series, study = facts.series, facts.study
        return cls(
            id=series.id,
            study_id=series.study_id,
            study_description=study.description,
            patient_id=study.patient_id,
            patient_code=facts.patient_code,
            project_id=study.project_id,
            series_uid=series.series_uid,
            modality=series.modality,
            description=series.description,
            created_at=series.created_at,
            images=facts.contents.images,
            size_bytes=facts.contents.size_bytes,
            locked=facts.contents.locked,
            cover_id=facts.contents.cover_id,
        )


# The most images of one request; the web app sends several requests and shows the progress.
MAX_IMAGES = 500
ImageIds = Annotated[list[Id], Field(min_length=1, max_length=MAX_IMAGES)]


class ImagesMove(Schema):
    """Images of one patient, and the series of this patient to move them to."""

    image_ids: ImageIds
    to_series_id: Id


class SeriesMove(Schema):
    """The study of the same patient to move a series to."""

    to_study_id: Id


class MovedOut(Schema):
    """The number of moved images, and their new study and series."""

    images: int
    patient_id: str
    study_id: str
    series_id: str


class ImagesDelete(Schema):
    """Images to delete."""

    image_ids: ImageIds


class DeletedOut(Schema):
    """The number of deleted images."""

    images: int
