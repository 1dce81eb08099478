# SPDX-License-Identifier: Apache-2.0
"""A person assigns a quarantined file, whose patient could not be identified, to a patient."""

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
from medhub.foundation.visible_text import visible_text
from medhub.ingest import release
from medhub.ingest.ingest_file import IngestResult
from medhub.ingest.ingest_settings import settings_of
from medhub.ingest.models import Arrival
from medhub.ingest.patient_claims.reading import read_identifiers_of
from medhub.ingest.patient_matching import find_decision, record_decision, register_patient
from medhub.ingest.profiles import profile_of
from medhub.ingest.quarantine import OpenedArrival, open_arrival, seal_arrival, write_refusal
from medhub.ingest.refusals import ArrivalRefused, FileUndecodable, PhiReviewNeeded, Refusal, code_of
from medhub.ingest.routing import route
from medhub.records import service as records
from medhub.records.models import Patient
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers
from medhub.science.imaging.decoding_limits import Unacceptable


@dataclass(frozen=True)
class AssignmentReview:
    """The identifiers in a quarantined file, and the patients to whom it may belong; in memory only."""

    identifiers: PatientIdentifiers
    candidates: tuple[tuple[Patient, dict[str, str] | None], ...]


def review_assignment(app: AppContext, actor: Actor, arrival_id: str) -> AssignmentReview:
    """Read the identifiers in a file without a patient, for the person who assigns it; the act is audited."""
    with app.database.reading() as session:
        opened = open_arrival(session, app, actor, arrival_id)
        arrival = opened.arrival
        actor.require("identity.read", arrival.project_id, "arrival")
        actor.record(session, "arrival.identify", "arrival", arrival.id, project_id=arrival.project_id)
        patients = [session.get(Patient, patient_id) for patient_id in arrival.candidates or ()]
        candidates = tuple(
            (patient, records.visible_identity(session, app.keys, actor, patient)[0])
            for patient in patients
            if patient is not None
        )
    return AssignmentReview(read_identifiers_of(app, opened.data) or PatientIdentifiers(), candidates)


def assign(
    app: AppContext, actor: Actor, arrival_id: str, *, patient_id: str | None, new_patient: bool, note: str
) -> IngestResult:
    """Assign a file to a known or new patient and release it; files with the same identifiers follow.

    Quarantined ones follow by a job, later ones at once. A file that is still refused, for example because of text in
    its pixels, stays in quarantine with the new reason, as the patient's.
    """
    if (patient_id is None) != new_patient:
        raise Invalid("Say either to which patient the file belongs, or that its patient is new.", field="patient_id")
    with app.database.reading() as session:
        opened = open_arrival(session, app, actor, arrival_id)
    if opened.arrival.patient_id is not None:
        raise Conflict("This file has its patient already. Release or discard it.")
    identifiers = read_identifiers_of(app, opened.data)
    with app.database.writing() as session:
        arrival = _get_unassigned(session, arrival_id)
        _assign_arrival(session, app, actor, arrival, opened, identifiers, patient_id, note)
        role = actor.roles.get(arrival.project_id, Role.ADMINISTRATOR)
        by = {"user_id": actor.user_id, "name": actor.name, "role": role, "note": note}
        jobs.enqueue(session, "follow-claim", {"project_id": arrival.project_id, "by": by})
    return _release_assigned(app, actor, arrival_id, note)


def follow_claim(app: AppContext, project_id: str, by: Mapping[str, str]) -> None:
    """Release the quarantined files with the identifiers of a file that a person assigned, in that person's name."""
    roles = {project_id: Role(by["role"])}
    actor = Actor(by["user_id"], by["name"], email="", roles=roles, project_names={}, sign_in_id="")
    with app.database.reading() as session:
        query = select(Arrival.id).where(
            Arrival.project_id == project_id,
            Arrival.outcome == "quarantined",
            Arrival.patient_id.is_(None),
            Arrival.sealed_bytes.is_not(None),
        )
        arrival_ids = list(session.scalars(query.order_by(Arrival.created_at)))
    for arrival_id in arrival_ids:
        # Resolved, erased or expired meanwhile; or refused as the file of a patient who was just erased.
        with suppress(Conflict, NotFound, NotAllowed, Invalid):
            _apply_decision(app, actor, arrival_id, by["note"])


def _apply_decision(app: AppContext, actor: Actor, arrival_id: str, note: str) -> None:
    with app.database.reading() as session:
        opened = open_arrival(session, app, actor, arrival_id)
    identifiers = read_identifiers_of(app, opened.data)
    if identifiers is None:
        return
    with app.database.writing() as session:
        arrival = _get_unassigned(session, arrival_id)
        patient_id = find_decision(session, app.keys, arrival.project_id, identifiers)
        if patient_id is None:
            return
        _assign_arrival(session, app, actor, arrival, opened, identifiers, patient_id, note)
    _release_assigned(app, actor, arrival_id, note)


def _get_unassigned(session: Session, arrival_id: str) -> Arrival:
    arrival = session.get_one(Arrival, arrival_id)
    if arrival.outcome != "quarantined" or arrival.patient_id is not None:
        raise Conflict("Somebody has resolved this file meanwhile.")
    return arrival


def _release_assigned(app: AppContext, actor: Actor, arrival_id: str, note: str) -> IngestResult:
    """Release a file that has its patient now, or write why it is still refused."""
    refusal: Refusal
    try:
        return release.release(app, actor, arrival_id, None, note)
    except (Unacceptable, ArrivalRefused) as error:
        refusal = error
    except DecoderFailed as failure:
        refusal = FileUndecodable(failure)
    with app.database.writing() as session:
        write_refusal(session.get_one(Arrival, arrival_id), refusal)
    boxes = refusal.boxes if isinstance(refusal, PhiReviewNeeded) else ()
    return IngestResult("quarantined", refusal.message, code="writing" if boxes else code_of(refusal))


def _assign_arrival(
    session: Session,
    app: AppContext,
    actor: Actor,
    arrival: Arrival,
    opened: OpenedArrival,
    identifiers: PatientIdentifiers | None,
    patient_id: str | None,
    note: str,
) -> None:
    """Set the patient of an arrival, and seal its bytes under the patient's key instead of the project's."""
    patient: Patient
    if patient_id is not None:
        patient = records.get_patient(session, actor, patient_id, "image.upload")
        if patient.project_id != arrival.project_id:
            raise Invalid("This patient belongs to another project than the file.", field="patient_id")
    else:
        actor.require("patient.create", arrival.project_id, "project")
        profile = profile_of(session, arrival.project_id)
        patient = register_patient(
            session, app, actor, arrival.project_id, identifiers or PatientIdentifiers(), profile
        )
    if identifiers is not None and (identifiers.patient_id or identifiers.study_uid):
        record_decision(session, app.keys, arrival.project_id, patient.id, identifiers)
    unassigned_digest = arrival.sealed_bytes
    arrival.patient_id, arrival.candidates = patient.id, None
    seal_arrival(session, app, arrival, opened.data)
    if arrival.pathway is None and identifiers is not None:
        rules = settings_of(session, arrival.project_id)
        pathway = route(app.settings, rules, identifiers.modality, None)
        arrival.pathway = pathway.name if pathway is not None else None
    arrival.note, arrival.resolved_by, arrival.resolved_at = visible_text(note), actor.name[:120], clock.now()
    if unassigned_digest is not None:
        jobs.enqueue(session, "destroy-unassigned", {"digests": [unassigned_digest]})
    actor.record(
        session,
        "arrival.assign",
        "arrival",
        arrival.id,
        project_id=arrival.project_id,
        patient_id=patient.id,
    )
