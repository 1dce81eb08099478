# SPDX-License-Identifier: Apache-2.0
"""Use cases of scheduled studies: schedule one for a patient, change it, cancel it, and list them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, Invalid, NotFound
from medhub.foundation import clock, ids, pagination
from medhub.foundation.keys import Keys
from medhub.ingest.hashed_identifiers import hash_identifiers
from medhub.ingest.patient_matching import find_owner, index_identifiers
from medhub.records import service as records
from medhub.records import vault
from medhub.records.models import Identity, Patient
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers
from medhub.worklist.models import ScheduledStudy

OPEN_STATES = ("scheduled", "in-progress")


class NotScheduledAnyMore(Conflict):
    """A study that has begun, ended or been canceled is not changed."""

    code = "not-scheduled-any-more"


@dataclass(frozen=True)
class StudyDetails:
    """The texts of a scheduled study, which may identify the patient."""

    accession_number: str
    description: str
    requesting_physician: str


@dataclass(frozen=True)
class WorklistIdentity:
    """The identity under which a modality gets a patient; the code of the patient where the vault has none."""

    patient_id: str
    name: str
    birth_date: str  # YYYYMMDD, or empty
    sex: str  # F, M, O, or empty


def schedule_study(
    session: Session, keys: Keys, actor: Actor, patient_id: str, values: Mapping[str, Any]
) -> ScheduledStudy:
    """Schedule a study of a patient; images that come back with its patient ID or study UID join the patient."""
    patient = records.get_patient(session, actor, patient_id, "worklist.change")
    moment, step_id = clock.now(), ids.new_code("S")
    study = ScheduledStudy(
        id=ids.new_id(),
        project_id=patient.project_id,
        patient_id=patient.id,
        study_uid=f"2.25.{uuid.uuid4().int}",
        step_id=step_id,
        state="scheduled",
        created_at=moment,
        created_by=actor.name[:120],
        changed_at=moment,
        sealed_details=b"",
        **{name: values[name] for name in _PLAIN},
    )
    details = StudyDetails(values["accession_number"] or step_id, values["description"], values["requesting_physician"])
    _seal_details(session, keys, study, details)
    _index_patient(session, keys, patient, study)
    session.add(study)
    session.flush()
    _record(session, actor, study, "worklist.create")
    return study


_PLAIN = ("modality", "station_ae", "start_date", "start_time")


def change_study(
    session: Session, keys: Keys, actor: Actor, study_id: str, values: Mapping[str, Any]
) -> ScheduledStudy:
    """Change a study that has not begun."""
    study = _get_scheduled(session, actor, study_id)
    for name in _PLAIN:
        if name in values:
            setattr(study, name, values[name])
    details = {**asdict(details_of(session, keys, study)), **{k: v for k, v in values.items() if k not in _PLAIN}}
    details["accession_number"] = details["accession_number"] or study.step_id
    _seal_details(session, keys, study, StudyDetails(**details))
    study.changed_at = clock.now()
    session.flush()
    _record(session, actor, study, "worklist.change", changed=sorted(values))
    return study


def cancel_study(session: Session, actor: Actor, study_id: str) -> ScheduledStudy:
    """Cancel a study that has not begun; modalities do not get it any more."""
    study = _get_scheduled(session, actor, study_id)
    study.state, study.changed_at = "canceled", clock.now()
    session.flush()
    _record(session, actor, study, "worklist.cancel")
    return study


def get_study(session: Session, actor: Actor, study_id: str, action: str = "worklist.read") -> ScheduledStudy:
    """A scheduled study of a project of the actor's."""
    study = session.get(ScheduledStudy, study_id)
    if study is None:
        raise NotFound("There is no such scheduled study, or it is not in a project of yours.")
    actor.require(action, study.project_id, "scheduled study")
    return study


def read_study(session: Session, actor: Actor, study_id: str) -> ScheduledStudy:
    """A scheduled study to be shown with its texts; the audit log records it."""
    study = get_study(session, actor, study_id)
    _record(session, actor, study, "worklist.read")
    return study


def list_studies(
    session: Session,
    actor: Actor,
    *,
    project_id: str | None,
    patient_id: str | None,
    state: str | None,
    offset: int,
    limit: int,
) -> tuple[Sequence[ScheduledStudy], int]:
    """A page of the scheduled studies of the actor's projects, the earliest first."""
    projects = actor.projects("worklist.read", project_id)
    query: Select[ScheduledStudy] = select(ScheduledStudy).where(ScheduledStudy.project_id.in_(projects))
    if patient_id is not None:
        query = query.where(ScheduledStudy.patient_id == patient_id)
    if state is not None:
        query = query.where(ScheduledStudy.state == state)
    total = pagination.count_rows(session, query)
    order = (ScheduledStudy.start_date, ScheduledStudy.start_time, ScheduledStudy.id)
    rows = list(session.scalars(query.order_by(*order).offset(offset).limit(limit)))
    only = next(iter(projects)) if len(projects) == 1 else None
    actor.record(session, "worklist.list", "worklist", None, project_id=only, patient_id=patient_id, found=len(rows))
    return rows, total


def details_of(session: Session, keys: Keys, study: ScheduledStudy) -> StudyDetails:
    """The decrypted texts of a scheduled study."""
    return StudyDetails(
        **json.loads(vault.unseal_for(session, keys, study.patient_id, study.sealed_details, _bound(study)))
    )


def identity_of(session: Session, keys: Keys, patient: Patient) -> WorklistIdentity:
    """The identity of a patient for a modality; the caller records that the vault was read."""
    identity = vault.read_identity(keys, session.get(Identity, patient.id)) or {}
    return WorklistIdentity(
        identity.get("hospital_number") or patient.code,
        identity.get("name") or patient.code,
        identity.get("birth_date", "").replace("-", ""),
        patient.sex if patient.sex in {"F", "M", "O"} else "",
    )


def _seal_details(session: Session, keys: Keys, study: ScheduledStudy, details: StudyDetails) -> None:
    text = json.dumps(asdict(details), ensure_ascii=False)
    study.sealed_details = vault.seal_for(session, keys, study.patient_id, text.encode(), _bound(study))


def _bound(study: ScheduledStudy) -> str:
    return f"scheduled study {study.id}"


def _index_patient(session: Session, keys: Keys, patient: Patient, study: ScheduledStudy) -> None:
    """Let files that a modality labels from the worklist find the patient."""
    identity = identity_of(session, keys, patient)
    if "\\" in identity.patient_id or len(identity.patient_id) > 64:
        raise Invalid("A modality takes a hospital number of up to 64 characters without a backslash.")
    known_name = identity.name if identity.name != patient.code else ""
    identifiers = PatientIdentifiers(
        patient_id=identity.patient_id,
        name=known_name,
        birth_date=identity.birth_date,
        sex=identity.sex,
        study_uid=study.study_uid,
    )
    owner = find_owner(session, keys, patient.project_id, identifiers)
    if owner is not None and owner != patient.id:
        code = session.get_one(Patient, owner).code
        raise Conflict(
            f"Images with this hospital number are those of the patient who is here as {code}. "
            "Schedule the study for that patient, or correct the hospital number.",
            field="patient_id",
        )
    hashed = hash_identifiers(keys, patient.project_id, identifiers)
    index_identifiers(session, keys, patient.project_id, patient.id, identifiers, hashed)


def _get_scheduled(session: Session, actor: Actor, study_id: str) -> ScheduledStudy:
    study = get_study(session, actor, study_id, "worklist.change")
    if study.state != "scheduled":
        raise NotScheduledAnyMore(f"This study is {study.state}. Only a study that has not begun can be changed.")
    return study


def _record(session: Session, actor: Actor, study: ScheduledStudy, action: str, **facts: Any) -> None:
    actor.record(
        session, action, "worklist", study.id, project_id=study.project_id, patient_id=study.patient_id, **facts
    )
