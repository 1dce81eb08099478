# SPDX-License-Identifier: Apache-2.0
"""A patient-claim source is one class and one entry of the registry."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import select

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.foundation.app_context import AppContext
from medhub.ingest.context import IngestSource, build_context
from medhub.ingest.ingest_file import IngestFile, ReceivedFile
from medhub.ingest.models import Arrival
from medhub.ingest.patient_claims import CLAIM_SOURCES
from medhub.ingest.patient_claims.chosen_patient import choose_patient
from medhub.ingest.patient_claims.claim_source import PatientClaimSource
from medhub.ingest.pipeline import ingest_files
from medhub.ingest.refusals import ArrivalRefused
from medhub.records.models import Image, Patient
from tests.factories.accounts import People
from tests.factories.cases import make_patient
from tests.factories.cts import ct
from tests.factories.images import photograph


class FileNamePattern:
    """The file name starts with the code of the patient, for example ``P-0001_left.dcm``."""

    name = "file-name-pattern"

    def identify(self, app: AppContext, actor: Actor, source: IngestSource, files: Sequence[IngestFile]) -> None:
        with app.database.reading() as session:
            for file in files:
                code = file.name.split("_")[0]
                patient = session.scalar(
                    select(Patient).where(Patient.project_id == source.project_id, Patient.code == code)
                )
                if patient is None:
                    file.refusal = ArrivalRefused("No patient has the code in the file name.", reason="no-patient")
                else:
                    file.context = build_context(session, app, patient, None)


def test_every_source_is_registered_under_its_name() -> None:
    assert set(CLAIM_SOURCES) == {"chosen-patient", "file-identifiers", "assigned-patient"}
    assert all(source.name == name for name, source in CLAIM_SOURCES.items())


def test_a_registered_source_identifies_the_patients_of_a_batch(
    app: AppContext, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern: PatientClaimSource = FileNamePattern()
    monkeypatch.setitem(CLAIM_SOURCES, pattern.name, pattern)
    patient_id = make_patient(app, people)
    with app.database.reading() as session:
        code = session.get_one(Patient, patient_id).code
    files = [
        ReceivedFile.of(photograph(1), f"{code}_left.jpg"),
        ReceivedFile.of(ct(), f"{code}_ct.dcm"),
        ReceivedFile.of(photograph(2), "UNKNOWN_right.jpg"),
        ReceivedFile(None, 10**12, f"{code}_large.dcm"),
    ]
    source = IngestSource(people.project_id, "folder", claim=pattern.name)
    results = ingest_files(app, people.actor(app, Role.TECHNOLOGIST), source, files)
    assert [result.outcome for result in results] == ["accepted", "accepted", "quarantined", "quarantined"]
    assert [result.code for result in results] == [None, None, "no-patient", "too-many-bytes"]
    with app.database.reading() as session:
        assert {image.patient_id for image in session.scalars(select(Image))} == {patient_id}
        quarantined = session.scalars(select(Arrival).where(Arrival.outcome == "quarantined"))
        assert {(arrival.patient_id, arrival.code) for arrival in quarantined} == {
            (None, "no-patient"),
            (patient_id, "too-many-bytes"),
        }


def test_a_batch_for_a_chosen_patient_is_stored_in_its_order_and_one_bad_file_stops_no_other(
    app: AppContext, people: People
) -> None:
    technologist = people.actor(app, Role.TECHNOLOGIST)
    patient_id = make_patient(app, people)
    with app.database.reading() as session:
        source = choose_patient(session, app, technologist, patient_id, "smear-review")
    contents = [photograph(1), b"a letter", photograph(2), photograph(1), photograph(3)]
    results = ingest_files(app, technologist, source, [ReceivedFile.of(data) for data in contents])
    outcomes = [result.outcome for result in results]
    assert outcomes == ["accepted", "quarantined", "accepted", "duplicate", "accepted"]
    with app.database.reading() as session:
        numbers = {image.id: image.number for image in session.scalars(select(Image))}
    assert [numbers[str(results[index].image_id)] for index in (0, 2, 4)] == [1, 2, 3]
    assert results[3].image_id == results[0].image_id
