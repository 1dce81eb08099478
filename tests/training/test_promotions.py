# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from sqlalchemy import func, select

from medhub.accounts.actor import Actor
from medhub.accounts.independence import SecondPersonNeeded
from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.classification import appointments
from medhub.classification import service as classification
from medhub.classification.appointments import (
    IN_USE,
    SHADOW,
    AlreadyAppointed,
    LabelsDiffer,
    NothingBefore,
    appoint,
    current,
    end_shadow,
    roll_back,
)
from medhub.classification.models import Prediction, ShadowPrediction
from medhub.classification.registry import get_classifier
from medhub.errors import Conflict, Invalid
from medhub.foundation.app_context import AppContext
from medhub.foundation.jobs import Job
from medhub.records.models import Image
from medhub.records.pathway import Pathway, get_pathway
from medhub.review import queries
from medhub.science.inference.card import ClassifierBroken, ClassifierNotFound
from medhub.training import datasets, live_metrics, promotions, tasks
from medhub.training.drift import FEWEST
from medhub.training.models import TrainingRun
from medhub.training.promotion_criteria import PromotionCriteria
from tests.factories.accounts import People
from tests.factories.cases import make_patient, run_jobs
from tests.factories.colors import COLORS, bring_in, make_classifier, picture, sign_case
from tests.training.conftest import Trainer
from tests.training.test_runs import run_of, start

GENEROUS = PromotionCriteria(margin=0.02, ece=0.9, abstention=0.5, images=3)


@pytest.fixture
def pathway(app: AppContext) -> Pathway:
    return get_pathway(app.settings, COLORS)


@pytest.fixture
def second(app: AppContext) -> str:
    """The digest of another classifier that reads colors just so."""
    return make_classifier(app.settings.data / "classifiers", "second")


@pytest.fixture
def unsure(app: AppContext) -> str:
    """The digest of a classifier that is never sure enough."""
    return make_classifier(app.settings.data / "classifiers", "unsure", temperature="100.0")


def project_of(actor: Actor) -> str:
    (project_id,) = actor.roles
    return project_id


def in_use(app: AppContext, people: People, pathway: Pathway) -> str:
    with app.database.reading() as session:
        return appointments.digest_in_use(session, app.settings, people.project_id, pathway)


def put(app: AppContext, actor: Actor, pathway: Pathway, digest: str, part: appointments.Part) -> None:
    with app.database.writing() as session:
        appoint(session, actor, app.settings, project_of(actor), pathway, digest, part)


def shadow(app: AppContext, actor: Actor, pathway: Pathway, digest: str) -> None:
    with app.database.writing() as session:
        promotions.start_shadow(session, app, actor, project_of(actor), pathway, digest)
    run_jobs(app)


def fix(app: AppContext, actor: Actor, pathway: Pathway, limits: PromotionCriteria = GENEROUS) -> None:
    with app.database.writing() as session:
        promotions.fix_limits(session, actor, project_of(actor), pathway, limits)


def ask(app: AppContext, actor: Actor, digest: str, margin: float | None = None) -> str:
    with app.database.writing() as session:
        return promotions.request_promotion(
            session, app, actor, project_id=project_of(actor), digest=digest, pathway_name=COLORS, margin=margin
        ).id


def digests_of(app: AppContext, image_id: str) -> list[str]:
    with app.database.reading() as session:
        return [item.digest for item in classification.predictions_of(session, image_id)]


# Who reads.


def test_the_appointed_classifier_reads_what_comes_in_and_old_predictions_stay(
    app: AppContext, people: People, administrator: Actor, pathway: Pathway, second: str
) -> None:
    own = in_use(app, people, pathway)
    patient_id = make_patient(app, people, identity=False)
    (before,) = bring_in(app, people, patient_id, picture("red", 1))
    put(app, administrator, pathway, second, IN_USE)
    (after,) = bring_in(app, people, patient_id, picture("red", 2))
    assert digests_of(app, before) == [own]
    assert digests_of(app, after) == [second]
    with app.database.reading() as session:
        assert classification.predictions_of(session, after)[0].classifier == "second"


def test_a_shadow_reads_too_and_nobody_who_reads_images_sees_it(
    app: AppContext, people: People, researcher: Actor, pathway: Pathway, second: str
) -> None:
    shadow(app, researcher, pathway, second)
    image_ids = bring_in(app, people, make_patient(app, people), picture("red", 1), picture("blue", 2))
    own = in_use(app, people, pathway)
    with app.database.reading() as session:
        answers = session.scalars(select(ShadowPrediction)).all()
        assert {(item.image_id, item.digest) for item in answers} == {(image_id, second) for image_id in image_ids}
        assert {item.label for item in answers} == {"red", "blue"}
        physician = people.actor(app, Role.PHYSICIAN)
        rows, _ = queries.list_images(session, physician, queries.ImageFilter(), sort=None, offset=0, limit=10)
        assert {facts.prediction.digest for facts in rows if facts.prediction is not None} == {own}
        assert session.scalar(select(func.count()).select_from(Prediction)) == 2
        acts = session.scalars(select(AuditEntry).where(AuditEntry.action == "prediction.shadow")).all()
        assert {entry.object_id for entry in acts} == set(image_ids)
        assert all(entry.patient_id is not None for entry in acts)


def test_a_shadow_that_fails_leaves_what_is_shown_alone(
    app: AppContext, people: People, researcher: Actor, pathway: Pathway, second: str
) -> None:
    shadow(app, researcher, pathway, second)
    (app.settings.data / "classifiers" / "second" / "model.onnx").write_bytes(b"broken")
    (image_id,) = bring_in(app, people, make_patient(app, people), picture("red", 1))
    assert digests_of(app, image_id) == [in_use(app, people, pathway)]
    with app.database.reading() as session:
        assert session.scalars(select(ShadowPrediction)).all() == []
        job = session.scalars(select(Job).where(Job.kind == "classify-in-shadow")).one()
        assert (job.state, job.error) == ("waiting", ClassifierNotFound.code)


def test_a_shadow_first_reads_what_was_signed_lately(
    app: AppContext, people: People, researcher: Actor, pathway: Pathway, second: str
) -> None:
    signed = sign_case(app, people, ["red", "green", "blue"], 1)
    (unsigned,) = bring_in(app, people, signed.patient_id, picture("red", 99))
    shadow(app, researcher, pathway, second)
    with app.database.reading() as session:
        read = set(session.scalars(select(ShadowPrediction.image_id)))
    assert read == set(signed.image_ids)
    assert unsigned not in read
    with app.database.writing() as session:
        end_shadow(session, researcher, people.project_id, pathway)
    bring_in(app, people, signed.patient_id, picture("red", 98))
    with app.database.reading() as session:
        assert set(session.scalars(select(ShadowPrediction.image_id))) == read


def test_a_classifier_whose_folder_was_changed_does_not_read(
    app: AppContext, people: People, administrator: Actor, pathway: Pathway, second: str
) -> None:
    put(app, administrator, pathway, second, IN_USE)
    card = app.settings.data / "classifiers" / "second" / "card.toml"
    card.write_text(card.read_text().replace("Colors", "Colours"))
    with pytest.raises(ClassifierNotFound, match="not installed"):
        get_classifier(app.settings, "second", second)


def test_labels_must_be_those_of_the_pathway(
    app: AppContext, administrator: Actor, pathway: Pathway, tmp_path: Path
) -> None:
    from tests.science.inference import tiny

    folder = app.settings.data / "classifiers"
    data = tiny.model(labels=("red", "green", "violet"))
    tiny.folder(folder / "other", data, name='"other"', labels='["red", "green", "violet"]')
    digest = classifier_digest(folder / "other")
    for part in (IN_USE, SHADOW):
        with pytest.raises(LabelsDiffer, match="violet"):
            put(app, administrator, pathway, digest, part)
    with pytest.raises(LabelsDiffer, match="cannot say blue"):
        appointments.check_labels(pathway, ("red", "green"))
    appointments.check_labels(pathway, ("red", "green", "blue", "gray"))


def classifier_digest(folder: Path) -> str:
    from medhub.science.inference.classifier import digest

    return digest(folder)


def test_the_one_in_use_is_no_shadow_and_a_shadow_in_use_is_one_no_more(
    app: AppContext, people: People, administrator: Actor, pathway: Pathway, second: str
) -> None:
    with pytest.raises(AlreadyAppointed):
        put(app, administrator, pathway, in_use(app, people, pathway), SHADOW)
    put(app, administrator, pathway, second, SHADOW)
    put(app, administrator, pathway, second, IN_USE)
    with app.database.reading() as session:
        assert current(session, people.project_id, COLORS, SHADOW) is None
    with pytest.raises(ClassifierNotFound):
        put(app, administrator, pathway, "0" * 64, IN_USE)


def test_a_classifier_that_is_broken_hides_no_other(app: AppContext, second: str) -> None:
    broken = app.settings.data / "classifiers" / "broken"
    broken.mkdir()
    (broken / "card.toml").write_text("name = 1")
    (broken / "model.onnx").write_bytes(b"")
    assert get_classifier(app.settings, "second", second).digest == second
    with pytest.raises(ClassifierBroken):
        get_classifier(app.settings, "broken")


def test_each_roll_back_goes_one_further_back(
    app: AppContext, people: People, administrator: Actor, pathway: Pathway, second: str, unsure: str
) -> None:
    own = in_use(app, people, pathway)
    for digest in (second, unsure):
        put(app, administrator, pathway, digest, IN_USE)
    rows = []
    for _ in range(2):
        with app.database.writing() as session:
            rows.append(roll_back(session, administrator, app.settings, people.project_id, pathway).digest)
    assert rows == [second, own]
    assert in_use(app, people, pathway) == own
    with pytest.raises(NothingBefore), app.database.writing() as session:
        roll_back(session, administrator, app.settings, people.project_id, pathway)
    with app.database.reading() as session:
        past = appointments.history(session, people.project_id, COLORS)
        assert [item.digest for item in past] == [own, second, unsure, second]
        assert [item.until is None for item in past] == [True, False, False, False]
        acts = session.scalars(select(AuditEntry).where(AuditEntry.action == "classifier.roll-back")).all()
    assert [(entry.object_id, entry.actor) for entry in acts] == [(COLORS, "The administrator")] * 2


# Promotions.


def test_two_people_take_a_classifier_into_use(
    app: AppContext, people: People, researcher: Actor, administrator: Actor, pathway: Pathway, second: str
) -> None:
    sign_case(app, people, ["red", "green", "blue"], 1)
    fix(app, administrator, pathway)
    shadow(app, researcher, pathway, second)
    own = in_use(app, people, pathway)
    promotion_id = ask(app, researcher, second)
    with app.database.reading() as session:
        promotion = promotions.get_promotion(session, administrator, promotion_id)
        assert (promotion.state, promotion.replaces, promotion.classifier) == ("waiting", own, "second")
        assert {item["name"]: (item["value"], item["met"]) for item in promotion.evidence["requested"]}["margin"] == (
            0.0,
            True,
        )
    with app.database.writing() as session:
        promotions.approve_promotion(session, app, administrator, promotion_id, "Better on our images.")
    assert in_use(app, people, pathway) == second
    (image_id,) = bring_in(app, people, make_patient(app, people), picture("green", 5))
    assert digests_of(app, image_id) == [second]
    with app.database.reading() as session:
        promotion = promotions.get_promotion(session, administrator, promotion_id)
        assert (promotion.state, promotion.decided_by) == ("approved", "The administrator")
        assert promotion.reason == "Better on our images."
        assert current(session, people.project_id, COLORS, SHADOW) is None
    with pytest.raises(Conflict, match="decided already"), app.database.writing() as session:
        promotions.approve_promotion(session, app, administrator, promotion_id, "Better on our images.")


def test_who_asks_does_not_approve(
    app: AppContext, people: People, administrator: Actor, pathway: Pathway, second: str
) -> None:
    sign_case(app, people, ["red", "green", "blue"], 1)
    fix(app, administrator, pathway)
    shadow(app, administrator, pathway, second)
    promotion_id = ask(app, administrator, second)
    with pytest.raises(Invalid, match="Say why"), app.database.writing() as session:
        promotions.approve_promotion(session, app, administrator, promotion_id, " ")
    with pytest.raises(SecondPersonNeeded), app.database.writing() as session:
        promotions.approve_promotion(session, app, administrator, promotion_id, "Better on our images.")
    assert in_use(app, people, pathway) != second


def test_one_that_fails_a_limit_cannot_be_approved(
    app: AppContext, people: People, researcher: Actor, administrator: Actor, pathway: Pathway, unsure: str
) -> None:
    sign_case(app, people, ["red", "green", "blue"], 1)
    fix(app, administrator, pathway)
    shadow(app, researcher, pathway, unsure)
    promotion_id = ask(app, researcher, unsure)
    with pytest.raises(promotions.LimitsNotMet, match="abstains: 1 ") as error, app.database.writing() as session:
        promotions.approve_promotion(session, app, administrator, promotion_id, "Better on our images.")
    assert error.value.facts["failed"] == ["abstention"]
    with app.database.writing() as session:
        promotions.reject_promotion(session, app, administrator, promotion_id, "It is never sure.")
    with app.database.reading() as session:
        promotion = promotions.get_promotion(session, administrator, promotion_id)
        assert (promotion.state, promotion.reason) == ("rejected", "It is never sure.")
    assert in_use(app, people, pathway) != unsure


def test_limits_are_fixed_beforehand(
    app: AppContext, people: People, researcher: Actor, administrator: Actor, pathway: Pathway, second: str
) -> None:
    sign_case(app, people, ["red", "green", "blue"], 1)
    with pytest.raises(promotions.LimitsNotFixed):
        ask(app, researcher, second)
    fix(app, administrator, pathway, PromotionCriteria(margin=0.01, ece=0.9, abstention=0.5, images=100))
    shadow(app, researcher, pathway, second)
    with pytest.raises(Invalid, match="only ask for less"):
        ask(app, researcher, second, margin=0.02)
    promotion_id = ask(app, researcher, second, margin=0.005)
    with pytest.raises(promotions.PromotionWaiting):
        ask(app, researcher, second)
    fix(app, administrator, pathway)  # too late for the request that waits
    with pytest.raises(promotions.LimitsNotMet, match="limit 100"), app.database.writing() as session:
        promotions.approve_promotion(session, app, administrator, promotion_id, "Better on our images.")


def test_a_request_is_held_against_the_one_that_was_in_use(
    app: AppContext,
    people: People,
    researcher: Actor,
    administrator: Actor,
    pathway: Pathway,
    second: str,
    unsure: str,
) -> None:
    sign_case(app, people, ["red", "green", "blue"], 1)
    fix(app, administrator, pathway)
    shadow(app, researcher, pathway, second)
    promotion_id = ask(app, researcher, second)
    put(app, administrator, pathway, unsure, IN_USE)
    with pytest.raises(Conflict, match="Another classifier is in use"), app.database.writing() as session:
        promotions.approve_promotion(session, app, administrator, promotion_id, "Better on our images.")


def test_images_of_patients_that_it_learned_from_do_not_count(
    app: AppContext,
    people: People,
    researcher: Actor,
    administrator: Actor,
    pathway: Pathway,
    trainer: Trainer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = iter(["train", "val", "test"])
    known: dict[str, str] = defaultdict(lambda: next(parts))
    monkeypatch.setattr("medhub.training.dataset_contents.part_of_group", lambda _key, group: known[group])
    signed = [sign_case(app, people, ["red", "green", "blue"], seed) for seed in range(3)]
    with app.database.writing() as session:
        dataset_id = datasets.make_from_verdicts(
            session, app, researcher, project_id=people.project_id, pathway=COLORS, name=None
        ).id
    run_id = start(app, researcher, dataset_id)
    tasks.run_training(app, run_id, trainer=trainer())
    digest = str(run_of(app, run_id).digest)
    shadow(app, researcher, pathway, digest)
    later = sign_case(app, people, ["red"], 9, patient_id=signed[0].patient_id)
    with app.database.reading() as session:
        in_test = next(row for row, part in known.items() if part == "test")
        own = appointments.digest_in_use(session, app.settings, people.project_id, pathway)
        rows = live_metrics.signed_images(session, app.settings, digest, own, pathway=COLORS)
        patients = {session.get_one(Image, item.image_id).patient_id for item in rows}
        assert patients == {in_test}
        read = set(session.scalars(select(ShadowPrediction.image_id)))
    of_test = next(item for item in signed if item.patient_id == in_test)
    assert read == {*of_test.image_ids, *later.image_ids}  # what comes in is read all the same


# Figures.


def test_agreement_is_with_what_was_signed_week_by_week(
    app: AppContext, people: People, researcher: Actor, pathway: Pathway, unsure: str
) -> None:
    sign_case(app, people, {"red": "red", "green": "blue", "blue": "gray"}, 1)
    shadow(app, researcher, pathway, unsure)
    own = in_use(app, people, pathway)
    with app.database.reading() as session:
        rows = live_metrics.signed_images(
            session, app.settings, unsure, own, pathway=COLORS, projects=[people.project_id]
        )
        (week,) = live_metrics.weekly_agreement(rows)
        elsewhere = live_metrics.signed_images(session, app.settings, unsure, own, projects=[people.other_project_id])
    assert (week.n, week.in_use, week.shadow) == (2, 0.5, 0.0)  # gray is not counted; the shadow is never sure
    assert (week.in_use_uncertain, week.shadow_uncertain) == (0.0, 1.0)
    assert week.starts.weekday() == 0
    assert elsewhere == []


def test_drift_is_of_the_pathway_the_classifier_and_the_projects(
    app: AppContext, people: People, pathway: Pathway
) -> None:
    patient_id = make_patient(app, people, identity=False)
    bring_in(app, people, patient_id, *(picture("red", seed) for seed in range(3)))
    own = in_use(app, people, pathway)
    with app.database.reading() as session:
        rows = live_metrics.measure_drift(session, pathway, own, [people.project_id], "day")
        nothing = live_metrics.measure_drift(session, pathway, own, [people.other_project_id], "day")
    assert rows.reference is not None
    assert rows.reference.labels == {"red": 3}
    assert (rows.spans, rows.alarm, nothing.reference) == ([], None, None)
    assert FEWEST > 3


def test_a_run_of_a_data_set_is_known_by_the_digest_that_it_made(app: AppContext) -> None:
    with app.database.reading() as session:
        assert session.scalars(select(TrainingRun)).all() == []
        assert live_metrics._training_patients(session, {"0" * 64}) == set()
