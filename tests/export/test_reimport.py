# SPDX-License-Identifier: Apache-2.0
"""What left comes in again somewhere else, and is the same there."""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter

import numpy as np
from sqlalchemy import select

from medhub.accounts.actor import COMMAND_LINE, Actor
from medhub.export import service
from medhub.foundation.app_context import AppContext
from medhub.ingest.patient_claims.chosen_patient import choose_patient
from medhub.ingest.pipeline import ingest_file
from medhub.records import isolated_calls
from medhub.records import service as records
from medhub.records.models import Image, Patient, Study
from tests.export.conftest import Known, on_sqlite
from tests.factories.accounts import People
from tests.factories.colors import COLORS
from tests.factories.exports import order


def records_of(app: AppContext, project_id: str) -> Counter[tuple[object, ...]]:
    """Each image by what is known of it and of its patient, and by how many lie in its study.

    What came in as a photograph comes in again as DICOM, and UIDs are replaced by each project anew.
    """
    with app.database.reading() as session:
        rows = session.execute(
            select(Image, Patient)
            .join(Study, Study.id == Image.study_id)
            .join(Patient, Patient.id == Image.patient_id)
            .where(Image.project_id == project_id)
        ).all()
    beside = Counter(image.study_id for image, _ in rows)
    return Counter(
        (
            (patient.sex, patient.birth_year),
            (image.modality, image.sop_class_uid, image.transfer_syntax_uid),
            (image.width, image.height, image.frames, image.number),
            np.asarray(isolated_calls.read_stored_frame(app, image.blob)).tobytes(),
            beside[image.study_id],
        )
        for image, patient in rows
    )


@on_sqlite
def test_an_export_that_comes_in_again_gives_equal_records(
    app: AppContext, people: People, researcher: Actor, known: Known
) -> None:
    export_id = order(app, researcher, people.project_id)
    with app.database.reading() as session:
        _, path = service.get_export_file(session, app.settings, researcher, export_id)
    with zipfile.ZipFile(path) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("metadata.csv").decode())))
        files = {row["file"]: archive.read(row["file"]) for row in rows}
    for code in sorted({row["patient"] for row in rows}):
        of_patient = [row for row in rows if row["patient"] == code]
        with app.database.writing() as session:
            patient_id = records.add_patient(
                session,
                app.keys,
                COMMAND_LINE,
                project_id=people.other_project_id,
                sex=of_patient[0]["sex"],
                birth_year=int(of_patient[0]["birth_year"]),
            ).id
        with app.database.reading() as session:
            source = choose_patient(session, app, COMMAND_LINE, patient_id, COLORS)
        for row in of_patient:
            answer = ingest_file(app, COMMAND_LINE, source, files[row["file"]])
            assert answer.outcome == "accepted", answer.reason
    assert records_of(app, people.other_project_id) == records_of(app, people.project_id)
