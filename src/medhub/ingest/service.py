# SPDX-License-Identifier: Apache-2.0
"""The one way in: every received file passes ``receive``, and gets an answer of its own.

What was received is cleaned in memory, in a process that can be killed, before anything is written. A file is
acknowledged only after its bytes and its row are durable. What cannot be accepted is sealed under the patient's key
and waits, with its reason, until a person resolves it or it expires.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Invalid, NotAllowed
from medhub.foundation import clock, ids, listing
from medhub.foundation.database import in_turn
from medhub.foundation.events import announce
from medhub.foundation.installation import Installation
from medhub.foundation.isolation import DecoderFailed
from medhub.ingest.events import ImageStored
from medhub.ingest.models import Arrival, Receipt
from medhub.records import pixels, studies, vault
from medhub.records import service as records
from medhub.records.models import Image, Patient, PatientBlob, Series, Study
from medhub.records.pathway import Pathway, get_pathway
from medhub.science.imaging.arrivals import Context, Prepared, Unacceptable
from medhub.science.imaging.limits import Limits


class ArrivalRefused(Invalid):
    """A whole file that does not fit what is here already; the fact ``reason`` says in a word why."""

    code = "arrival-refused"


Outcome = Literal["accepted", "duplicate", "quarantined"]


@dataclass(frozen=True)
class Receiving:
    """For which patient and pathway files come in; checked once, good for many files."""

    patient_id: str
    patient_code: str
    project_id: str
    sex: str
    birth_year: int | None
    pathway: Pathway


@dataclass(frozen=True)
class Answer:
    """What became of one file."""

    outcome: Outcome
    reason: str | None = None
    image_id: str | None = None


def begin(session: Session, house: Installation, actor: Actor, patient_id: str, pathway_name: str) -> Receiving:
    """Check that the actor may bring in images for a patient on a pathway."""
    patient = records.get_patient(session, actor, patient_id, "image.upload")
    pathway = get_pathway(house.settings, pathway_name)
    act = pathway.act(pathway.first_stage.name, "upload")
    if act is None or not actor.has_role(patient.project_id, act.roles):
        roles = ", ".join(act.roles) if act is not None else "nobody"
        raise NotAllowed(f"On the pathway {pathway.title} images are uploaded by: {roles}.", action="image.upload")
    return Receiving(patient.id, patient.code, patient.project_id, patient.sex, patient.birth_year, pathway)


def limits_of(house: Installation) -> Limits:
    """How large a file may be."""
    settings = house.settings
    return Limits(max_bytes=settings.upload_max_bytes, max_pixels=settings.upload_max_pixels)


def receive(house: Installation, actor: Actor, receiving: Receiving, data: bytes) -> Answer:
    """Take in one file: accepted, duplicate, or quarantined with a reason; never lost."""
    received_hash = house.keys.fingerprint("arrivals", receiving.project_id.encode() + hashlib.sha256(data).digest())
    with house.database.reading() as session:
        known = session.get(Receipt, (receiving.project_id, received_hash))
        study_uid = _study_uid(session, house, receiving)
    if known is not None:
        return _note_duplicate(house, actor, receiving, known.image_id, len(data))
    context = Context(
        uid_key=house.keys.derive(f"uids {receiving.project_id}"),
        patient_code=receiving.patient_code,
        sex=receiving.sex,
        birth_year=receiving.birth_year,
        photograph_modality=receiving.pathway.modality,
        study_instance_uid=study_uid,
        received_at=clock.now(),
    )
    try:
        prepared = pixels.prepare(house, data, context, limits_of(house))
    except Unacceptable as refusal:
        return quarantine(house, actor, receiving, data, refusal)
    except DecoderFailed as failure:
        words = f"{failure.message} It is kept apart until a person has looked at it."
        return quarantine(house, actor, receiving, data, ArrivalRefused(words, reason=failure.facts.get("how")))
    # Written before the transaction, which only names them: writers do not wait for each other's disk.
    blobs = [house.blobs.put(prepared.dicom), house.blobs.put(prepared.thumbnail)]
    try:
        with house.database.writing() as session:
            image = _store(session, house, actor, receiving, prepared)
            session.add(Receipt(project_id=receiving.project_id, received_hash=received_hash, image_id=image.id))
            session.flush()
        return Answer("accepted", image_id=image.id)
    except IntegrityError:
        records.destroy_unnamed_blobs(house, blobs)
        # The same file came in twice at the same moment; the other was first.
        with house.database.reading() as session:
            known = session.get(Receipt, (receiving.project_id, received_hash))
        if known is not None:
            return _note_duplicate(house, actor, receiving, known.image_id, len(data))
        return quarantine(house, actor, receiving, data, _SAME_UID)
    except ArrivalRefused as refusal:
        records.destroy_unnamed_blobs(house, blobs)
        return quarantine(house, actor, receiving, data, refusal)


_SAME_UID = ArrivalRefused(
    "Another image with the same identifier is already here, and its content differs. "
    "Nothing was replaced. Delete the old image first if this one is meant to take its place.",
    reason="conflicting",
)


def _study_uid(session: Session, house: Installation, receiving: Receiving) -> str:
    """The study that photographs of this patient and pathway belong to: the same one until its case is signed.

    It is computed from the number of studies that are closed, so that files that come in at the same time agree on it.
    """
    closed = session.scalar(
        select(func.count(func.distinct(Image.study_id)))
        .join(Study, Study.id == Image.study_id)
        .where(Study.patient_id == receiving.patient_id, Study.pathway == receiving.pathway.name, Image.locked)
    )
    text = f"{receiving.patient_id} {receiving.pathway.name} {closed}"
    digest = house.keys.fingerprint(f"study-uids {receiving.project_id}", text.encode())
    return f"2.25.{int(digest[:32], 16)}"


def _store(
    session: Session,
    house: Installation,
    actor: Actor,
    receiving: Receiving,
    prepared: Prepared,
) -> Image:
    in_turn(session, f"patient {receiving.patient_id}")
    patient = session.get(Patient, receiving.patient_id)
    if patient is None:
        raise ArrivalRefused("The patient was erased while the file came in. Nothing was stored.", reason="erased")
    study = session.scalars(
        select(Study).where(Study.project_id == patient.project_id, Study.study_uid == prepared.study_instance_uid)
    ).one_or_none()
    if study is None:
        study = studies.new_study(
            session, patient, study_uid=prepared.study_instance_uid, pathway=receiving.pathway.name
        )
    elif study.patient_id != patient.id:
        raise ArrivalRefused(
            "This study already belongs to another patient. Check for whom the file is; nothing was stored.",
            reason="conflicting",
        )
    elif session.scalar(select(Image.id).where(Image.study_id == study.id, Image.locked).limit(1)) is not None:
        raise ArrivalRefused(
            "The study that this file belongs to is signed and stays as it is. "
            "Ask the physician to open a correction; nothing was stored.",
            reason="signed",
        )
    series = session.scalars(
        select(Series).where(Series.study_id == study.id, Series.series_uid == prepared.series_instance_uid)
    ).one_or_none()
    if series is None:
        series = studies.new_series(session, study, series_uid=prepared.series_instance_uid, modality=prepared.modality)
    image = Image(
        id=ids.new_id(),
        project_id=patient.project_id,
        patient_id=patient.id,
        study_id=study.id,
        series_id=series.id,
        number=studies.next_number(session, study.id),
        sop_class_uid=prepared.sop_class_uid,
        sop_instance_uid=prepared.sop_instance_uid,
        transfer_syntax_uid=prepared.transfer_syntax_uid,
        modality=prepared.modality,
        kind=prepared.kind,
        width=prepared.columns,
        height=prepared.rows,
        frames=prepared.frames,
        size_bytes=len(prepared.dicom),
        blob=hashlib.sha256(prepared.dicom).hexdigest(),
        thumbnail=hashlib.sha256(prepared.thumbnail).hexdigest(),
        state="waiting",
        created_at=clock.now(),
    )
    session.add(image)
    session.flush()
    for data in (prepared.dicom, prepared.thumbnail):
        records.keep_blob(session, house, data, patient_id=patient.id, image_id=image.id)
    _note(session, actor, receiving, "accepted", len(prepared.dicom), image_id=image.id)
    announce(session, ImageStored(image_id=image.id))
    return image


def _note(
    session: Session,
    actor: Actor,
    receiving: Receiving,
    outcome: Outcome,
    size_bytes: int,
    *,
    image_id: str | None = None,
    code: str | None = None,
    reason: str | None = None,
) -> Arrival:
    arrival = Arrival(
        id=ids.new_id(),
        project_id=receiving.project_id,
        patient_id=receiving.patient_id,
        image_id=image_id,
        outcome=outcome,
        code=code,
        reason=reason,
        size_bytes=size_bytes,
        by_id=actor.user_id or None,
        by=actor.name[:120],
        created_at=clock.now(),
    )
    session.add(arrival)
    actor.record(
        session,
        "image.receive",
        "arrival",
        arrival.id,
        project_id=receiving.project_id,
        patient_id=receiving.patient_id,
        outcome_of_file=outcome,
        image_id=image_id,
        code=code,
    )
    return arrival


def _note_duplicate(house: Installation, actor: Actor, receiving: Receiving, image_id: str, size_bytes: int) -> Answer:
    with house.database.writing() as session:
        image = session.get_one(Image, image_id)
        reason = "This file is already here."
        if image.patient_id != receiving.patient_id:
            other = session.get_one(Patient, image.patient_id)
            reason = (
                f"This file is already here, as an image of the patient {other.code}. "
                "Check which patient it belongs to; it was not stored again."
            )
        _note(session, actor, receiving, "duplicate", size_bytes, image_id=image_id, code="duplicate", reason=reason)
    return Answer("duplicate", reason, image_id)


def quarantine(
    house: Installation,
    actor: Actor,
    receiving: Receiving,
    data: bytes,
    refusal: Unacceptable | ArrivalRefused,
    size_bytes: int | None = None,
) -> Answer:
    """Keep a refused file sealed under the patient's key, with its reason, until it expires."""
    code = str(refusal.facts.get("reason", "unsupported"))
    with house.database.writing() as session:
        if session.get(Patient, receiving.patient_id) is None:
            return Answer("quarantined", refusal.message)
        arrival = _note(
            session,
            actor,
            receiving,
            "quarantined",
            size_bytes if size_bytes is not None else len(data),
            code=code,
            reason=refusal.message,
        )
        if data:
            sealed = vault.seal_for(session, house.keys, receiving.patient_id, data, f"arrival {arrival.id}")
            arrival.sealed_bytes = records.keep_blob(session, house, sealed, patient_id=receiving.patient_id)
            arrival.expires_at = clock.now() + timedelta(days=house.settings.quarantine_days)
    return Answer("quarantined", refusal.message)


def list_arrivals(
    session: Session,
    actor: Actor,
    *,
    project_id: str | None,
    patient_id: str | None,
    outcome: Outcome | None,
    offset: int,
    limit: int,
) -> tuple[list[tuple[Arrival, str]], int]:
    """A page of arrivals with their patients' codes, newest first."""
    chosen = (
        select(Arrival, Patient.code)
        .join(Patient, Patient.id == Arrival.patient_id)
        .where(Arrival.project_id.in_(actor.projects("arrival.read", project_id)))
    )
    if patient_id is not None:
        chosen = chosen.where(Arrival.patient_id == patient_id)
    if outcome is not None:
        chosen = chosen.where(Arrival.outcome == outcome)
    total = listing.count(session, chosen)
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


def destroy_expired(house: Installation) -> int:
    """Destroy the quarantined bytes whose time is over; the rows with their reasons stay."""
    with house.database.writing() as session:
        expired = list(
            session.scalars(
                select(Arrival).where(Arrival.expires_at < clock.now(), Arrival.sealed_bytes.is_not(None)).limit(1000)
            )
        )
        digests = [arrival.sealed_bytes for arrival in expired if arrival.sealed_bytes is not None]
        for arrival in expired:
            arrival.sealed_bytes = None
        session.execute(delete(PatientBlob).where(PatientBlob.digest.in_(digests)))
        records.destroy_blobs(session, digests)
    return len(digests)
