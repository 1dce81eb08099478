# SPDX-License-Identifier: Apache-2.0
"""The source of received files, and the patient and project rules that apply to a file."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.ingest.ingest_settings import settings_of
from medhub.ingest.models import Route
from medhub.ingest.profiles import ProjectProfileChoice, profile_of
from medhub.records import vault
from medhub.records.models import Identity, Image, Patient, Study
from medhub.records.pathway import Pathway
from medhub.science.arrivals.cleaned_image import CleaningContext
from medhub.science.imaging.decoding_limits import DecodingLimits


@dataclass(frozen=True)
class TargetStudy:
    """The study, and optionally the series, into which a user uploads files."""

    study_id: str
    study_uid: str
    series_uid: str | None = None
    modality: str | None = None  # of that series


@dataclass(frozen=True)
class IngestContext:
    """The patient of a file, and the rules of the project; shared by all files of the patient in a batch."""

    patient_id: str
    patient_code: str
    project_id: str
    sex: str
    birth_year: int | None
    pathway: Pathway | None  # None for images that are only archived
    profile: ProjectProfileChoice
    identity_values: tuple[str, ...] = ()  # names and numbers from the vault; in memory only
    attributes: tuple[str, ...] = ()  # searched by the project in addition to the standard ones
    settle_s: int = 0
    duplicates: str = "keep"  # rule for another file with the same SOP Instance UID: keep, replace, changed
    target: TargetStudy | None = None


@dataclass(frozen=True)
class IngestSource:
    """The project, route and sender of received files, and how the files name their patient.

    ``claim`` is a name in ``patient_claims.CLAIM_SOURCES``. ``context`` is set where the patient is known before the
    first file arrives.
    """

    project_id: str
    route: Route
    peer: str | None = None  # AE title of the sending DICOM node
    pathway: str | None = None  # named by the sender; otherwise the project's settings decide
    claim: str = "file-identifiers"
    context: IngestContext | None = None


def build_context(session: Session, app: AppContext, patient: Patient, pathway: Pathway | None) -> IngestContext:
    """Read the rules that apply to files of a patient on a pathway."""
    identity = vault.read_identity(app.keys, session.get(Identity, patient.id)) or {}
    settings = settings_of(session, patient.project_id)
    return IngestContext(
        patient.id,
        patient.code,
        patient.project_id,
        patient.sex,
        patient.birth_year,
        pathway,
        profile_of(session, patient.project_id),
        tuple(identity.values()),
        attributes=tuple(settings.attributes),
        duplicates=settings.duplicates,
    )


def build_cleaning_context(app: AppContext, context: IngestContext, *, with_thumbnail: bool) -> CleaningContext:
    """Build the values that replace the identifying ones of a received file."""
    with app.database.reading() as session:
        study_uid = context.target.study_uid if context.target else photograph_study_uid(session, app, context)
    return CleaningContext(
        uid_key=app.keys.derive(f"uids {context.project_id}"),
        patient_code=context.patient_code,
        sex=context.sex,
        birth_year=context.birth_year,
        photograph_modality=context.pathway.modality if context.pathway is not None else "XC",
        study_instance_uid=study_uid,
        series_instance_uid=context.target.series_uid if context.target else None,
        received_at=clock.now(),
        profile=context.profile.profile,
        known=context.identity_values,
        attributes=context.attributes,
        shown=with_thumbnail,
    )


def photograph_study_uid(session: Session, app: AppContext, context: IngestContext) -> str:
    """The study that photographs of a patient and pathway join: the same one until its case is signed.

    It is derived from the number of closed studies, so that files received at the same time agree on it.
    """
    name = context.pathway.name if context.pathway is not None else None
    closed = session.scalar(
        select(func.count(func.distinct(Image.study_id)))
        .join(Study, Study.id == Image.study_id)
        .where(Study.patient_id == context.patient_id, Study.pathway == name, Image.locked)
    )
    text = f"{context.patient_id} {name} {closed}"
    digest = app.keys.fingerprint(f"study-uids {context.project_id}", text.encode())
    return f"2.25.{int(digest[:32], 16)}"


def decoding_limits(app: AppContext) -> DecodingLimits:
    """The largest file that is accepted."""
    settings = app.settings
    return DecodingLimits(max_bytes=settings.upload_max_bytes, max_pixels=settings.upload_max_pixels)
