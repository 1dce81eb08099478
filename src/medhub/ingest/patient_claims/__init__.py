# SPDX-License-Identifier: Apache-2.0
"""How received files name their patient: one module for each source of patient claims, registered here.

To add one, write a class that follows ``claim_source.PatientClaimSource``, and add an object to the registry.
"""

from __future__ import annotations

from medhub.ingest.patient_claims.assigned_patient import AssignedPatient
from medhub.ingest.patient_claims.chosen_patient import ChosenPatient
from medhub.ingest.patient_claims.claim_source import PatientClaimSource
from medhub.ingest.patient_claims.file_identifiers import FileIdentifiers

_SOURCES: tuple[PatientClaimSource, ...] = (
    ChosenPatient(),
    FileIdentifiers(),
    AssignedPatient(),
)

CLAIM_SOURCES: dict[str, PatientClaimSource] = {source.name: source for source in _SOURCES}
"""The patient-claim sources by name."""
