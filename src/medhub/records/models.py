# SPDX-License-Identifier: Apache-2.0
"""Tables of patients, studies, series and images, of the fields that projects define, and of the identity vault."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from medhub.foundation import clock
from medhub.foundation.database import Base, Integer64
from medhub.foundation.etags import compute_etag


class Patient(Base):
    """A person with a generated code; the identity is in the vault."""

    __tablename__ = "patients"
    __table_args__ = (
        UniqueConstraint("project_id", "code"),
        Index("ix_patients_project_id_created_at", "project_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    code: Mapped[str] = mapped_column(String(32))
    sex: Mapped[str] = mapped_column(String(1))  # F, M, O, or U if unknown
    birth_year: Mapped[int | None]
    fields: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]

    identity: Mapped[Identity | None] = relationship(lazy="raise", passive_deletes=True)

    @property
    def etag(self) -> str:
        """The entity tag of the patient's data, the identity included."""
        return compute_etag("patient", self.id, self.sex, self.birth_year, clock.iso(self.changed_at))


class Identity(Base):
    """The identity of a patient, encrypted with the patient's own key, which is encrypted with the master key."""

    __tablename__ = "vault"

    patient_id: Mapped[str] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"), primary_key=True)
    sealed_key: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_identity: Mapped[bytes | None] = mapped_column(LargeBinary)
    # Why a person confirmed that this is no duplicate of another patient.
    sealed_duplicate_reason: Mapped[bytes | None] = mapped_column(LargeBinary)
    # With which version of ``identity_search.INDEX_VERSION`` its terms and identifiers were written.
    index_version: Mapped[int] = mapped_column(default=0)


class IdentityTerm(Base):
    """A keyed hash of a word of an identity, for the search by people who may read identities."""

    __tablename__ = "vault_terms"
    __table_args__ = (Index("ix_vault_terms_term", "project_id", "term"),)

    patient_id: Mapped[str] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"), primary_key=True)
    term: Mapped[str] = mapped_column(String(64), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(32))


class PatientIdentifier(Base):
    """A keyed hash of a number or a birth date of a patient, from the vault or from files that name their patient."""

    __tablename__ = "patient_identifiers"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)  # number, birth_date
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    patient_id: Mapped[str] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"), primary_key=True, index=True)
    issuer: Mapped[str] = mapped_column(String(64), primary_key=True, default="")  # a keyed hash, or empty
    origin: Mapped[str] = mapped_column(String(8), primary_key=True)  # identity, file


class PatientIdentifierIndex(Base):
    """A keyed hash of a patient's or a study's own identifier, by which files that name it find their patient.

    ``traits`` are keyed hashes of what else files said of the person (name, birth_date, sex): a file that says
    otherwise is not merged silently.
    """

    __tablename__ = "sources"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)  # patient, study, said
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    patient_id: Mapped[str] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"), index=True)
    traits: Mapped[dict[str, Any]]


class FieldDefinition(Base):
    """A field that a project defines for its patients or studies."""

    __tablename__ = "field_definitions"
    __table_args__ = (UniqueConstraint("project_id", "subject", "key"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    subject: Mapped[str] = mapped_column(String(8))  # patient, study
    key: Mapped[str] = mapped_column(String(40))
    label: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(8))  # text, integer, decimal, date, boolean, choice
    required: Mapped[bool] = mapped_column(default=False)
    unit: Mapped[str | None] = mapped_column(String(20))
    choices: Mapped[list[str]]
    position: Mapped[int] = mapped_column(default=0)
    # Keys minimum and maximum (no value beyond them), low and high (a value beyond them must be confirmed).
    limits: Mapped[dict[str, Any]] = mapped_column(default=dict)

    @property
    def etag(self) -> str:
        """The entity tag of the definition."""
        return compute_etag(
            "field", self.id, self.label, self.required, self.unit, self.choices, self.position, self.limits
        )


class Study(Base):
    """A study, as in DICOM."""

    __tablename__ = "studies"
    __table_args__ = (
        UniqueConstraint("project_id", "study_uid"),
        Index("ix_studies_patient_id", "patient_id", "created_at"),
        Index("ix_studies_project_id_study_date", "project_id", "study_date"),
        Index("ix_studies_settles_at", "settles_at"),
        Index("ix_studies_project_id_created_at", "project_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    patient_id: Mapped[str] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"))
    study_uid: Mapped[str] = mapped_column(String(64))
    description: Mapped[str] = mapped_column(Text, default="")
    pathway: Mapped[str | None] = mapped_column(String(60))
    fields: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    study_date: Mapped[str] = mapped_column(String(8), default="")  # as the stored objects have it: YYYYMMDD, or empty
    study_time: Mapped[str] = mapped_column(String(16), default="")
    # Searchable attributes of the stored objects: keyword -> values as text.
    attributes: Mapped[dict[str, Any]] = mapped_column(default=dict)
    settles_at: Mapped[datetime | None]  # when the study counts as complete; None once it does

    @property
    def etag(self) -> str:
        """The entity tag of the data that people change."""
        return compute_etag("study", self.id, self.description, self.fields)


class Series(Base):
    """A series, as in DICOM."""

    __tablename__ = "series"
    __table_args__ = (
        UniqueConstraint("study_id", "series_uid"),
        Index("ix_series_series_uid", "series_uid"),
        Index("ix_series_study_id_modality", "study_id", "modality"),
        Index("ix_series_created_at", "created_at", "study_id", "id"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    series_uid: Mapped[str] = mapped_column(String(64))
    modality: Mapped[str] = mapped_column(String(16))
    description: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]
    number: Mapped[int | None]
    attributes: Mapped[dict[str, Any]] = mapped_column(default=dict)
    # The compressed DICOM JSON of its objects; None if it is not built, or if the objects have changed since.
    metadata_blob: Mapped[str | None] = mapped_column(String(64))


class Image(Base):
    """One DICOM object: pixels of one frame or many, or a document, a report, a plan, waveforms."""

    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("project_id", "sop_instance_uid"),
        Index("ix_images_project_id_verified", "project_id", "verified", "created_at", "number", "id"),
        # A small index for counts, which read all of it. Empty on SQLite, which would use it where others are better.
        Index("ix_images_counted", "project_id", "verified", sqlite_where=text("0")),
        Index("ix_images_patient_id", "patient_id", "created_at"),
        Index("ix_images_study_id", "study_id", "number"),
        Index("ix_images_series_id", "series_id", "number"),
        Index("ix_images_project_id_created_at", "project_id", "created_at", "number", "id"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    patient_id: Mapped[str] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"))
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    series_id: Mapped[str] = mapped_column(ForeignKey("series.id", ondelete="CASCADE"))
    number: Mapped[int]
    sop_class_uid: Mapped[str] = mapped_column(String(64))
    sop_instance_uid: Mapped[str] = mapped_column(String(64))
    transfer_syntax_uid: Mapped[str] = mapped_column(String(64))
    modality: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(10))  # photograph, dicom
    # image, segmentation, report, document, plan, waveform, presentation, other: how it is displayed
    shown_as: Mapped[str] = mapped_column(String(12), default="image")
    instance_number: Mapped[int | None]
    attributes: Mapped[dict[str, Any]] = mapped_column(default=dict)
    width: Mapped[int]  # 0, like height and frames, if there are no pixels
    height: Mapped[int]
    frames: Mapped[int]
    size_bytes: Mapped[int] = mapped_column(Integer64)
    blob: Mapped[str] = mapped_column(String(64))
    thumbnail: Mapped[str | None] = mapped_column(String(64))
    # waiting, read, unreadable: the state of the classification; kept: nothing to classify
    state: Mapped[str] = mapped_column(String(10))
    verified: Mapped[bool] = mapped_column(default=False)
    locked: Mapped[bool] = mapped_column(default=False)  # part of a signed case: it cannot change
    created_at: Mapped[datetime]

    patient: Mapped[Patient] = relationship(lazy="raise")


class PatientBlob(Base):
    """A blob derived from a patient's data, which is deleted with the patient."""

    __tablename__ = "patient_blobs"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    patient_id: Mapped[str] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"), primary_key=True)
    image_id: Mapped[str | None] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), index=True)


class ErasureRequest(Base):
    """The request of an erasure that waits for the second person."""

    __tablename__ = "erasure_requests"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    patient_id: Mapped[str] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"), unique=True)
    reason: Mapped[str] = mapped_column(Text)
    requested_at: Mapped[datetime]
    requested_by_id: Mapped[str] = mapped_column(String(32))
    requested_by: Mapped[str] = mapped_column(String(200))


class Erasure(Base):
    """The certificate of an erasure: what was erased, and which classifiers were trained with it."""

    __tablename__ = "erasures"
    __table_args__ = (Index("ix_erasures_project_id", "project_id", "erased_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    patient_code: Mapped[str] = mapped_column(String(32))
    contents: Mapped[dict[str, Any]]
    erased_at: Mapped[datetime]
    erased_by_id: Mapped[str | None] = mapped_column(String(32))
    erased_by: Mapped[str] = mapped_column(String(200))
    reason: Mapped[str | None] = mapped_column(Text)
    requested_by: Mapped[str | None] = mapped_column(String(200))  # the first of two people
    completed_at: Mapped[datetime | None]  # when a check found no remaining data
