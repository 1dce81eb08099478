# SPDX-License-Identifier: Apache-2.0
"""Making patients, images that a classifier has read, and cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.classification import service as classification
from medhub.entrypoints.flow import failure_handlers, job_handlers
from medhub.foundation.app_context import AppContext
from medhub.foundation.jobs import Runner
from medhub.ingest.context import IngestSource
from medhub.ingest.ingest_file import IngestResult, ReceivedFile
from medhub.ingest.patient_claims.chosen_patient import choose_patient
from medhub.ingest.pipeline import ingest_file, ingest_files
from medhub.records import service as records
from medhub.records.identifier_index import ConfirmedDuplicate
from medhub.records.models import Image
from medhub.review.models import Case
from medhub.science.inference.classifier import ClassifierOutput
from tests.factories.accounts import People
from tests.factories.images import photograph

IDENTITY = {"name": "Siti binti Abdullah", "hospital_number": "H-100234", "birth_date": "1980-03-14"}
PATHWAY = "smear-review"
LABELS = ("basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet")


@dataclass
class FakeCard:
    """The parts of a model card that the server reads."""

    name: str = "blood-cells"
    version: str = "0"
    licence: str = "Apache-2.0"
    not_for: tuple[str, ...] = ("diagnosis",)

    def display_names(self) -> dict[str, str]:
        """Names of labels for people."""
        return {label: label for label in LABELS}


class ScriptedClassifier:
    """Says what the test wrote down, one reading after the other; it stands for a network, not for a decision."""

    digest = "c" * 64
    card = FakeCard()

    def __init__(self, confidences: list[float]) -> None:
        self.confidences = confidences
        self.read = 0

    def classify(self, image: NDArray[np.uint8]) -> ClassifierOutput:
        """The next reading."""
        confidence = self.confidences[self.read % len(self.confidences)]
        self.read += 1
        rest = (1 - confidence) / (len(LABELS) - 1)
        probabilities = {label: confidence if label == "neutrophil" else rest for label in LABELS}
        return ClassifierOutput(probabilities, 1.0, False, np.linspace(0, 1, 25, dtype=np.float32).reshape(5, 5), 1.0)


def use_classifier(monkeypatch: pytest.MonkeyPatch, *confidences: float) -> ScriptedClassifier:
    """Have images read by a classifier that is as sure as the test says."""
    scripted = ScriptedClassifier(list(confidences) or [0.97])
    monkeypatch.setattr(classification, "get_classifier", lambda *_: scripted)
    monkeypatch.setattr("medhub.reports.case_facts.get_classifier", lambda *_: scripted)
    return scripted


def run_jobs(app: AppContext) -> int:
    """Run every job that is ready."""
    return Runner(app.database, job_handlers(app), abandoned=failure_handlers(app)).run_pending()


def make_patient(app: AppContext, people: People, *, identity: bool = True) -> str:
    """Register a patient in the first project and return the id."""
    technologist = people.actor(app, Role.TECHNOLOGIST)
    with app.database.writing() as session:
        return records.add_patient(
            session,
            app.keys,
            technologist,
            project_id=people.project_id,
            sex="F",
            birth_year=1980,
            identity=IDENTITY if identity else None,
            duplicate=ConfirmedDuplicate("the same test data for several patients"),
        ).id


def upload(app: AppContext, actor: Actor, patient_id: str, *files: bytes) -> list[IngestResult]:
    """Bring files in for a patient."""
    with app.database.reading() as session:
        source = choose_patient(session, app, actor, patient_id, PATHWAY)
    return [ingest_file(app, actor, source, data) for data in files]


def ingest_all(app: AppContext, actor: Actor, source: IngestSource, files: Sequence[bytes]) -> list[IngestResult]:
    """Ingest files together."""
    return ingest_files(app, actor, source, [ReceivedFile.of(data) for data in files])


def make_case(
    app: AppContext, people: People, patient_id: str, images: int = 2, seed: int = 0
) -> tuple[str, list[str]]:
    """Bring in photographs, have them read, and return the case with its images."""
    technologist = people.actor(app, Role.TECHNOLOGIST)
    answers = upload(app, technologist, patient_id, *(photograph(seed + i) for i in range(images)))
    run_jobs(app)
    image_ids = [answer.image_id for answer in answers if answer.image_id is not None]
    with app.database.reading() as session:
        image = session.get_one(Image, image_ids[0])
        case = session.scalars(select(Case).where(Case.study_id == image.study_id, Case.superseded.is_(False))).one()
        return case.id, image_ids
