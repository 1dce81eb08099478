# SPDX-License-Identifier: Apache-2.0
"""A person says whose a file is that could not find its patient itself."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.errors import Conflict, Invalid, NotAllowed, NotFound
from medhub.foundation import clock, jobs
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import DecoderFailed
from medhub.ingest import release, service
from medhub.ingest.context import Answer, ArrivalRefused
from medhub.ingest.ingest_settings import settings_of
from medhub.ingest.models import Arrival
from medhub.ingest.patient_matching import IngestSource, decide, decided, register
from medhub.ingest.profiles import profile_of
from medhub.ingest.quarantine import InDoubt, Waiting, note_refusal, open_waiting
from medhub.records import isolated_calls, vault
from medhub.records import service as records
from medhub.records.models import Patient
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers
from medhub.science.imaging.decoding_limits import Unacceptable


@dataclass(frozen=True)
class AssignmentView:
    """What a file that waits says of its patient, and for whom it may be; in memory alone."""

    said: PatientIdentifiers
    candidates: tuple[tuple[Patient, dict[str, str] | None], ...]


def look_at_claim(app: AppContext, actor: Actor, arrival_id: str) -> AssignmentView:
    """What a file that is nobody's yet says of its patient, for who decides whose it is; the act is recorded."""
    with app.database.reading() as session:
        waiting = open_waiting(session, app, actor, arrival_id)
        arrival = waiting.arrival
        actor.require("identity.read", arrival.project_id, "arrival")
        actor.record(session, "arrival.identify", "arrival", arrival.id, project_id=arrival.project_id)
        known = [session.get(Patient, patient_id) for patient_id in arrival.candidates or ()]
        candidates = tuple(
            (patient, records.visible_identity(session, app.keys, actor, patient)[0])
            for patient in known
            if patient is not None
        )
    return AssignmentView(_introduced(app, waiting.data) or PatientIdentifiers(), candidates)


def assign(
    app: AppContext, actor: Actor, arrival_id: str, *, patient_id: str | None, new_patient: bool, note: str
) -> Answer:
    """Give a file that is nobody's to a patient, known or new, and take it in; files that say the same follow it.

    Those that wait follow by a job, those that come later at once. What then still keeps a file out, as writing in its
    pixels, is written beside it, and it waits on as the patient's.
    """
    if (patient_id is None) != new_patient:
        raise Invalid("Say either to which patient the file belongs, or that its patient is new.", field="patient_id")
    with app.database.reading() as session:
        waiting = open_waiting(session, app, actor, arrival_id)
    if waiting.arrival.patient_id is not None:
        raise Conflict("This file has its patient already. Release or discard it.")
    said = _introduced(app, waiting.data)
    with app.database.writing() as session:
        arrival = _still_nobodys(session, arrival_id)
        _hand_over(session, app, actor, arrival, waiting, said, patient_id, note)
        role = actor.roles.get(arrival.project_id, Role.ADMINISTRATOR)
        by = {"user_id": actor.user_id, "name": actor.name, "role": role, "note": note}
        jobs.enqueue(session, "follow-claim", {"project_id": arrival.project_id, "by": by})
    return _take_in(app, actor, arrival_id, note)


def follow_claim(app: AppContext, project_id: str, by: Mapping[str, str]) -> None:
    """Take in what waits and says just what a file said whose patient a person has named, in that person's name."""
    roles = {project_id: Role(by["role"])}
    actor = Actor(by["user_id"], by["name"], email="", roles=roles, project_names={}, sign_in_id="")
    with app.database.reading() as session:
        nobodys = select(Arrival.id).where(
            Arrival.project_id == project_id,
            Arrival.outcome == "quarantined",
            Arrival.patient_id.is_(None),
            Arrival.sealed_bytes.is_not(None),
        )
        several = list(session.scalars(nobodys.order_by(Arrival.created_at)))
    for arrival_id in several:
        # Resolved, erased or expired meanwhile; or refused as the file of a patient who has just gone.
        with suppress(Conflict, NotFound, NotAllowed, Invalid):
            _follow(app, actor, arrival_id, by["note"])


def _follow(app: AppContext, actor: Actor, arrival_id: str, note: str) -> None:
    with app.database.reading() as session:
        waiting = open_waiting(session, app, actor, arrival_id)
    said = _introduced(app, waiting.data)
    if said is None:
        return
    with app.database.writing() as session:
        arrival = _still_nobodys(session, arrival_id)
        patient_id = decided(session, app.keys, arrival.project_id, said)
        if patient_id is None:
            return
        _hand_over(session, app, actor, arrival, waiting, said, patient_id, note)
    _take_in(app, actor, arrival_id, note)


def _still_nobodys(session: Session, arrival_id: str) -> Arrival:
    arrival = session.get_one(Arrival, arrival_id)
    if arrival.outcome != "quarantined" or arrival.patient_id is not None:
        raise Conflict("Somebody has resolved this file meanwhile.")
    return arrival


def _take_in(app: AppContext, actor: Actor, arrival_id: str, note: str) -> Answer:
    """Take a file in that has its patient now, or write beside it what still keeps it out."""
    try:
        return release.release(app, actor, arrival_id, None, note)
    except (Unacceptable, ArrivalRefused) as refusal:
        refused = refusal
    except DecoderFailed as failure:
        refused = service.undecodable(failure)
    with app.database.writing() as session:
        note_refusal(session.get_one(Arrival, arrival_id), refused)
    boxes = refused.boxes if isinstance(refused, InDoubt) else ()
    return Answer("quarantined", refused.message, code="writing" if boxes else str(refused.facts.get("reason")))


def _introduced(app: AppContext, data: bytes) -> PatientIdentifiers | None:
    try:
        (said,) = isolated_calls.introduce(app, [data], service.limits_of(app))
    except DecoderFailed:
        return None
    return said if isinstance(said, PatientIdentifiers) else None


def _hand_over(
    session: Session,
    app: AppContext,
    actor: Actor,
    arrival: Arrival,
    waiting: Waiting,
    said: PatientIdentifiers | None,
    patient_id: str | None,
    note: str,
) -> None:
    """Seal the bytes under the patient's key in place of the project's."""
    patient: Patient
    if patient_id is not None:
        patient = records.get_patient(session, actor, patient_id, "image.upload")
        if patient.project_id != arrival.project_id:
            raise Invalid("This patient belongs to another project than the file.", field="patient_id")
    else:
        actor.require("patient.create", arrival.project_id, "project")
        door = IngestSource(arrival.project_id, "upload")
        chosen = profile_of(session, arrival.project_id)
        patient = register(session, app, actor, door, said or PatientIdentifiers(), chosen)
    if said is not None and (said.patient_id or said.study_uid):
        decide(session, app.keys, arrival.project_id, patient.id, said)
    before = arrival.sealed_bytes
    sealed = vault.seal_for(session, app.keys, patient.id, waiting.data, f"arrival {arrival.id}")
    arrival.sealed_bytes = records.store_blob(session, app, sealed, patient_id=patient.id)
    arrival.patient_id, arrival.candidates = patient.id, None
    if arrival.pathway is None and said is not None:
        pathways = settings_of(session, arrival.project_id).pathways
        arrival.pathway = pathways.get(said.modality) or pathways.get("*")
    arrival.note, arrival.resolved_by, arrival.resolved_at = note.strip() or None, actor.name[:120], clock.now()
    if before is not None:
        jobs.enqueue(session, "destroy-unassigned", {"digests": [before]})
    actor.record(
        session,
        "arrival.assign",
        "arrival",
        arrival.id,
        project_id=arrival.project_id,
        patient_id=patient.id,
    )
