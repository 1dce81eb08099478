# SPDX-License-Identifier: Apache-2.0

"""Certificates of erasures: what went, who had learned from it, and that nothing is left."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from medhub.accounts.permissions import Role
from medhub.errors import NotAllowed, NotFound, Unavailable
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.ingest.models import Arrival
from medhub.records import erasure, patient_blobs
from medhub.records.models import Erasure, Image
from medhub.review import service as review
from medhub.training import datasets
from medhub.training.models import TrainingRun
from tests.factories.accounts import People
from tests.factories.cases import PATHWAY, make_case, make_patient, run_jobs, upload, use_classifier
from tests.factories.images import in_doubt

DIGEST = "d" * 64


@pytest.fixture(autouse=True)
def classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    use_classifier(monkeypatch)


def erase(app: AppContext, people: People, patient_id: str) -> Erasure:
    administrator = people.actor(app, Role.ADMINISTRATOR)
    with app.database.writing() as session:
        return erasure.erase_patient(session, app, administrator, patient_id)


def certificate(app: AppContext, people: People, erasure_id: str) -> Erasure:
    administrator = people.actor(app, Role.ADMINISTRATOR)
    with app.database.reading() as session:
        return erasure.get_erasure(session, administrator, erasure_id)


def signed_patient(app: AppContext, people: People) -> str:
    """A patient with a signed case of two images, and a file that waits in quarantine."""
    patient_id = make_patient(app, people)
    case_id, image_ids = make_case(app, people, patient_id)
    physician = people.actor(app, Role.PHYSICIAN)
    for image_id, label in zip(image_ids, ("neutrophil", "basophil"), strict=True):
        with app.database.writing() as session:
            review.give_verdict(session, app.settings, physician, image_id, label, "Looked at twice.")
    with app.database.writing() as session:
        review.sign_case(session, app.settings, physician, case_id, None)
    upload(app, people.actor(app, Role.TECHNOLOGIST), patient_id, in_doubt())
    run_jobs(app)
    return patient_id


def test_the_certificate_lists_what_went(app: AppContext, people: People) -> None:
    erased = erase(app, people, signed_patient(app, people))
    contents = erased.contents
    assert {name: contents[name] for name in ("keys", "identities", "studies", "images", "manifests")} == {
        "keys": 1,
        "identities": 1,
        "studies": 1,
        "images": 2,
        "manifests": 2,
    }
    assert (contents["predictions"], contents["evidence_maps"], contents["verdicts"], contents["cases"]) == (2, 2, 2, 1)
    assert (contents["reports"], contents["arrivals"], contents["quarantined_files"]) == (1, 3, 1)
    # Two of each image, an evidence map that is the same for both, the report twice, and the file that waits.
    assert contents["files"] == 8
    assert (contents["data_sets"], contents["classifiers"], contents["exports"]) == ([], [], 0)
    assert erased.completed_at is None
    run_jobs(app)
    assert certificate(app, people, erased.id).completed_at is not None
    assert list(app.blobs.digests()) == []


def test_the_certificate_names_the_classifiers_that_had_learned_from_the_person(
    app: AppContext, people: People
) -> None:
    patient_id = signed_patient(app, people)
    researcher = people.actor(app, Role.RESEARCHER)
    with app.database.writing() as session:
        dataset_id = datasets.make_from_verdicts(
            session, app, researcher, project_id=people.project_id, pathway=PATHWAY, name="smears"
        ).id
        session.add(
            TrainingRun(
                id="run",
                project_id=people.project_id,
                dataset_id=dataset_id,
                name="ours",
                recipe="quick",
                state="done",
                epochs={},
                classifier="ours",
                digest=DIGEST,
                created_at=clock.now(),
                created_by_id="x",
                created_by="X",
            )
        )
    contents = erase(app, people, patient_id).contents
    assert sum(row["images"] for row in contents["data_sets"]) == 2
    assert {row["name"] for row in contents["data_sets"]} == {"smears"}
    learned = sum(row["images"] for row in contents["data_sets"] if row["part"] != "test")
    assert contents["classifiers"] == [{"classifier": "ours", "digest": DIGEST, "learned_from_images": learned}]


def test_a_certificate_is_not_complete_while_something_is_left(app: AppContext, people: People) -> None:
    erased = erase(app, people, signed_patient(app, people))
    other = make_patient(app, people)
    upload(app, people.actor(app, Role.TECHNOLOGIST), other, in_doubt(3))
    with app.database.reading() as session:
        sealed = session.scalars(select(Arrival.sealed_bytes).where(Arrival.patient_id == other)).one()
    with pytest.raises(Unavailable, match="still exists"):
        erasure.finish_erasure(app, erased.id, other, [])
    assert certificate(app, people, erased.id).completed_at is None
    assert sealed is not None
    assert app.blobs.has(sealed)


def test_bytes_that_another_patient_has_too_stay(app: AppContext, people: People) -> None:
    patient_id = signed_patient(app, people)
    with app.database.reading() as session:
        blob = session.scalars(select(Image.blob).where(Image.patient_id == patient_id)).first()
    assert blob is not None
    other = make_patient(app, people)
    with app.database.writing() as session:
        patient_blobs.store_blob(session, app, app.blobs.get(blob), patient_id=other)
    erased = erase(app, people, patient_id)
    run_jobs(app)
    assert certificate(app, people, erased.id).completed_at is not None
    assert list(app.blobs.digests()) == [blob]


def test_only_administrators_of_the_project_read_certificates(app: AppContext, people: People) -> None:
    erased = erase(app, people, make_patient(app, people))
    administrator, physician = (people.actor(app, role) for role in (Role.ADMINISTRATOR, Role.PHYSICIAN))
    with app.database.reading() as session:
        with pytest.raises(NotAllowed):
            erasure.get_erasure(session, physician, erased.id)
        with pytest.raises(NotFound):
            erasure.get_erasure(session, administrator, "nothing")
        certificates, total = erasure.list_erasures(
            session,
            administrator,
            project_id=None,
            query=erased.patient_code[:4].lower(),
            offset=0,
            limit=10,
        )
    assert [row.id for row in certificates] == [erased.id]
    assert total == 1
