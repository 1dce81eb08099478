# SPDX-License-Identifier: Apache-2.0
"""Match the identifiers in a file to a patient, by keyed hashes; contradictions are never merged.

Within a project a file belongs to the patient with its issuer and patient number; without a number, to the patient of
its study. Name, birth date and sex must not contradict those of earlier files: otherwise a person decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.foundation.keys import Keys
from medhub.ingest.hashed_identifiers import HashedIdentifiers, find_contradiction, hash_identifiers
from medhub.ingest.profiles import ProjectProfileChoice
from medhub.ingest.refusals import ArrivalRefused, PatientMismatch
from medhub.ingest.registered_patients import contradicts_identity, find_registered
from medhub.records import service as records
from medhub.records.birth_dates import birth_year_in_file
from medhub.records.identifier_index import (
    hash_identifier,
    normalize_date,
    normalize_number,
    write_identifiers,
)
from medhub.records.models import Patient, PatientIdentifierIndex
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers

_CONTRADICTIONS = {"name": "another name", "birth_date": "another birth date", "sex": "another sex"}


def lock_patients(session: Session, keys: Keys, project_id: str, claims: Iterable[PatientIdentifiers]) -> None:
    """Lock the named patients until the transaction ends, always in the same order to avoid deadlocks."""
    hashes = set()
    for identifiers in claims:
        with suppress(ArrivalRefused):
            hashes.add(hash_identifiers(keys, project_id, identifiers).patient)
            if number := normalize_number(identifiers.patient_id):
                hashes.add(hash_identifier(keys, project_id, "number", number))
    for patient_hash in sorted(hashes):
        serialize_writers(session, f"source {patient_hash}")


def find_patient(
    session: Session,
    app: AppContext,
    actor: Actor,
    project_id: str,
    identifiers: PatientIdentifiers,
    profile: ProjectProfileChoice,
) -> Patient:
    """Find the patient of a file, or register a new one; the identifiers of the file are indexed.

    Raises ``PatientMismatch`` where they contradict the known ones, and ``ArrivalRefused`` where there are none.
    """
    hashed = hash_identifiers(app.keys, project_id, identifiers)
    lock_patients(session, app.keys, project_id, [identifiers])
    decision = session.get(PatientIdentifierIndex, (project_id, "said", hashed.combined_hash(app.keys, project_id)))
    if decision is not None:
        return session.get_one(Patient, decision.patient_id)
    known = session.get(PatientIdentifierIndex, (project_id, "patient", hashed.patient))
    study = session.get(PatientIdentifierIndex, (project_id, "study", hashed.study)) if hashed.study else None
    if known is not None:
        trait = find_contradiction(known.traits, hashed.traits) or contradicts_identity(
            session, app.keys, known.patient_id, identifiers
        )
        if trait is not None:
            raise PatientMismatch(
                f"This file has the patient number of a known patient, but {_CONTRADICTIONS[trait]}. "
                "Say whether it is the same person; nothing was merged.",
                [known.patient_id],
            )
    patient_id = known.patient_id if known is not None else None
    if patient_id is None:
        patient_id = find_registered(session, app.keys, project_id, identifiers, hashed)
    if study is not None and study.patient_id != patient_id:
        raise PatientMismatch(
            "The study that this file names came in as another patient's. Say whose it is; nothing was merged.",
            [study.patient_id, *([patient_id] if patient_id is not None else [])],
        )
    if patient_id is not None:
        patient = session.get_one(Patient, patient_id)
    else:
        patient = register_patient(session, app, actor, project_id, identifiers, profile)
    index_identifiers(session, app.keys, project_id, patient.id, identifiers, hashed)
    return patient


def find_owner(session: Session, keys: Keys, project_id: str, identifiers: PatientIdentifiers) -> str | None:
    """The id of the patient of a file, by a person's decision or by its patient number, if known."""
    hashed = hash_identifiers(keys, project_id, identifiers)
    for kind, key in (("said", hashed.combined_hash(keys, project_id)), ("patient", hashed.patient)):
        entry = session.get(PatientIdentifierIndex, (project_id, kind, key))
        if entry is not None:
            return entry.patient_id
    try:
        return find_registered(session, keys, project_id, identifiers, hashed)
    except PatientMismatch as mismatch:
        return mismatch.candidates[0] if len(mismatch.candidates) == 1 else None


def index_identifiers(
    session: Session,
    keys: Keys,
    project_id: str,
    patient_id: str,
    identifiers: PatientIdentifiers,
    hashed: HashedIdentifiers,
) -> None:
    """Add the identifiers of a file to the index of its patient."""
    write_identifiers(
        session,
        keys,
        project_id,
        patient_id,
        origin="file",
        number=identifiers.patient_id,
        issuer=identifiers.issuer,
        birth_date=identifiers.birth_date,
    )
    for kind, key in (("patient", hashed.patient), ("study", hashed.study)):
        if not key:
            continue
        traits = hashed.traits if kind == "patient" else {}
        entry = session.get(PatientIdentifierIndex, (project_id, kind, key))
        if entry is None:
            session.add(
                PatientIdentifierIndex(project_id=project_id, kind=kind, key=key, patient_id=patient_id, traits=traits)
            )
            continue
        merged = {name: sorted({*entry.traits.get(name, ()), *values}) for name, values in traits.items()}
        if entry.patient_id != patient_id or {**entry.traits, **merged} != entry.traits:
            entry.patient_id, entry.traits = patient_id, {**entry.traits, **merged}
    session.flush()


def record_decision(
    session: Session, keys: Keys, project_id: str, patient_id: str, identifiers: PatientIdentifiers
) -> None:
    """Store a person's decision about a file; it applies to files with exactly the same identifiers, and no others."""
    hashed = hash_identifiers(keys, project_id, identifiers)
    key = hashed.combined_hash(keys, project_id)
    before = session.get(PatientIdentifierIndex, (project_id, "said", key))
    if before is None:
        session.add(
            PatientIdentifierIndex(project_id=project_id, kind="said", key=key, patient_id=patient_id, traits={})
        )
    else:
        before.patient_id = patient_id
    known = session.get(PatientIdentifierIndex, (project_id, "patient", hashed.patient))
    study = session.get(PatientIdentifierIndex, (project_id, "study", hashed.study)) if hashed.study else None
    if known is None and study is None:  # nothing contradicts the identifiers; they were only incomplete
        index_identifiers(session, keys, project_id, patient_id, identifiers, hashed)
    session.flush()


def find_decision(session: Session, keys: Keys, project_id: str, identifiers: PatientIdentifiers) -> str | None:
    """The id of the patient to whom a person assigned a file with exactly the same identifiers."""
    if not identifiers.patient_id and not identifiers.study_uid:
        return None
    key = hash_identifiers(keys, project_id, identifiers).combined_hash(keys, project_id)
    entry = session.get(PatientIdentifierIndex, (project_id, "said", key))
    return entry.patient_id if entry is not None else None


def register_patient(
    session: Session,
    app: AppContext,
    actor: Actor,
    project_id: str,
    identifiers: PatientIdentifiers,
    profile: ProjectProfileChoice,
) -> Patient:
    """Register the patient of a file, with sex and birth year where the profile retains them."""
    retained = "characteristics" in profile.profile.options
    sex = identifiers.sex.upper() if retained and identifiers.sex.upper() in {"F", "M", "O"} else "U"
    year = birth_year_in_file(normalize_date(identifiers.birth_date)) if retained else None
    return records.create_patient(
        session,
        app.keys,
        project_id=project_id,
        sex=sex,
        birth_year=year,
        fields=None,
        identity=None,
        by=actor,
    )
