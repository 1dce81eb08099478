# SPDX-License-Identifier: Apache-2.0
"""Writing what was cleaned: image, blobs, manifest, and the arrival that says what became of the file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Invalid
from medhub.foundation import clock, ids
from medhub.foundation.database import in_turn
from medhub.foundation.events import announce
from medhub.foundation.installation import Installation
from medhub.ingest.events import ImageStored
from medhub.ingest.models import Arrival, Manifest, ManifestLines, Receipt
from medhub.ingest.profiles import Chosen
from medhub.records import service as records
from medhub.records import studies, vault
from medhub.records.models import Identity, Image, Patient, PatientBlob, Series, Study
from medhub.records.pathway import Pathway
from medhub.science.deid.engine import ENGINE
from medhub.science.imaging.prepared import Prepared
from medhub.science.imaging.writing import Seen


class ArrivalRefused(Invalid):
    """A whole file that does not fit what is here already; the fact ``reason`` says in a word why."""

    code = "arrival-refused"


Outcome = Literal["accepted", "duplicate", "quarantined", "discarded"]


@dataclass(frozen=True)
class Receiving:
    """For which patient and pathway files come in; checked once, good for many files."""

    patient_id: str
    patient_code: str
    project_id: str
    sex: str
    birth_year: int | None
    pathway: Pathway
    chosen: Chosen
    known: tuple[str, ...] = ()  # who the patient is, from the vault; in memory alone


@dataclass(frozen=True)
class Answer:
    """What became of one file."""

    outcome: Outcome
    reason: str | None = None
    image_id: str | None = None


_SAME_UID = ArrivalRefused(
    "Another image with the same identifier is already here, and its content differs. "
    "Nothing was replaced. Delete the old image first if this one is meant to take its place.",
    reason="conflicting",
)


def store(
    house: Installation,
    actor: Actor,
    receiving: Receiving,
    prepared: Prepared,
    seen: Seen | None,
    received_hash: str,
    *,
    released: Arrival | None = None,
    note: str | None = None,
    by_person: bool = False,
) -> Answer:
    """Write a cleaned image with all that belongs to it; raises ``ArrivalRefused`` where it does not fit.

    A quarantined arrival that a person ``released`` becomes the accepted one.
    """
    if seen is not None:
        prepared = replace(
            prepared,
            dicom=seen.dicom,
            thumbnail=seen.thumbnail or prepared.thumbnail,
            transfer_syntax_uid=seen.transfer_syntax_uid,
        )
    # Written before the transaction, which only names them: writers do not wait for each other's disk.
    blobs = [house.blobs.put(prepared.dicom), house.blobs.put(prepared.thumbnail)]
    try:
        with house.database.writing() as session:
            image = _store(session, house, actor, receiving, prepared)
            _keep_manifest(session, image, receiving.chosen, prepared, seen, by_person=by_person)
            _keep_identity(session, house, receiving, prepared.identity)
            if released is None:
                note_arrival(session, actor, receiving, "accepted", len(prepared.dicom), image_id=image.id)
            else:
                _release(session, house, actor, session.get_one(Arrival, released.id), image, note)
            announce(session, ImageStored(image_id=image.id))
            session.add(Receipt(project_id=receiving.project_id, received_hash=received_hash, image_id=image.id))
            session.flush()
        return Answer("accepted", image_id=image.id)
    except IntegrityError:
        records.destroy_unnamed_blobs(house, blobs)
        # The same file came in twice at the same moment; the other was first.
        with house.database.reading() as session:
            known = session.get(Receipt, (receiving.project_id, received_hash))
        if known is not None:
            return note_duplicate(house, actor, receiving, known.image_id, len(prepared.dicom))
        raise _SAME_UID from None
    except ArrivalRefused:
        records.destroy_unnamed_blobs(house, blobs)
        raise


def _release(
    session: Session, house: Installation, actor: Actor, arrival: Arrival, image: Image, note: str | None
) -> None:
    """Turn a quarantined arrival into an accepted one; its sealed bytes go."""
    if arrival.outcome != "quarantined":
        raise ArrivalRefused("Somebody has resolved this file meanwhile. Nothing was stored.", reason="resolved")
    arrival.outcome, arrival.image_id, arrival.note = "accepted", image.id, note
    arrival.resolved_at, arrival.resolved_by = clock.now(), actor.name[:120]
    destroy_sealed(session, [arrival])
    actor.record(
        session,
        "arrival.release",
        "arrival",
        arrival.id,
        project_id=arrival.project_id,
        patient_id=arrival.patient_id,
        image_id=image.id,
    )


def destroy_sealed(session: Session, arrivals: Sequence[Arrival]) -> int:
    """Destroy quarantined bytes; the rows with their reasons stay."""
    digests = [arrival.sealed_bytes for arrival in arrivals if arrival.sealed_bytes is not None]
    for arrival in arrivals:
        arrival.sealed_bytes = None
    session.flush()
    session.execute(delete(PatientBlob).where(PatientBlob.digest.in_(digests)))
    records.destroy_blobs(session, digests)
    return len(digests)


def _keep_manifest(
    session: Session, image: Image, chosen: Chosen, prepared: Prepared, seen: Seen | None, *, by_person: bool
) -> None:
    lines = [list(vars(line).values()) for line in prepared.manifest]
    digest = hashlib.sha256(json.dumps(lines).encode()).hexdigest()
    if session.get(ManifestLines, digest) is None:
        in_turn(session, "manifest lines")
        if session.get(ManifestLines, digest) is None:
            session.add(ManifestLines(digest=digest, lines=lines))
            session.flush()
    session.add(
        Manifest(
            image_id=image.id,
            profile=chosen.profile.name,
            profile_version=chosen.profile.version,
            profile_digest=chosen.digest,
            engine=ENGINE,
            lines=digest,
            looked_through="person" if by_person else "program" if seen is not None else "no",
            boxes=[list(box) for box in seen.boxes] if seen is not None else [],
            kept=[list(box) for box in seen.kept] if seen is not None else [],
            created_at=clock.now(),
        )
    )


def _keep_identity(session: Session, house: Installation, receiving: Receiving, said: Mapping[str, str]) -> None:
    """Add to the vault what the file says of the person and the vault does not, where the project may keep it."""
    if not receiving.chosen.keep_identity or not said:
        return
    known = vault.read_identity(house.keys, session.get(Identity, receiving.patient_id)) or {}
    more = {name: value for name, value in said.items() if name not in known}
    if more:
        patient = session.get_one(Patient, receiving.patient_id)
        vault.write_identity(session, house.keys, patient, {**known, **more})


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
    return image


def note_arrival(
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
    """Write what became of a received file."""
    arrival = Arrival(
        id=ids.new_id(),
        project_id=receiving.project_id,
        patient_id=receiving.patient_id,
        image_id=image_id,
        pathway=receiving.pathway.name,
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


def note_duplicate(house: Installation, actor: Actor, receiving: Receiving, image_id: str, size_bytes: int) -> Answer:
    """Say of a file that it is here already."""
    with house.database.writing() as session:
        image = session.get_one(Image, image_id)
        reason = "This file is already here."
        if image.patient_id != receiving.patient_id:
            other = session.get_one(Patient, image.patient_id)
            reason = (
                f"This file is already here, as an image of the patient {other.code}. "
                "Check which patient it belongs to; it was not stored again."
            )
        note_arrival(
            session, actor, receiving, "duplicate", size_bytes, image_id=image_id, code="duplicate", reason=reason
        )
    return Answer("duplicate", reason, image_id)
