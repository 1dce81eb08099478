# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update

from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.classification import service
from medhub.classification.models import Prediction
from medhub.classification.service import EvidenceNotFound, evidence_of, label_counts, latest, predictions_of
from medhub.classification.tasks import classify
from medhub.errors import NotFound
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import DecoderFailed
from medhub.foundation.jobs import MAX_ATTEMPTS, MAX_ATTEMPTS_REPORTED, Job
from medhub.records import isolated_calls
from medhub.records.models import Image, PatientBlob
from medhub.records.studies import delete_image
from medhub.review.models import Case
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.inference.card import ClassifierNotFound
from tests.factories.accounts import People
from tests.factories.cases import LABELS, make_patient, run_jobs, upload, use_classifier
from tests.factories.images import photograph
from tests.factories.threads import together
from tests.factories.time import MovableClock


@pytest.fixture
def image_id(app: AppContext, people: People) -> str:
    technologist = people.actor(app, Role.TECHNOLOGIST)
    (answer,) = upload(app, technologist, make_patient(app, people), photograph(1))
    return str(answer.image_id)


def predictions(app: AppContext, image_id: str) -> list[Prediction]:
    with app.database.reading() as session:
        return predictions_of(session, image_id)


def state(app: AppContext, image_id: str) -> str:
    with app.database.reading() as session:
        return session.get_one(Image, image_id).state


def test_what_a_classifier_said_is_kept_whole(app: AppContext, image_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_classifier(monkeypatch, 0.97)
    run_jobs(app)
    (prediction,) = predictions(app, image_id)
    assert (prediction.classifier, prediction.version, prediction.digest) == ("blood-cells", "0", "c" * 64)
    assert (prediction.label, prediction.likeliest, prediction.uncertain, prediction.reason) == (
        "neutrophil",
        "neutrophil",
        False,
        None,
    )
    assert (prediction.confidence, prediction.threshold, prediction.milliseconds) == (0.97, 0.75, 1.0)
    assert set(prediction.probabilities) == set(LABELS)
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    assert state(app, image_id) == "read"


@pytest.mark.parametrize(("confidence", "label"), [(0.749, "Uncertain"), (0.75, "neutrophil"), (0.2, "Uncertain")])
def test_below_the_pathways_threshold_it_abstains_with_the_reason(
    app: AppContext, image_id: str, confidence: float, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch, confidence)
    run_jobs(app)
    (prediction,) = predictions(app, image_id)
    assert (prediction.label, prediction.uncertain, prediction.likeliest) == (label, label == "Uncertain", "neutrophil")
    assert prediction.confidence == pytest.approx(confidence)
    assert bool(prediction.reason) == prediction.uncertain


def test_reading_twice_keeps_it_once(app: AppContext, image_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_classifier(monkeypatch, 0.97, 0.5)
    classify(app, image_id)
    classify(app, image_id)
    (prediction,) = predictions(app, image_id)
    assert prediction.confidence == 0.97
    with app.database.reading() as session:
        created = session.scalars(select(AuditEntry).where(AuditEntry.action == "prediction.make")).all()
    assert [entry.object_id for entry in created] == [image_id]


def test_reading_at_the_same_moment_keeps_it_once(
    app: AppContext, image_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    together(*[lambda: classify(app, image_id)] * 4)
    assert len(predictions(app, image_id)) == 1
    assert state(app, image_id) == "read"


def test_another_classifier_says_anew_and_its_word_is_the_latest(
    app: AppContext, image_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch, 0.97)
    classify(app, image_id)
    newer = use_classifier(monkeypatch, 0.5)
    monkeypatch.setattr(newer, "digest", "d" * 64, raising=False)
    classify(app, image_id)
    assert [prediction.digest[0] for prediction in predictions(app, image_id)] == ["d", "c"]
    with app.database.reading() as session:
        assert latest(session, [image_id, "no such"])[image_id].digest == "d" * 64
        assert latest(session, []) == {}


def test_an_image_that_is_gone_is_left_alone(
    app: AppContext, people: People, image_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    classify(app, "no such image")
    administrator = people.actor(app, Role.ADMINISTRATOR)
    frame = isolated_calls.read_stored_frame

    def deleted_meanwhile(*given: Any) -> Any:
        picture = frame(*given)
        with app.database.writing() as session:
            delete_image(session, administrator, image_id)
        return picture

    monkeypatch.setattr(isolated_calls, "read_stored_frame", deleted_meanwhile)
    classify(app, image_id)
    run_jobs(app)
    with app.database.reading() as session:
        assert session.scalars(select(Prediction)).all() == []
        assert session.scalars(select(PatientBlob)).all() == []
    assert list(app.blobs.digests()) == []


def test_an_image_that_cannot_be_decoded_is_given_up_at_once(
    app: AppContext, image_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)

    def refuse(*_: object) -> None:
        raise Unacceptable("The file is damaged.", reason="damaged")

    monkeypatch.setattr(isolated_calls, "read_stored_frame", refuse)
    run_jobs(app)
    assert state(app, image_id) == "unreadable"
    with app.database.reading() as session:
        (case,) = session.scalars(select(Case))  # a person decides without a classifier
        jobs = session.scalars(select(Job)).all()
    assert case.stage == "review"
    assert {job.state for job in jobs} == {"done"}


@pytest.mark.parametrize(
    "failure",
    [
        DecoderFailed("The program that reads files ended while it read this one.", how="crash"),
        ClassifierNotFound("There is no classifier “blood-cells”. There are: none."),
        RuntimeError("out of memory"),
    ],
    ids=["decoder", "no classifier", "fault"],
)
def test_what_may_pass_is_tried_again_and_then_given_up(
    app: AppContext, image_id: str, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    movable_clock = MovableClock(monkeypatch)

    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(service, "get_classifier", fail)
    attempts = MAX_ATTEMPTS if isinstance(failure, DecoderFailed) else MAX_ATTEMPTS_REPORTED
    for _ in range(attempts):
        assert state(app, image_id) == "waiting"
        run_jobs(app)
        movable_clock.advance(minutes=20)
    assert state(app, image_id) == "unreadable"
    run_jobs(app)
    with app.database.reading() as session:
        assert len(session.scalars(select(Case)).all()) == 1
        (given_up,) = session.scalars(select(AuditEntry).where(AuditEntry.action == "prediction.give-up"))
    assert given_up.object_id == image_id


def test_a_passing_failure_leaves_no_trace(app: AppContext, image_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    movable_clock = MovableClock(monkeypatch)
    classifier = use_classifier(monkeypatch)
    calls: list[int] = []

    def once(*_: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("too many open files")
        return classifier

    monkeypatch.setattr(service, "get_classifier", once)
    run_jobs(app)
    movable_clock.advance(minutes=1)
    run_jobs(app)
    assert state(app, image_id) == "read"
    assert len(predictions(app, image_id)) == 1


def test_giving_up_does_not_undo_a_reading(app: AppContext, image_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_classifier(monkeypatch)
    classify(app, image_id)
    service.give_up(app, image_id)
    assert state(app, image_id) == "read"
    service.give_up(app, "no such image")


def test_the_evidence_map_comes_back_as_it_was(
    app: AppContext, people: People, image_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    physician = people.actor(app, Role.PHYSICIAN)
    with pytest.raises(EvidenceNotFound, match="no classifier"), app.database.reading() as session:
        evidence_of(session, app, physician, image_id)
    use_classifier(monkeypatch)
    classify(app, image_id)
    with app.database.reading() as session:
        image, evidence, digest = evidence_of(session, app, physician, image_id)
    assert image.id == image_id
    assert app.blobs.has(digest)
    prediction = np.linspace(0, 1, 25, dtype=np.float32).reshape(5, 5)
    assert np.abs(evidence - prediction).max() <= 0.5 / 255 + 1e-6
    outsider = people.outsider(app)
    with pytest.raises(NotFound), app.database.reading() as session:
        evidence_of(session, app, outsider, image_id)


def test_labels_are_counted_for_the_projects_that_are_asked_for(
    app: AppContext, people: People, image_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch, 0.9, 0.5, 0.9)
    technologist = people.actor(app, Role.TECHNOLOGIST)
    upload(app, technologist, make_patient(app, people), photograph(2), photograph(3))
    run_jobs(app)
    with app.database.reading() as session:
        assert label_counts(session, [people.project_id]) == [("neutrophil", 2), ("Uncertain", 1)]
        assert label_counts(session, [people.other_project_id]) == []


def test_a_reading_that_an_earlier_process_began_is_made_by_the_next(
    app: AppContext, image_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    with app.database.writing() as session:  # as the process left it that died
        session.execute(
            update(Job).values(
                state="running", owner="dead", attempts=1, leased_until=clock.now() - timedelta(seconds=1)
            )
        )
    assert run_jobs(app) >= 1
    assert state(app, image_id) == "read"
