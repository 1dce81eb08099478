# SPDX-License-Identifier: Apache-2.0
"""Match the identifiers in a file to a patient, by keyed hashes; contradictions are never merged.

Within a project a file belongs to the patient with its issuer and patient number; without a number, to the patient of
its study. Name, birth date and sex must not contradict those of earlier files: otherwise a person decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.foundation.keys import Keys
from medhub.ingest.models import PatientIdentifierIndex
from medhub.ingest.profiles import ProjectProfileChoice
from medhub.ingest.refusals import ArrivalRefused, PatientMismatch
from medhub.records import service as records
from medhub.records import vault
from medhub.records.models import Patient
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers

Traits = dict[str, list[str]]


@dataclass(frozen=True)
class HashedIdentifiers:
    """Keyed hashes of the patient number, the study and the traits (name, birth date, sex) in a file."""

    patient: str
    study: str
    traits: Traits

    def combined_hash(self, keys: Keys, project_id: str) -> str:
        """A hash of all values together; a person's decision is stored under it."""
        text = json.dumps([self.patient, self.study, self.traits], sort_keys=True)
        return keys.fingerprint("sources", f"{project_id} said {text}".encode())


_SEPARATED_DATE = re.compile(r"(\d{4})\s*([./-])\s*(\d{1,2})\s*\2\s*(\d{1,2})", re.ASCII)


def normalize_date(date: str) -> str:
    """A date as YYYYMMDD; old files write YYYY.MM.DD (PS3.5, 6.2), and others use hyphens or slashes."""
    parts = _SEPARATED_DATE.fullmatch(date.strip())
    return f"{parts[1]}{int(parts[3]):02}{int(parts[4]):02}" if parts is not None else date.strip()


def hash_identifiers(keys: Keys, project_id: str, identifiers: PatientIdentifiers) -> HashedIdentifiers:
    """Hash the identifiers in a file; raises ``ArrivalRefused`` where it names neither patient nor study."""
    if not identifiers.patient_id and not identifiers.study_uid:
        raise ArrivalRefused(
            "This file names neither its patient nor its study. Choose the patient to whom it belongs.",
            reason="no-patient",
        )

    def fingerprint(kind: str, text: str) -> str:
        return keys.fingerprint("sources", f"{project_id} {kind} {text}".encode())

    number = (
        f"{vault.fold(identifiers.issuer)} {identifiers.patient_id}"
        if identifiers.patient_id
        else f" study {identifiers.study_uid}"
    )
    sex, birth_date = identifiers.sex.upper(), normalize_date(identifiers.birth_date)
    traits = {
        "name": [fingerprint("name", word) for word in sorted(set(vault.fold(identifiers.name).split()))],
        "birth_date": [fingerprint("birth_date", birth_date)] if birth_date else [],
        "sex": [fingerprint("sex", sex)] if sex in {"F", "M", "O"} else [],
    }
    return HashedIdentifiers(
        fingerprint("patient", number),
        fingerprint("study", identifiers.study_uid) if identifiers.study_uid else "",
        {name: values for name, values in traits.items() if values},
    )


def find_contradiction(known: Mapping[str, Sequence[str]], claimed: Mapping[str, Sequence[str]]) -> str | None:
    """The trait that contradicts the known one; a name may be a part of the known name, or contain it."""
    for name, values in claimed.items():
        before = set(known.get(name, ()))
        if before and not (before <= set(values) or set(values) <= before):
            return name
    return None


_CONTRADICTIONS = {"name": "another name", "birth_date": "another birth date", "sex": "another sex"}


def lock_patients(session: Session, keys: Keys, project_id: str, claims: Iterable[PatientIdentifiers]) -> None:
    """Lock the named patients until the transaction ends, always in the same order to avoid deadlocks."""
    hashes = set()
    for identifiers in claims:
        with suppress(ArrivalRefused):
            hashes.add(hash_identifiers(keys, project_id, identifiers).patient)
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
    serialize_writers(session, f"source {hashed.patient}")
    decision = session.get(PatientIdentifierIndex, (project_id, "said", hashed.combined_hash(app.keys, project_id)))
    if decision is not None:
        return session.get_one(Patient, decision.patient_id)
    known = session.get(PatientIdentifierIndex, (project_id, "patient", hashed.patient))
    study = session.get(PatientIdentifierIndex, (project_id, "study", hashed.study)) if hashed.study else None
    if known is not None:
        trait = find_contradiction(known.traits, hashed.traits)
        if trait is not None:
            raise PatientMismatch(
                f"This file has the patient number of a known patient, but {_CONTRADICTIONS[trait]}. "
                "Say whether it is the same person; nothing was merged.",
                [known.patient_id],
            )
    if study is not None and (known is None or study.patient_id != known.patient_id):
        raise PatientMismatch(
            "The study that this file names came in as another patient's. Say whose it is; nothing was merged.",
            [study.patient_id, *([known.patient_id] if known is not None else [])],
        )
    if known is not None:
        patient = session.get_one(Patient, known.patient_id)
    else:
        patient = register_patient(session, app, actor, project_id, identifiers, profile)
    index_identifiers(session, project_id, patient.id, hashed)
    return patient


def find_owner(session: Session, keys: Keys, project_id: str, identifiers: PatientIdentifiers) -> str | None:
    """The id of the patient of a file, by a person's decision or by its patient number, if known."""
    hashed = hash_identifiers(keys, project_id, identifiers)
    for kind, key in (("said", hashed.combined_hash(keys, project_id)), ("patient", hashed.patient)):
        entry = session.get(PatientIdentifierIndex, (project_id, kind, key))
        if entry is not None:
            return entry.patient_id
    return None


def index_identifiers(session: Session, project_id: str, patient_id: str, hashed: HashedIdentifiers) -> None:
    """Add the identifiers of a file to the index of its patient."""
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
        index_identifiers(session, project_id, patient_id, hashed)
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
    birth_date = identifiers.birth_date
    year = int(birth_date[:4]) if retained and birth_date[:4].isdecimal() else None
    if year is not None and not records.OLDEST_BIRTH_YEAR <= year <= clock.now().year:
        year = None
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
