# SPDX-License-Identifier: Apache-2.0
"""Whose a file is that names its patient itself: known by keyed hashes, and never merged where it says otherwise.

A project's files find their patient by the issuer and number that they carry; without a number, by their study. What
else they say of the person must not contradict what earlier files said: else a person decides.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.foundation.keys import Keys
from medhub.ingest.context import ArrivalRefused
from medhub.ingest.models import PatientIdentifierIndex, Route
from medhub.ingest.profiles import ProjectProfileChoice
from medhub.records import service as records
from medhub.records import vault
from medhub.records.models import Patient
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers

Traits = dict[str, list[str]]


@dataclass(frozen=True)
class IngestSource:
    """By which way files come into a project that name their patients themselves."""

    project_id: str
    route: Route
    peer: str | None = None
    pathway: str | None = None  # where the sender chose one; otherwise the project's settings say


class NotThisPatient(ArrivalRefused):
    """What a file says of its patient does not fit what is known; a person decides whose it is."""

    code = "conflicting-patient"

    def __init__(self, message: str, candidates: Sequence[str]) -> None:
        """Keep for whom it may be."""
        super().__init__(message, reason="conflicting-patient")
        self.candidates = tuple(dict.fromkeys(candidates))


@dataclass(frozen=True)
class PatientClaim:
    """Keyed hashes of what a file says of its patient and study."""

    patient: str
    study: str
    traits: Traits

    def all_of_it(self, keys: Keys, project_id: str) -> str:
        """A hash of all that is said, under which a person's decision is remembered."""
        text = json.dumps([self.patient, self.study, self.traits], sort_keys=True)
        return keys.fingerprint("sources", f"{project_id} said {text}".encode())


def named_by(keys: Keys, project_id: str, said: PatientIdentifiers) -> PatientClaim:
    """Hash what a file says; raises ``ArrivalRefused`` where it says too little."""
    if not said.patient_id and not said.study_uid:
        raise ArrivalRefused(
            "This file names neither its patient nor its study. Choose the patient to whom it belongs.",
            reason="no-patient",
        )

    def hashed(kind: str, text: str) -> str:
        return keys.fingerprint("sources", f"{project_id} {kind} {text}".encode())

    number = f"{vault.fold(said.issuer)} {said.patient_id}" if said.patient_id else f" study {said.study_uid}"
    traits = {
        "name": [hashed("name", word) for word in sorted(set(vault.fold(said.name).split()))],
        "birth_date": [hashed("birth_date", said.birth_date)] if said.birth_date else [],
        "sex": [hashed("sex", said.sex.upper())] if said.sex.upper() in {"F", "M", "O"} else [],
    }
    return PatientClaim(
        hashed("patient", number),
        hashed("study", said.study_uid) if said.study_uid else "",
        {name: values for name, values in traits.items() if values},
    )


def contradicts(known: Mapping[str, Sequence[str]], said: Mapping[str, Sequence[str]]) -> str | None:
    """Which trait a file says otherwise; a name may be said more or less fully."""
    for name, values in said.items():
        before = set(known.get(name, ()))
        if before and not (before <= set(values) or set(values) <= before):
            return name
    return None


_TRAITS = {"name": "another name", "birth_date": "another birth date", "sex": "another sex"}


def wait_for_all(session: Session, keys: Keys, project_id: str, several: Iterable[PatientIdentifiers]) -> None:
    """Wait for the turn of all who are named, in one order for everybody: two that wait crosswise would never end."""
    named = set()
    for said in several:
        with suppress(ArrivalRefused):
            named.add(named_by(keys, project_id, said).patient)
    for one in sorted(named):
        serialize_writers(session, f"source {one}")


def find_patient(
    session: Session,
    app: AppContext,
    actor: Actor,
    door: IngestSource,
    said: PatientIdentifiers,
    chosen: ProjectProfileChoice,
) -> Patient:
    """The patient of a file, registered if it is the first of that patient; what it says is remembered.

    Raises ``NotThisPatient`` where it contradicts what is known, and ``ArrivalRefused`` where it says too little.
    """
    named = named_by(app.keys, door.project_id, said)
    serialize_writers(session, f"source {named.patient}")
    decided = session.get(PatientIdentifierIndex, (door.project_id, "said", named.all_of_it(app.keys, door.project_id)))
    if decided is not None:
        return session.get_one(Patient, decided.patient_id)
    source = session.get(PatientIdentifierIndex, (door.project_id, "patient", named.patient))
    study = session.get(PatientIdentifierIndex, (door.project_id, "study", named.study)) if named.study else None
    if source is not None:
        wrong = contradicts(source.traits, named.traits)
        if wrong is not None:
            raise NotThisPatient(
                f"This file has the patient number of a known patient, but {_TRAITS[wrong]}. "
                "Say whether it is the same person; nothing was merged.",
                [source.patient_id],
            )
    if study is not None and (source is None or study.patient_id != source.patient_id):
        raise NotThisPatient(
            "The study that this file names came in as another patient's. Say whose it is; nothing was merged.",
            [study.patient_id, *([source.patient_id] if source is not None else [])],
        )
    if source is not None:
        patient = session.get_one(Patient, source.patient_id)
    else:
        patient = register(session, app, actor, door, said, chosen)
    remember(session, door.project_id, patient.id, named)
    return patient


def owner_of(session: Session, keys: Keys, project_id: str, said: PatientIdentifiers) -> str | None:
    """Whose a file is by its number or by a person's word, where that is known; a patient's id."""
    named = named_by(keys, project_id, said)
    for kind, key in (("said", named.all_of_it(keys, project_id)), ("patient", named.patient)):
        source = session.get(PatientIdentifierIndex, (project_id, kind, key))
        if source is not None:
            return source.patient_id
    return None


def remember(session: Session, project_id: str, patient_id: str, named: PatientClaim) -> None:
    """Remember under a patient what a file says."""
    for kind, key in (("patient", named.patient), ("study", named.study)):
        if not key:
            continue
        traits = named.traits if kind == "patient" else {}
        source = session.get(PatientIdentifierIndex, (project_id, kind, key))
        if source is None:
            session.add(
                PatientIdentifierIndex(project_id=project_id, kind=kind, key=key, patient_id=patient_id, traits=traits)
            )
            continue
        fuller = {name: sorted({*source.traits.get(name, ()), *values}) for name, values in traits.items()}
        if source.patient_id != patient_id or {**source.traits, **fuller} != source.traits:
            source.patient_id, source.traits = patient_id, {**source.traits, **fuller}
    session.flush()


def decide(session: Session, keys: Keys, project_id: str, patient_id: str, said: PatientIdentifiers) -> None:
    """Remember whose a file is by a person's word: files that say just the same follow it, and others do not."""
    named = named_by(keys, project_id, said)
    key = named.all_of_it(keys, project_id)
    before = session.get(PatientIdentifierIndex, (project_id, "said", key))
    if before is None:
        session.add(
            PatientIdentifierIndex(project_id=project_id, kind="said", key=key, patient_id=patient_id, traits={})
        )
    else:
        before.patient_id = patient_id
    known = session.get(PatientIdentifierIndex, (project_id, "patient", named.patient))
    study = session.get(PatientIdentifierIndex, (project_id, "study", named.study)) if named.study else None
    if known is None and study is None:  # nothing spoke against it but that it said too little
        remember(session, project_id, patient_id, named)
    session.flush()


def decided(session: Session, keys: Keys, project_id: str, said: PatientIdentifiers) -> str | None:
    """Whose a file is by a person's word about one that said just the same; a patient's id."""
    if not said.patient_id and not said.study_uid:
        return None
    source = session.get(
        PatientIdentifierIndex, (project_id, "said", named_by(keys, project_id, said).all_of_it(keys, project_id))
    )
    return source.patient_id if source is not None else None


def register(
    session: Session,
    app: AppContext,
    actor: Actor,
    door: IngestSource,
    said: PatientIdentifiers,
    chosen: ProjectProfileChoice,
) -> Patient:
    """Register the patient of a file, with as much of what it says as the profile keeps."""
    keeps = "characteristics" in chosen.profile.options
    sex = said.sex.upper() if keeps and said.sex.upper() in {"F", "M", "O"} else "U"
    year = int(said.birth_date[:4]) if keeps and said.birth_date[:4].isdecimal() else None
    if year is not None and not records.OLDEST_BIRTH_YEAR <= year <= clock.now().year:
        year = None
    return records.create_patient(
        session,
        app.keys,
        project_id=door.project_id,
        sex=sex,
        birth_year=year,
        fields=None,
        identity=None,
        by=actor,
    )
