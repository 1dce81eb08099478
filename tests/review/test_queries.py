# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.classification.models import Prediction
from medhub.errors import Invalid, NotAllowed, NotFound
from medhub.foundation import clock, ids
from medhub.foundation.app_context import AppContext
from medhub.ingest import service as ingest
from medhub.records import series_service, studies
from medhub.records import service as records
from medhub.records.models import Image, Patient
from medhub.reports import service as reports
from medhub.review import image_cursor, queries, service
from medhub.review.models import Case, Verdict
from medhub.review.queries import CaseFilter, ImageFilter
from tests.factories.accounts import People
from tests.factories.cases import make_case, make_patient, run_jobs, upload, use_classifier
from tests.factories.images import photograph
from tests.factories.statements import counted


@pytest.fixture
def physician(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.PHYSICIAN)


def images(app: AppContext, actor: Actor, sort: str | None = None, **filters: Any) -> list[str]:
    offset, limit = filters.pop("offset", 0), filters.pop("limit", 50)
    with app.database.reading() as session:
        rows, total = queries.list_images(session, actor, ImageFilter(**filters), sort=sort, offset=offset, limit=limit)
        assert total == queries.count_images(session, actor, ImageFilter(**filters))
        return [facts.image.id for facts in rows]


def cases(app: AppContext, actor: Actor, sort: str | None = None, **filters: Any) -> list[str]:
    with app.database.reading() as session:
        rows, total = queries.list_cases(
            session, app.settings, actor, CaseFilter(**filters), sort=sort, offset=0, limit=50
        )
        assert total == len(rows)
        return [facts.case.id for facts in rows]


def verify(app: AppContext, actor: Actor, *image_ids: str) -> None:
    for image_id in image_ids:
        with app.database.writing(durable=False) as session:
            service.give_verdict(session, app.settings, actor, image_id, "neutrophil", "seen")


def sign(app: AppContext, actor: Actor, case_id: str) -> None:
    with app.database.writing() as session:
        service.sign_case(session, app.settings, actor, case_id, None)


@pytest.fixture
def two_cases(
    app: AppContext, people: People, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, list[str], str, list[str]]:
    """A signed case of two images, and one of three that waits for verdicts, one of them given, one uncertain."""
    use_classifier(monkeypatch, 0.97, 0.9, 0.97, 0.5, 0.8)
    signed, of_signed = make_case(app, people, make_patient(app, people), images=2)
    waiting, of_waiting = make_case(app, people, make_patient(app, people), images=3, seed=10)
    verify(app, physician, *of_signed, of_waiting[0])
    sign(app, physician, signed)
    return signed, of_signed, waiting, of_waiting


def test_images_are_found_by_what_is_known_of_them(
    app: AppContext, people: People, physician: Actor, two_cases: tuple[str, list[str], str, list[str]]
) -> None:
    signed, of_signed, waiting, of_waiting = two_cases
    with app.database.reading() as session:
        case = session.get_one(Case, waiting)
        code = session.get_one(Patient, case.patient_id).code
    assert images(app, physician) == [*of_signed, *of_waiting]  # the oldest first, as a reading queue goes
    assert images(app, physician, verified=False) == of_waiting[1:]
    assert images(app, physician, verified=True) == [*of_signed, of_waiting[0]]
    assert images(app, physician, uncertain=True) == [of_waiting[1]]
    assert images(app, physician, label="Uncertain") == [of_waiting[1]]
    assert images(app, physician, label="basophil") == []
    assert images(app, physician, case_id=signed) == of_signed
    assert images(app, physician, study_id=case.study_id) == of_waiting
    assert images(app, physician, patient_id=case.patient_id) == of_waiting
    assert images(app, physician, pathway="smear-review", project_id=people.project_id) == [*of_signed, *of_waiting]
    assert images(app, physician, pathway="x-ray") == []
    assert images(app, physician, query=code.lower()) == of_waiting
    assert images(app, physician, query=of_signed[0]) == of_signed[:1]
    assert images(app, physician, query="%") == []
    assert images(app, physician, verified=False, uncertain=False) == of_waiting[2:]


def test_images_are_sorted_and_paged(
    app: AppContext, physician: Actor, two_cases: tuple[str, list[str], str, list[str]]
) -> None:
    _, of_signed, _, of_waiting = two_cases
    by_confidence = [of_waiting[1], of_waiting[2], of_signed[1]]
    assert images(app, physician, sort="confidence")[:3] == by_confidence
    assert images(app, physician, sort="-confidence")[-3:] == by_confidence[::-1]
    every = images(app, physician)
    assert images(app, physician, offset=1, limit=2) == every[1:3]
    assert images(app, physician, offset=4, limit=2) == every[4:]
    assert images(app, physician, offset=9) == []
    with pytest.raises(Invalid, match="cannot be sorted"):
        images(app, physician, sort="blob")


@pytest.mark.parametrize("far", [0, 1_000])
@pytest.mark.parametrize("equal_times", [False, True])
def test_pages_fit_together_from_whichever_end_they_are_read(
    app: AppContext,
    physician: Actor,
    two_cases: tuple[str, list[str], str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    far: int,
    equal_times: bool,
) -> None:
    monkeypatch.setattr("medhub.foundation.pagination.LARGE_OFFSET", far)
    _, _, _, of_waiting = two_cases
    if equal_times:
        with app.database.writing() as session:
            moment = session.scalars(select(Image.created_at)).first()
            session.execute(update(Image).values(created_at=moment))
            session.execute(update(Prediction).values(imaged_at=moment))
    every = images(app, physician)
    certain = [image_id for image_id in every if image_id != of_waiting[1]]
    for sort in ("created_at", "-created_at", "confidence"):
        all_images = images(app, physician, sort=sort)
        filtered = images(app, physician, sort=sort, uncertain=False)
        assert filtered == [image_id for image_id in all_images if image_id in certain]
        for offset in range(7):
            assert images(app, physician, sort=sort, offset=offset, limit=2) == all_images[offset : offset + 2]
            page = images(app, physician, sort=sort, uncertain=False, offset=offset, limit=2)
            assert page == filtered[offset : offset + 2]
    assert images(app, physician, sort="-created_at") == every[::-1]


def test_an_image_of_which_two_classifiers_said_the_same_is_found_once(
    app: AppContext, physician: Actor, two_cases: tuple[str, list[str], str, list[str]]
) -> None:
    with app.database.writing() as session:
        for prediction in list(session.scalars(select(Prediction))):
            values = {column.key: getattr(prediction, column.key) for column in Prediction.__table__.columns}
            session.add(Prediction(**{**values, "id": ids.new_id(), "digest": "2" * 64}))
    _, of_signed, _, of_waiting = two_cases
    assert images(app, physician, uncertain=True) == [of_waiting[1]]
    assert images(app, physician, uncertain=False, offset=1, limit=2) == [of_signed[1], of_waiting[0]]


def test_an_image_comes_with_its_code_case_prediction_and_verdict(
    app: AppContext, physician: Actor, two_cases: tuple[str, list[str], str, list[str]]
) -> None:
    signed, of_signed, _, of_waiting = two_cases
    with app.database.reading() as session:
        rows, _ = queries.list_images(session, physician, ImageFilter(), sort=None, offset=0, limit=50)
        codes = {patient.id: patient.code for patient in session.scalars(select(Patient))}
    by_id = {facts.image.id: facts for facts in rows}
    facts = by_id[of_signed[0]]
    assert facts.case is not None
    assert facts.verdict is not None
    assert facts.prediction is not None
    assert (facts.case.id, facts.verdict.label, facts.prediction.label) == (signed, "neutrophil", "neutrophil")
    assert facts.patient_code == codes[facts.image.patient_id]
    assert by_id[of_waiting[1]].verdict is None


def test_of_a_corrected_case_the_current_version_is_shown_and_the_old_one_can_be_asked_for(
    app: AppContext, physician: Actor, two_cases: tuple[str, list[str], str, list[str]]
) -> None:
    signed, of_signed, _, _ = two_cases
    with app.database.writing() as session:
        new = service.correct_case(session, app.settings, physician, signed, "Look again.")
    with app.database.writing() as session:
        service.give_verdict(session, app.settings, physician, of_signed[0], "basophil", "seen")
    with app.database.reading() as session:
        old = session.get_one(Case, signed)
        rows = list(session.scalars(select(Image).where(Image.id.in_(of_signed)).order_by(Image.number)))
        now = queries.load_image_facts(session, rows)
        then = queries.load_image_facts(session, rows, old)
    assert [facts.case.id for facts in now if facts.case] == [new.id] * 2
    assert [facts.verdict.label for facts in now if facts.verdict] == ["basophil", "neutrophil"]
    assert [facts.case.id for facts in then if facts.case] == [signed] * 2
    assert [facts.verdict.label for facts in then if facts.verdict] == ["neutrophil", "neutrophil"]
    assert len(images(app, physician)) == 5  # no image twice


def test_cases_are_found_by_what_is_known_of_them(
    app: AppContext, people: People, physician: Actor, two_cases: tuple[str, list[str], str, list[str]]
) -> None:
    signed, _, waiting, _ = two_cases
    with app.database.reading() as session:
        case = session.get_one(Case, signed)
        code = session.get_one(Patient, case.patient_id).code
    assert cases(app, physician) == [waiting, signed]
    assert cases(app, physician, sort="opened_at") == [signed, waiting]
    assert cases(app, physician, stage="review") == [waiting]
    assert cases(app, physician, stage="signed") == [signed]
    assert cases(app, physician, patient_id=case.patient_id, project_id=people.project_id) == [signed]
    assert cases(app, physician, pathway="smear-review", query=code.lower()) == [signed]
    assert cases(app, physician, query=waiting) == [waiting]
    assert cases(app, physician, mine=True) == [waiting]
    assert cases(app, physician, mine=False) == [signed]
    assert cases(app, people.actor(app, Role.TECHNOLOGIST), mine=True) == []
    with pytest.raises(Invalid, match="cannot be sorted"):
        cases(app, physician, sort="note")


def test_a_case_comes_with_its_counts(
    app: AppContext, people: People, physician: Actor, two_cases: tuple[str, list[str], str, list[str]]
) -> None:
    signed, _, waiting, _ = two_cases
    with app.database.reading() as session:
        patient_id = session.get_one(Case, waiting).patient_id
    upload(app, people.actor(app, Role.TECHNOLOGIST), patient_id, photograph(90))
    with app.database.writing() as session:
        new = service.correct_case(session, app.settings, physician, signed, "Look again.").id
    with app.database.reading() as session:
        rows, _ = queries.list_cases(session, app.settings, physician, CaseFilter(), sort=None, offset=0, limit=9)
    counts = {
        facts.case.id: (facts.images, facts.waiting, facts.verified, facts.uncertain, facts.superseded_by_id)
        for facts in rows
    }
    assert counts == {waiting: (4, 1, 1, 1, None), signed: (2, 0, 2, 0, new), new: (2, 0, 2, 0, None)}


def test_foreign_projects_and_patients_see_nothing(
    app: AppContext, people: People, two_cases: tuple[str, list[str], str, list[str]]
) -> None:
    outsider = people.outsider(app)
    assert images(app, outsider) == cases(app, outsider) == []
    with pytest.raises(NotFound):
        images(app, outsider, project_id=people.project_id)
    patient = people.actor(app, Role.PATIENT)
    assert images(app, patient) == cases(app, patient) == []
    with pytest.raises(NotAllowed):
        cases(app, patient, project_id=people.project_id)


Listing = Callable[[Any, AppContext, Actor], object]

LISTS: dict[str, Listing] = {
    "images": lambda s, _h, a: queries.list_images(s, a, ImageFilter(), sort=None, offset=0, limit=50),
    "unverified images": lambda s, _h, a: queries.list_images(
        s, a, ImageFilter(verified=False), sort="confidence", offset=0, limit=50
    ),
    "cases": lambda s, h, a: queries.list_cases(
        s, h.settings, a, CaseFilter(mine=True), sort=None, offset=0, limit=50
    ),
    "patients": lambda s, h, a: _patients(s, h, a),
    "studies": lambda s, _h, a: studies.list_studies(
        s, a, patient_id=None, project_id=None, query=None, field_values={}, sort=None, offset=0, limit=50
    ),
    "series": lambda s, _h, a: series_service.list_series(s, a, study_id=None, offset=0, limit=50),
    "arrivals": lambda s, _h, a: ingest.list_arrivals(
        s, a, project_id=None, patient_id=None, outcome=None, offset=0, limit=50
    ),
    "reports": lambda s, _h, a: reports.list_reports(
        s, a, project_id=None, case_id=None, query=None, sort=None, offset=0, limit=50
    ),
}  # fmt: skip


def _patients(session: Any, app: AppContext, actor: Actor) -> object:
    patients, _ = records.list_patients(
        session, app.keys, actor,
        project_id=None, query=None, sex=None, field_values={}, sort=None, offset=0, limit=50,
    )  # fmt: skip
    known = [patient.id for patient in patients]
    return records.count_patient_contents(session, known), records.patients_with_identity(session, known)


def test_no_list_asks_more_when_it_is_longer(
    app: AppContext, people: People, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)

    def grow(rounds: range) -> None:
        for number in rounds:
            case_id, image_ids = make_case(app, people, make_patient(app, people), images=2, seed=number * 10)
            verify(app, physician, *image_ids)
            sign(app, physician, case_id)
            make_case(app, people, make_patient(app, people), images=2, seed=number * 10 + 5)
        run_jobs(app)

    def asked() -> dict[str, int]:
        counts = {}
        for name, listing in LISTS.items():
            with app.database.reading() as session, counted(app.database) as statements:
                listing(session, app, physician)
            counts[name] = len(statements)
        return counts

    grow(range(1))
    short = asked()
    grow(range(1, 5))
    assert asked() == short
    assert {name: count for name, count in short.items() if count > 8} == {}


def test_uploads_are_counted_by_day_without_gaps(
    app: AppContext, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    technologist = people.actor(app, Role.TECHNOLOGIST)
    answers = upload(app, technologist, make_patient(app, people), *(photograph(seed) for seed in range(4)))
    today = clock.now()
    for answer, back in zip(answers, (0, 3, 3, 40), strict=True):
        with app.database.writing() as session:
            session.execute(
                update(Image).where(Image.id == answer.image_id).values(created_at=today - timedelta(days=back))
            )
    with app.database.reading() as session:
        days = queries.uploads_by_day(session, frozenset({people.project_id}), days=7)
        none = queries.uploads_by_day(session, frozenset({people.other_project_id}), days=7)
    assert [day for day, _ in days] == [(today - timedelta(days=ago)).date().isoformat() for ago in range(6, -1, -1)]
    assert [count for _, count in days] == [0, 0, 0, 2, 0, 0, 1]
    assert [count for _, count in none] == [0] * 7


def test_a_queue_is_read_by_cursor_to_its_end_while_verdicts_are_given_and_images_arrive(
    app: AppContext, people: People, physician: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    patient_id = make_patient(app, people)
    _, first = make_case(app, people, patient_id, images=5)
    unread = ImageFilter(verified=False)
    seen: list[str] = []
    cursor: str | None = None
    for step in range(10):
        with app.database.reading() as session:
            rows, cursor = image_cursor.read_images_after(session, physician, unread, cursor=cursor, limit=2)
        seen += [facts.image.id for facts in rows]
        verify(app, physician, *(facts.image.id for facts in rows))
        if step == 0:
            _, later = make_case(app, people, patient_id, images=2, seed=50)
        if cursor is None:
            break
    assert seen == [*first, *later]
    for wrong in ("", "x", "WzEsMl0=", "W251bGwsMSwieCJd", "WyIyMDI2LTAxLTAxIiwgMSwgImEiXQ=="):
        with pytest.raises(Invalid, match="cursor"), app.database.reading() as session:
            image_cursor.read_images_after(session, physician, unread, cursor=wrong, limit=2)


def test_read_but_unsigned_cases_are_ready_to_sign(
    app: AppContext, people: People, physician: Actor, two_cases: tuple[str, list[str], str, list[str]]
) -> None:
    signed, _, open_case, of_open = two_cases
    assert cases(app, physician, ready=True) == []
    with app.database.reading() as session:
        unread = [image_id for image_id in of_open if session.get(Verdict, (open_case, image_id)) is None]
    verify(app, physician, *unread)
    assert cases(app, physician, ready=True) == [open_case]
    assert cases(app, physician, ready=False) == [signed]
    with app.database.reading() as session:
        assert queries.count_review_work(session, app.settings, physician, None).ready_to_sign == 1
    sign(app, physician, open_case)
    assert cases(app, physician, ready=True) == []
    with app.database.writing() as session:
        corrected = service.correct_case(session, app.settings, physician, signed, "Read again.").id
    assert cases(app, physician, ready=True) == [corrected]
