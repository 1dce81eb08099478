# SPDX-License-Identifier: Apache-2.0
"""The one way in: every received file passes ``receive``, and gets an answer of its own.

What was received is cleaned in memory, by the profile of its project and in a process that can be killed, before
anything is written. A file is acknowledged only after its bytes and its row are durable. What cannot be accepted is
sealed under the patient's key and waits, with its reason, until a person resolves it or it expires.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Invalid, NotAllowed
from medhub.foundation import clock, pagination
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import DecoderFailed
from medhub.ingest import patient_matching
from medhub.ingest.arrival_log import note_duplicate
from medhub.ingest.context import Answer, ArrivalRefused, CleanedArrival, IngestContext, Outcome, TargetStudy
from medhub.ingest.image_writer import store
from medhub.ingest.ingest_settings import settings_of
from medhub.ingest.models import Arrival, Receipt
from medhub.ingest.profiles import profile_of
from medhub.ingest.quarantine import InDoubt, destroy_sealed, quarantine
from medhub.records import isolated_calls, series_service, studies, vault
from medhub.records import service as records
from medhub.records.models import Identity, Image, Patient, Study
from medhub.records.pathway import Pathway, get_pathway
from medhub.science.arrivals.burned_in_text import BurnedInText, Region
from medhub.science.arrivals.cleaning import CleanedImage, CleaningContext, Unacceptable
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers
from medhub.science.deid.ocr import OcrUnavailable
from medhub.science.imaging.decoding_limits import DecodingLimits
from medhub.science.imaging.dicom.received_file import is_dicom

__all__ = ["Answer", "ArrivalRefused", "IngestContext", "Outcome", "TargetStudy", "begin", "quarantine", "receive"]


def begin(
    session: Session,
    app: AppContext,
    actor: Actor,
    patient_id: str,
    pathway_name: str,
    *,
    study_id: str | None = None,
    series_id: str | None = None,
) -> IngestContext:
    """Check that the actor may bring in images for a patient on a pathway, into a study or series if one is named."""
    patient = records.get_patient(session, actor, patient_id, "image.upload")
    pathway = get_pathway(app.settings, pathway_name)
    act = pathway.act(pathway.first_stage.name, "upload")
    if act is None or not actor.has_role(patient.project_id, act.roles):
        roles = ", ".join(act.roles) if act is not None else "nobody"
        raise NotAllowed(f"On the pathway {pathway.title} images are uploaded by: {roles}.", action="image.upload")
    receiving = receiving_of(session, app, patient, pathway)
    if study_id is None and series_id is None:
        return receiving
    return replace(receiving, place=_place(session, actor, receiving, study_id, series_id))


def _place(
    session: Session, actor: Actor, receiving: IngestContext, study_id: str | None, series_id: str | None
) -> TargetStudy:
    """Where files are to lie, of the patient that they come in for and on the pathway that they come in on."""
    series = None
    if series_id is not None:
        series = series_service.get_series(session, actor, series_id, "image.upload").series
    study = studies.get_study(session, actor, series.study_id if series else study_id or "", "image.upload")
    if study.patient_id != receiving.patient_id or (study_id is not None and study.id != study_id):
        raise Invalid("This place belongs to another patient or study than the upload says.", field="study_id")
    if study.pathway is not None and (receiving.pathway is None or study.pathway != receiving.pathway.name):
        raise Invalid(f"This study goes the pathway {study.pathway}. Upload on that one.", field="pathway")
    if series is None:
        return TargetStudy(study.id, study.study_uid)
    return TargetStudy(study.id, study.study_uid, series.series_uid, series.modality)


def receiving_of(session: Session, app: AppContext, patient: Patient, pathway: Pathway | None) -> IngestContext:
    """What holds for files of a patient on a pathway, whoever brings them."""
    identity = vault.read_identity(app.keys, session.get(Identity, patient.id)) or {}
    archive = settings_of(session, patient.project_id)
    return IngestContext(
        patient.id,
        patient.code,
        patient.project_id,
        patient.sex,
        patient.birth_year,
        pathway,
        profile_of(session, patient.project_id),
        tuple(identity.values()),
        attributes=tuple(archive.attributes),
        duplicates=archive.duplicates,
    )


def limits_of(app: AppContext) -> DecodingLimits:
    """How large a file may be."""
    settings = app.settings
    return DecodingLimits(max_bytes=settings.upload_max_bytes, max_pixels=settings.upload_max_pixels)


def receive(app: AppContext, actor: Actor, receiving: IngestContext, data: bytes) -> Answer:
    """Take in one file: accepted, duplicate, or quarantined with a reason; never lost."""
    received_hash = hash_of(app, receiving, data)
    with app.database.reading() as session:
        known = session.get(Receipt, (receiving.project_id, received_hash))
    if known is not None:
        with app.database.writing() as session:
            return note_duplicate(session, actor, receiving, known.image_id, len(data))
    try:
        _refuse_anothers(app, receiving, data)
        prepared = prepare(app, receiving, data)
        seen = look(app, receiving, data, prepared)
        return store(app, actor, CleanedArrival(receiving, prepared, seen, received_hash))
    except (Unacceptable, ArrivalRefused) as refusal:
        return quarantine(app, actor, receiving, data, refusal)
    except DecoderFailed as failure:
        return quarantine(app, actor, receiving, data, undecodable(failure))


def _refuse_anothers(app: AppContext, receiving: IngestContext, data: bytes) -> None:
    """Raise where a file names a patient who is known, and is not the one for whom it was uploaded."""
    if not is_dicom(data):
        return
    (said,) = isolated_calls.introduce(app, [data], limits_of(app))
    if not isinstance(said, PatientIdentifiers) or not (said.patient_id or said.study_uid):
        return  # what is wrong with it shows when it is cleaned
    with app.database.reading() as session:
        owner = patient_matching.owner_of(session, app.keys, receiving.project_id, said)
        if owner is None or owner == receiving.patient_id:
            return
        code = session.get_one(Patient, owner).code
    raise ArrivalRefused(
        f"This file names the patient who is here as {code}, and was uploaded for {receiving.patient_code}. "
        "Release it if it is theirs all the same, or discard it and upload it for the other one.",
        reason="conflicting-patient",
    )


def undecodable(failure: DecoderFailed) -> ArrivalRefused:
    """A file at which its reader failed is kept, and a person looks at it."""
    words = f"{failure.message} It is kept apart until a person has looked at it."
    return ArrivalRefused(words, reason=failure.facts.get("how"))


def hash_of(app: AppContext, receiving: IngestContext, data: bytes) -> str:
    """By what the same file is recognized when it comes again; a keyed hash."""
    return app.keys.fingerprint("arrivals", receiving.project_id.encode() + hashlib.sha256(data).digest())


def known_receipts(session: Session, project_id: str, hashes: Sequence[str]) -> set[str]:
    """Which of these files have come into a project before."""
    chosen = select(Receipt.received_hash).where(Receipt.project_id == project_id, Receipt.received_hash.in_(hashes))
    return set(session.scalars(chosen))


def look(
    app: AppContext,
    receiving: IngestContext,
    data: bytes,
    prepared: CleanedImage,
    chosen: Sequence[Region] | None = None,
) -> BurnedInText | None:
    """Make writing in what was prepared black, or just what a person has ``chosen``; ``None`` where none can be.

    Raises ``InDoubt`` where a person must look first.
    """
    if not prepared.unseen and chosen is None:
        return None
    try:
        seen = isolated_calls.look(app, data, prepared, context_of(app, receiving), limits_of(app), chosen)
    except OcrUnavailable as missing:
        raise InDoubt(f"Nobody looked for writing in its pixels. {missing.message}") from missing
    if seen.doubt:
        raise InDoubt(seen.doubt, seen.boxes)
    return seen


def prepare(app: AppContext, receiving: IngestContext, data: bytes) -> CleanedImage:
    """Clean the header of a file in memory; its pixels are as they were received."""
    return isolated_calls.prepare(app, data, context_of(app, receiving), limits_of(app))


def context_of(app: AppContext, receiving: IngestContext) -> CleaningContext:
    """What is written in place of what was received."""
    with app.database.reading() as session:
        study_uid = receiving.place.study_uid if receiving.place else _study_uid(session, app, receiving)
    return CleaningContext(
        uid_key=app.keys.derive(f"uids {receiving.project_id}"),
        patient_code=receiving.patient_code,
        sex=receiving.sex,
        birth_year=receiving.birth_year,
        photograph_modality=receiving.pathway.modality if receiving.pathway is not None else "XC",
        study_instance_uid=study_uid,
        series_instance_uid=receiving.place.series_uid if receiving.place else None,
        received_at=clock.now(),
        profile=receiving.chosen.profile,
        known=receiving.known,
        attributes=receiving.attributes,
        shown=receiving.route == "upload",
    )


def _study_uid(session: Session, app: AppContext, receiving: IngestContext) -> str:
    """The study that photographs of this patient and pathway belong to: the same one until its case is signed.

    It is computed from the number of studies that are closed, so that files that come in at the same time agree on it.
    """
    name = receiving.pathway.name if receiving.pathway is not None else None
    closed = session.scalar(
        select(func.count(func.distinct(Image.study_id)))
        .join(Study, Study.id == Image.study_id)
        .where(Study.patient_id == receiving.patient_id, Study.pathway == name, Image.locked)
    )
    text = f"{receiving.patient_id} {name} {closed}"
    digest = app.keys.fingerprint(f"study-uids {receiving.project_id}", text.encode())
    return f"2.25.{int(digest[:32], 16)}"


def list_arrivals(
    session: Session,
    actor: Actor,
    *,
    project_id: str | None,
    patient_id: str | None,
    outcome: Outcome | None,
    offset: int,
    limit: int,
) -> tuple[list[tuple[Arrival, str | None]], int]:
    """A page of arrivals with their patients' codes, newest first."""
    chosen = (
        select(Arrival, Patient.code)
        .outerjoin(Patient, Patient.id == Arrival.patient_id)
        .where(Arrival.project_id.in_(actor.projects("arrival.read", project_id)))
    )
    if patient_id is not None:
        chosen = chosen.where(Arrival.patient_id == patient_id)
    if outcome is not None:
        chosen = chosen.where(Arrival.outcome == outcome)
    total = pagination.count_rows(session, chosen)
    page = session.execute(chosen.order_by(Arrival.created_at.desc(), Arrival.id).offset(offset).limit(limit))
    actor.record(session, "arrival.list", "patient", patient_id, patient_id=patient_id, found=total)
    return [(arrival, code) for arrival, code in page], total


def count_quarantined(session: Session, project_ids: frozenset[str]) -> int:
    """How many files wait in quarantine."""
    return (
        session.scalar(
            select(func.count())
            .select_from(Arrival)
            .where(Arrival.project_id.in_(project_ids), Arrival.outcome == "quarantined")
        )
        or 0
    )


def destroy_expired(app: AppContext) -> int:
    """Destroy the quarantined bytes whose time is over; the rows with their reasons stay."""
    with app.database.writing() as session:
        expired = session.scalars(
            select(Arrival).where(Arrival.expires_at < clock.now(), Arrival.sealed_bytes.is_not(None)).limit(1000)
        )
        return destroy_sealed(session, list(expired))
