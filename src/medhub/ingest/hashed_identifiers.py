# SPDX-License-Identifier: Apache-2.0
"""Keyed hashes of the identifiers in a file, and whether two sets of them contradict each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medhub.foundation.keys import Keys
from medhub.ingest.refusals import ArrivalRefused
from medhub.records import vault
from medhub.records.identifier_index import normalize_date
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
