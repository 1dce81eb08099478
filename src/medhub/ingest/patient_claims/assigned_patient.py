# SPDX-License-Identifier: Apache-2.0
"""A quarantined file whose arrival already has a patient: by its upload, or because a person assigned it."""

from __future__ import annotations

from collections.abc import Sequence

from medhub.accounts.actor import Actor
from medhub.foundation.app_context import AppContext
from medhub.ingest.context import IngestSource, build_context
from medhub.ingest.ingest_file import IngestFile
from medhub.ingest.models import Arrival
from medhub.ingest.refusals import ArrivalRefused
from medhub.records.models import Patient
from medhub.records.pathway import get_pathway


class AssignedPatient:
    """Files that leave quarantine; the arrival row names the patient and the pathway."""

    name = "assigned-patient"

    def identify(self, app: AppContext, actor: Actor, source: IngestSource, files: Sequence[IngestFile]) -> None:
        """Read patient and pathway from the arrivals."""
        with app.database.reading() as session:
            for file in files:
                arrival = session.get(Arrival, file.release.arrival_id) if file.release is not None else None
                patient = session.get(Patient, arrival.patient_id) if arrival and arrival.patient_id else None
                if patient is None:
                    file.refusal = ArrivalRefused("This file has no patient. Assign one first.", reason="no-patient")
                    continue
                pathway = get_pathway(app.settings, source.pathway) if source.pathway else None
                file.context = build_context(session, app, patient, pathway)


def source_of(arrival: Arrival) -> IngestSource:
    """The source of a file that leaves quarantine."""
    return IngestSource(arrival.project_id, arrival.route, arrival.peer, arrival.pathway, claim=AssignedPatient.name)
