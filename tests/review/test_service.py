# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from sqlalchemy import select

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.classification.service import give_up, predictions_of
from medhub.classification.tasks import classify
from medhub.errors import Conflict, Invalid, NotAllowed, NotFound
from medhub.foundation.app_context import AppContext
from medhub.foundation.etags import StaleWrite
from medhub.records.models import Image
from medhub.records.studies import ImageLocked, delete_image
from medhub.review import rules, service
from medhub.review.models import Case, Verdict, case_etag, verdict_etag
from tests.factories.accounts import People
from tests.factories.cases import make_case, make_patient, upload, use_classifier
from tests.factories.images import photograph


@pytest.fixture
def patient_id(app: AppContext, people: People) -> str:
    return make_patient(app, people)


@pytest.fixture
def physician(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.PHYSICIAN)


def give(app: AppContext, actor: Actor, image_id: str, label: str = "neutrophil", note: str | None = None) -> None:
    with app.database.writing() as session:
        service.give_verdict(session, app.settings, actor, image_id, label, note)


def sign(app: AppContext, actor: Actor, case_id: str) -> None:
    with app.database.writing() as session:
        service.sign_case(session, app.settings, actor, case_id, None)


def signed_case(app: AppContext, people: People, patient_id: str, physician: Actor) -> tuple[str, list[str]]:
    case_id, image_ids = make_case(app, people, patient_id)
    for image_id in image_ids:
        give(app, physician, image_id)
    sign(app, physician, case_id)
    return case_id, image_ids


def test_a_case_opens_in_the_stage_to_which_the_classifier_leads(
    app: AppContext, people: People, patient_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    case_id, _ = make_case(app, people, patient_id)
    with app.database.reading() as session:
        case = session.get_one(Case, case_id)
        assert (case.stage, case.version, case.signed_at) == ("review", 1, None)


def test_images_that_come_later_join_the_case_until_it_is_signed(
    app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    first, _ = make_case(app, people, patient_id, images=1, seed=0)
    same, _ = make_case(app, people, patient_id, images=1, seed=10)
    assert same == first
    with app.database.reading() as session:
        images = [image.id for image in session.scalars(select(Image))]
    for image_id in images:
        give(app, physician, image_id)
    sign(app, physician, first)
    other, _ = make_case(app, people, patient_id, images=1, seed=20)
    assert other != first


def test_an_uncertain_prediction_cannot_pass_without_a_written_note(
    app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch, 0.61)
    _, (image_id,) = make_case(app, people, patient_id, images=1)
    for note in (None, "", "   "):
        with pytest.raises(rules.NoteRequired, match="uncertain"):
            give(app, physician, image_id, note=note)
    give(app, physician, image_id, note="Segmented nucleus, pale granules.")


def test_an_image_that_no_classifier_could_read_needs_a_note_too(
    app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    (answer,) = upload(app, people.actor(app, Role.TECHNOLOGIST), patient_id, photograph(1))
    assert answer.image_id is not None
    give_up(app, answer.image_id)
    with app.database.reading() as session:
        study_id = session.get_one(Image, answer.image_id).study_id
    service.open_case(app, study_id)
    with pytest.raises(rules.NoteRequired):
        give(app, physician, answer.image_id)


@pytest.mark.parametrize("role", [Role.TECHNOLOGIST, Role.ADMINISTRATOR, Role.PHARMACIST])
def test_the_pathway_refuses_a_wrong_role(
    app: AppContext, people: People, patient_id: str, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    case_id, (image_id,) = make_case(app, people, patient_id, images=1)
    with pytest.raises(rules.WrongRole, match="physician"):
        give(app, people.actor(app, role), image_id)
    with pytest.raises(rules.WrongRole, match="physician"):
        sign(app, people.actor(app, role), case_id)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.RESEARCHER, Role.PATIENT])
def test_who_only_reads_cannot_give_verdicts(
    app: AppContext, people: People, patient_id: str, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    _, (image_id,) = make_case(app, people, patient_id, images=1)
    with pytest.raises(NotAllowed):
        give(app, people.actor(app, role), image_id)


def test_an_outsider_is_told_that_there_is_no_such_image(
    app: AppContext, people: People, patient_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    case_id, (image_id,) = make_case(app, people, patient_id, images=1)
    with pytest.raises(NotFound):
        give(app, people.outsider(app), image_id)
    with pytest.raises(NotFound):
        sign(app, people.outsider(app), case_id)


def test_a_label_that_the_pathway_does_not_know_is_refused(
    app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    _, (image_id,) = make_case(app, people, patient_id, images=1)
    with pytest.raises(rules.LabelUnknown, match="basophil"):
        give(app, physician, image_id, label="unicorn")


def test_a_case_is_signed_only_when_every_image_has_a_verdict(
    app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    case_id, image_ids = make_case(app, people, patient_id, images=3)
    give(app, physician, image_ids[0])
    with pytest.raises(rules.CaseNotReady, match="2 images have no verdict"):
        sign(app, physician, case_id)


def test_an_image_that_still_waits_for_the_classifier_keeps_the_case_open(
    app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    case_id, (image_id,) = make_case(app, people, patient_id, images=1)
    give(app, physician, image_id)
    upload(app, people.actor(app, Role.TECHNOLOGIST), patient_id, photograph(99))
    with pytest.raises(rules.CaseNotReady, match="1 image still waits for the classifier"):
        sign(app, physician, case_id)


def test_a_signed_case_does_not_change(
    app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    case_id, image_ids = signed_case(app, people, patient_id, physician)
    with pytest.raises(rules.WrongStage, match="does not change"):
        give(app, physician, image_ids[0], label="basophil")
    with pytest.raises(rules.WrongStage):
        sign(app, physician, case_id)
    administrator = people.actor(app, Role.ADMINISTRATOR)
    with pytest.raises(ImageLocked), app.database.writing() as session:
        delete_image(session, administrator, image_ids[0])


def test_a_correction_is_a_new_version_that_names_the_old_one(
    app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    case_id, image_ids = signed_case(app, people, patient_id, physician)
    with app.database.writing() as session:
        new = service.correct_case(session, app.settings, physician, case_id, "Image 1 is a basophil.")
    assert (new.version, new.supersedes_id, new.stage) == (2, case_id, "review")
    give(app, physician, image_ids[0], label="basophil")
    sign(app, physician, new.id)
    with app.database.reading() as session:
        old_verdict = session.get_one(Verdict, (case_id, image_ids[0]))
        new_verdict = session.get_one(Verdict, (new.id, image_ids[0]))
        carried = session.get_one(Verdict, (new.id, image_ids[1]))
        assert (old_verdict.label, new_verdict.label, carried.label) == ("neutrophil", "basophil", "neutrophil")
    with pytest.raises(Conflict, match="newer version"), app.database.writing() as session:
        service.correct_case(session, app.settings, physician, case_id, "Again.")


def test_a_verdict_can_be_taken_back_by_who_gave_it(
    app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    _, (image_id,) = make_case(app, people, patient_id, images=1)
    give(app, physician, image_id)
    with app.database.writing() as session:
        service.withdraw_verdict(session, app.settings, physician, image_id)
    with app.database.reading() as session:
        assert session.get_one(Image, image_id).verified is False
        assert [event.action for event in service.image_history(session, image_id)] == [
            "verdict",
            "verdict taken back",
        ]


def test_jobs_that_run_twice_change_nothing(
    app: AppContext, people: People, patient_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    case_id, image_ids = make_case(app, people, patient_id)
    for image_id in image_ids:
        classify(app, image_id)
    with app.database.reading() as session:
        study_id = session.get_one(Case, case_id).study_id
    service.open_case(app, study_id)
    with app.database.reading() as session:
        assert len(session.scalars(select(Case)).all()) == 1
        assert all(len(predictions_of(session, image_id)) == 1 for image_id in image_ids)


def test_a_note_of_invisible_characters_is_no_note(
    app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch, 0.61)
    _, (image_id,) = make_case(app, people, patient_id, images=1)
    for note in ("\u200b\u2060", "\u3164", "\u2800 \u115f", "\u00ad", "\ufe0f", "\u0301", "\u202e\u202c", "\U000e0041"):
        with pytest.raises(rules.NoteRequired):
            give(app, physician, image_id, note=note)
    give(app, physician, image_id, note="\u200fخلية\u200b")


def test_a_correction_needs_a_visible_reason(
    app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    case_id, _ = signed_case(app, people, patient_id, physician)
    with pytest.raises(Invalid, match="why"), app.database.writing() as session:
        service.correct_case(session, app.settings, physician, case_id, "\u200b\u3164")


def verdict_of(app: AppContext, case_id: str, image_id: str) -> Verdict | None:
    with app.database.reading() as session:
        return session.get(Verdict, (case_id, image_id))


def withdraw(app: AppContext, actor: Actor, image_id: str) -> None:
    with app.database.writing() as session:
        service.withdraw_verdict(session, app.settings, actor, image_id)


def test_a_withdrawn_change_restores_the_verdict_before(
    app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    case_id, (image_id,) = make_case(app, people, patient_id, images=1)
    give(app, physician, image_id, "basophil", "Dark granules.")
    first = verdict_of(app, case_id, image_id)
    give(app, physician, image_id, "neutrophil")
    give(app, physician, image_id, "monocyte")
    withdraw(app, physician, image_id)
    second = verdict_of(app, case_id, image_id)
    assert second is not None
    assert (second.label, second.agrees) == ("neutrophil", True)
    withdraw(app, physician, image_id)
    restored = verdict_of(app, case_id, image_id)
    assert restored is not None
    assert first is not None
    assert (restored.label, restored.note, restored.at, restored.agrees) == ("basophil", first.note, first.at, False)
    with app.database.reading() as session:
        assert session.get_one(Image, image_id).verified
    withdraw(app, physician, image_id)
    assert verdict_of(app, case_id, image_id) is None
    with app.database.reading() as session:
        assert not session.get_one(Image, image_id).verified


def test_a_withdrawn_change_in_a_correction_restores_the_signed_verdict(
    app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    case_id, image_ids = signed_case(app, people, patient_id, physician)
    with app.database.writing() as session:
        new = service.correct_case(session, app.settings, physician, case_id, "Image 1 was misread.").id
    give(app, physician, image_ids[0], "basophil")
    withdraw(app, physician, image_ids[0])
    old, restored = verdict_of(app, case_id, image_ids[0]), verdict_of(app, new, image_ids[0])
    assert old is not None
    assert restored is not None
    assert (restored.label, restored.at, restored.by) == (old.label, old.at, old.by)


def test_a_verdict_or_signature_from_a_stale_page_is_refused(
    app: AppContext, people: People, patient_id: str, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    case_id, (image_id,) = make_case(app, people, patient_id, images=1)

    def give_on(etag: str, label: str) -> None:
        with app.database.writing() as session:
            service.give_verdict(session, app.settings, physician, image_id, label, None, etag)

    def etags() -> tuple[str, str]:
        with app.database.reading() as session:
            case = session.get_one(Case, case_id)
            verdict = session.get(Verdict, (case_id, image_id))
            return verdict_etag(case, verdict), case_etag(case, [verdict] if verdict else [])

    unread, _ = etags()
    give_on(f'"{unread}"', "basophil")
    with pytest.raises(StaleWrite, match="basophil"):
        give_on(unread, "neutrophil")
    verdict, case = etags()
    give_on(verdict, "monocyte")
    with pytest.raises(StaleWrite), app.database.writing() as session:
        service.withdraw_verdict(session, app.settings, physician, image_id, verdict)
    with pytest.raises(StaleWrite), app.database.writing() as session:
        service.sign_case(session, app.settings, physician, case_id, None, case)
    verdict, case = etags()
    with app.database.writing() as session:
        service.sign_case(session, app.settings, physician, case_id, None, case)
    with pytest.raises(StaleWrite), app.database.writing() as session:
        service.correct_case(session, app.settings, physician, case_id, "Reread.", case)
