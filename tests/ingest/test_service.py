# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PT012 - a transaction is more than one statement
from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.errors import NotAllowed, NotFound
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import DecoderFailed
from medhub.ingest import context, service
from medhub.ingest.context import IngestSource
from medhub.ingest.ingest_file import IngestResult
from medhub.ingest.models import Arrival, Receipt
from medhub.ingest.patient_claims.chosen_patient import choose_patient
from medhub.ingest.pipeline import ingest_file
from medhub.ingest.service import destroy_expired
from medhub.records import isolated_calls, patient_blobs, vault
from medhub.records import service as records
from medhub.records.erasure import erase_patient
from medhub.records.models import Image, PatientBlob, Study
from medhub.records.pathway import PathwayNotFound
from medhub.records.studies import delete_image
from medhub.review import rules
from medhub.review import service as review
from tests.factories.accounts import People
from tests.factories.cases import PATHWAY, make_case, make_patient, run_jobs, upload, use_classifier
from tests.factories.images import photograph
from tests.factories.threads import together
from tests.factories.time import MovableClock


@pytest.fixture
def technologist(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.TECHNOLOGIST)


@pytest.fixture
def patient_id(app: AppContext, people: People) -> str:
    return make_patient(app, people)


def source_of(app: AppContext, actor: Actor, patient_id: str) -> IngestSource:
    with app.database.reading() as session:
        return choose_patient(session, app, actor, patient_id, PATHWAY)


def rows(app: AppContext, table: Any) -> list[Any]:
    with app.database.reading() as session:
        return list(session.scalars(select(table)))


def stored(app: AppContext) -> set[str]:
    return set(app.blobs.digests())


def named(app: AppContext) -> set[str]:
    return {blob.digest for blob in rows(app, PatientBlob)}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "BMP", "WEBP"])
def test_a_photograph_is_accepted_and_stored_as_dicom(
    app: AppContext, technologist: Actor, patient_id: str, form: str
) -> None:
    (answer,) = upload(app, technologist, patient_id, photograph(1, form=form))
    assert (answer.outcome, answer.reason) == ("accepted", None)
    (image,) = rows(app, Image)
    assert (image.id, image.width, image.height, image.frames, image.modality) == (answer.image_id, 96, 96, 1, "GM")
    assert (image.state, image.verified, image.kind, image.number) == ("waiting", False, "photograph", 1)
    content = app.blobs.get(image.blob)
    assert content[:132] == b"\x00" * 128 + b"DICM"
    assert image.size_bytes == len(content)
    assert app.blobs.get(image.thumbnail)[8:12] == b"WEBP"
    assert stored(app) == named(app) == {image.blob, image.thumbnail}
    (arrival,) = rows(app, Arrival)
    assert (arrival.outcome, arrival.image_id, arrival.by, arrival.sealed_bytes) == (
        "accepted",
        image.id,
        "The technologist",
        None,
    )


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"Dear doctor, these are the cells of Siti", "not-an-image"),
        (photograph(1)[:700], "truncated"),
        (photograph(1, form="PNG")[:2000], "truncated"),
        (b"GIF89a" + bytes(20), "unsupported"),
        (b"\xff\xd8\xff" + bytes(60), None),
        (b"%PDF-1.7\n" + bytes(60), None),
        (bytes(128) + b"DICM" + b"\xff" * 50, None),
    ],
    ids=["empty", "letter", "half a JPEG", "half a PNG", "GIF", "head of a JPEG", "PDF", "broken DICOM"],
)
def test_what_cannot_be_accepted_is_quarantined_with_a_reason(
    app: AppContext, technologist: Actor, patient_id: str, data: bytes, code: str | None
) -> None:
    (answer,) = upload(app, technologist, patient_id, data)
    assert (answer.outcome, answer.image_id) == ("quarantined", None)
    assert answer.reason is not None
    assert len(answer.reason) > 20
    (arrival,) = rows(app, Arrival)
    assert (arrival.outcome, arrival.reason, arrival.size_bytes) == ("quarantined", answer.reason, len(data))
    assert code is None or arrival.code == code
    assert rows(app, Image) == rows(app, Study) == rows(app, Receipt) == []
    assert (arrival.sealed_bytes is not None) == bool(data)


def test_one_bad_file_among_many_stops_none_of_the_others(
    app: AppContext, technologist: Actor, patient_id: str
) -> None:
    answers = upload(app, technologist, patient_id, photograph(1), b"", photograph(2)[:500], photograph(3))
    assert [answer.outcome for answer in answers] == ["accepted", "quarantined", "quarantined", "accepted"]
    assert [image.number for image in rows(app, Image)] == [1, 2]


def test_quarantined_bytes_are_sealed_and_open_only_with_the_patients_key(
    app: AppContext, technologist: Actor, patient_id: str
) -> None:
    letter = b"Dear doctor, these are the cells of Siti binti Abdullah" * 20
    upload(app, technologist, patient_id, letter)
    (arrival,) = rows(app, Arrival)
    sealed = app.blobs.get(arrival.sealed_bytes)
    assert b"Siti" not in sealed
    assert letter[:16] not in sealed
    with app.database.reading() as session:
        opened = vault.unseal_for(session, app.keys, patient_id, sealed, f"arrival {arrival.id}")
    assert opened == letter


def test_quarantined_bytes_are_destroyed_when_their_time_is_over_and_the_reason_stays(
    app: AppContext, technologist: Actor, patient_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    movable_clock = MovableClock(monkeypatch)
    upload(app, technologist, patient_id, b"not an image at all")
    assert len(stored(app)) == 1
    movable_clock.advance(days=app.settings.quarantine_days, seconds=-60)
    assert destroy_expired(app) == 0
    movable_clock.advance(seconds=120)
    assert destroy_expired(app) == 1
    run_jobs(app)
    assert stored(app) == named(app) == set()
    (arrival,) = rows(app, Arrival)
    assert (arrival.sealed_bytes, arrival.outcome) == (None, "quarantined")
    assert arrival.reason
    assert destroy_expired(app) == 0


def test_the_same_file_again_is_a_duplicate_that_names_the_image(
    app: AppContext, technologist: Actor, patient_id: str
) -> None:
    first, again = upload(app, technologist, patient_id, photograph(1), photograph(1))
    assert (again.outcome, again.reason, again.image_id) == ("duplicate", "This file is already here.", first.image_id)
    assert len(rows(app, Image)) == len(rows(app, Receipt)) == 1
    assert {arrival.outcome for arrival in rows(app, Arrival)} == {"accepted", "duplicate"}


def test_the_same_file_for_another_patient_says_whose_it_is_already(
    app: AppContext, people: People, technologist: Actor, patient_id: str
) -> None:
    other_id = make_patient(app, people)
    upload(app, technologist, patient_id, photograph(1))
    (answer,) = upload(app, technologist, other_id, photograph(1))
    with app.database.reading() as session:
        code = records.get_patient(session, technologist, patient_id).code
    assert answer.outcome == "duplicate"
    assert answer.reason is not None
    assert code in answer.reason


def test_another_project_does_not_learn_that_a_file_is_here(
    app: AppContext, people: People, technologist: Actor, patient_id: str
) -> None:
    upload(app, technologist, patient_id, photograph(1))
    outsider = people.outsider(app)
    with app.database.writing() as session:
        from medhub.accounts.models import Membership

        membership = session.get_one(Membership, (outsider.user_id, people.other_project_id))
        membership.role = Role.TECHNOLOGIST
    outsider = people.outsider(app)
    with app.database.writing() as session:
        theirs = records.add_patient(session, app.keys, outsider, project_id=people.other_project_id).id
    (answer,) = upload(app, outsider, theirs, photograph(1))
    assert answer.outcome == "accepted"
    receipts = rows(app, Receipt)
    assert len({receipt.received_hash for receipt in receipts}) == len(receipts) == 2


def test_received_bytes_are_recognized_by_a_keyed_hash_that_tells_nothing(
    app: AppContext, technologist: Actor, patient_id: str
) -> None:
    data = photograph(1)
    upload(app, technologist, patient_id, data)
    (receipt,) = rows(app, Receipt)
    assert receipt.received_hash != hashlib.sha256(data).hexdigest()
    assert len(receipt.received_hash) == 64


def test_a_file_that_was_deleted_may_come_again(
    app: AppContext, people: People, technologist: Actor, patient_id: str
) -> None:
    (first,) = upload(app, technologist, patient_id, photograph(1))
    administrator = people.actor(app, Role.ADMINISTRATOR)
    with app.database.writing() as session:
        delete_image(session, administrator, str(first.image_id))
    (again,) = upload(app, technologist, patient_id, photograph(1))  # before the old bytes are destroyed
    assert again.outcome == "accepted"
    run_jobs(app)
    (image,) = rows(app, Image)
    assert app.blobs.has(image.blob)
    assert app.blobs.has(image.thumbnail)


def test_the_same_file_twice_at_the_same_moment_is_stored_once(
    app: AppContext, technologist: Actor, patient_id: str
) -> None:
    source = source_of(app, technologist, patient_id)
    data = photograph(1)
    answers = together(*[lambda: ingest_file(app, technologist, source, data)] * 5)
    assert sorted(answer.outcome for answer in answers) == ["accepted", *["duplicate"] * 4]
    assert len({answer.image_id for answer in answers}) == 1
    (image,) = rows(app, Image)
    assert stored(app) == named(app) == {image.blob, image.thumbnail}


def test_the_same_file_for_two_patients_at_the_same_moment_is_stored_once(
    app: AppContext, people: People, technologist: Actor, patient_id: str
) -> None:
    both = [source_of(app, technologist, patient_id), source_of(app, technologist, make_patient(app, people))]
    data = photograph(1)
    answers = together(*(lambda r=source: ingest_file(app, technologist, r, data) for source in both))
    assert sorted(answer.outcome for answer in answers) == ["accepted", "duplicate"]
    (image,) = rows(app, Image)
    assert stored(app) == named(app) == {image.blob, image.thumbnail}


def test_files_that_come_at_the_same_moment_join_one_study_with_numbers_of_their_own(
    app: AppContext, technologist: Actor, patient_id: str
) -> None:
    source = source_of(app, technologist, patient_id)

    def bring(seed: int) -> IngestResult:
        return ingest_file(app, technologist, source, photograph(seed))

    answers = together(*(lambda s=seed: bring(s) for seed in range(8)))
    assert [answer.outcome for answer in answers] == ["accepted"] * 8
    images = rows(app, Image)
    assert len({image.study_id for image in images}) == len(rows(app, Study)) == 1
    assert sorted(image.number for image in images) == list(range(1, 9))


def test_files_join_the_same_study_until_it_is_signed(
    app: AppContext, people: People, technologist: Actor, patient_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    physician = people.actor(app, Role.PHYSICIAN)
    case_id, image_ids = make_case(app, people, patient_id)
    for image_id in image_ids:
        with app.database.writing() as session:
            review.give_verdict(session, app.settings, physician, image_id, "neutrophil", None)
    (before_signing,) = upload(app, technologist, patient_id, photograph(50))
    run_jobs(app)
    with app.database.writing() as session:
        review.give_verdict(session, app.settings, physician, str(before_signing.image_id), "neutrophil", None)
        review.sign_case(session, app.settings, physician, case_id, None)
    (after_signing,) = upload(app, technologist, patient_id, photograph(60))
    studies = {image.id: image.study_id for image in rows(app, Image)}
    assert studies[str(before_signing.image_id)] == studies[image_ids[0]] != studies[str(after_signing.image_id)]


def test_a_case_is_not_signed_past_files_that_come_in_at_the_same_moment(
    app: AppContext, people: People, technologist: Actor, patient_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    physician = people.actor(app, Role.PHYSICIAN)
    case_id, image_ids = make_case(app, people, patient_id, images=1)
    with app.database.writing() as session:
        review.give_verdict(session, app.settings, physician, image_ids[0], "neutrophil", None)
    source = source_of(app, technologist, patient_id)

    def sign() -> object:
        try:
            with app.database.writing() as session:
                return review.sign_case(session, app.settings, physician, case_id, None).id
        except rules.CaseNotReady as error:
            return error

    def bring(seed: int) -> object:
        return ingest_file(app, technologist, source, photograph(seed))

    together(sign, *(lambda s=seed: bring(s) for seed in (70, 71, 72)))
    for image in rows(app, Image):
        with app.database.reading() as session:
            case = review.current_case(session, image.study_id)
        assert image.locked == (case is not None and case.signed_at is not None)


def test_a_file_of_a_signed_study_is_refused(
    app: AppContext, people: People, technologist: Actor, patient_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    physician = people.actor(app, Role.PHYSICIAN)
    case_id, image_ids = make_case(app, people, patient_id, images=1)
    with app.database.reading() as session:
        image = session.get_one(Image, image_ids[0])
        study_uid = session.get_one(Study, image.study_id).study_uid
    with app.database.writing() as session:
        review.give_verdict(session, app.settings, physician, image_ids[0], "neutrophil", None)
        review.sign_case(session, app.settings, physician, case_id, None)
    run_jobs(app)
    before = stored(app)
    monkeypatch.setattr(context, "photograph_study_uid", lambda *_: study_uid)  # as a DICOM file names its own study
    (answer,) = upload(app, technologist, patient_id, photograph(80))
    assert answer.outcome == "quarantined"
    assert "signed" in str(answer.reason)
    (refused,) = [arrival for arrival in rows(app, Arrival) if arrival.outcome == "quarantined"]
    assert refused.code == "signed"
    assert stored(app) - before == {refused.sealed_bytes}  # nothing that is not sealed was left behind


def test_a_study_of_another_patient_is_refused(
    app: AppContext, people: People, technologist: Actor, patient_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(app, technologist, patient_id, photograph(1))
    (study,) = rows(app, Study)
    before = stored(app)
    monkeypatch.setattr(context, "photograph_study_uid", lambda *_: study.study_uid)
    (answer,) = upload(app, technologist, make_patient(app, people), photograph(2))
    assert answer.outcome == "quarantined"
    assert "another patient" in str(answer.reason)
    (refused,) = [arrival for arrival in rows(app, Arrival) if arrival.outcome == "quarantined"]
    assert stored(app) - before == {refused.sealed_bytes}


@pytest.mark.parametrize("how", ["timeout", "crash", "memory", "error", "answer"])
def test_a_file_at_which_the_decoder_fails_is_kept_apart_with_the_reason(
    app: AppContext, technologist: Actor, patient_id: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DecoderFailed("The program that reads files ended while it read this one.", how=how)

    monkeypatch.setattr(isolated_calls, "prepare_files", fail)
    data = photograph(1)
    (answer,) = upload(app, technologist, patient_id, data)
    assert answer.outcome == "quarantined"
    assert "kept apart" in str(answer.reason)
    (arrival,) = rows(app, Arrival)
    assert arrival.code == how
    with app.database.reading() as session:
        sealed = app.blobs.get(arrival.sealed_bytes)
        assert vault.unseal_for(session, app.keys, patient_id, sealed, f"arrival {arrival.id}") == data


def test_a_patient_who_is_erased_while_a_file_comes_in_leaves_nothing(
    app: AppContext, people: People, technologist: Actor, patient_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    administrator = people.actor(app, Role.ADMINISTRATOR)
    source = source_of(app, technologist, patient_id)
    prepare_all = isolated_calls.prepare_files

    def slowly(*given: Any) -> Any:
        images = prepare_all(*given)
        with app.database.writing() as session:
            erase_patient(session, app, administrator, patient_id)
        return images

    monkeypatch.setattr(isolated_calls, "prepare_files", slowly)
    answer = ingest_file(app, technologist, source, photograph(1))
    assert answer.outcome == "quarantined"
    assert "erased" in str(answer.reason)
    run_jobs(app)
    assert rows(app, Image) == rows(app, Arrival) == rows(app, PatientBlob) == []
    assert stored(app) == set()


def test_a_patient_who_is_erased_at_the_same_moment_leaves_nothing(
    app: AppContext, people: People, technologist: Actor, patient_id: str
) -> None:
    administrator = people.actor(app, Role.ADMINISTRATOR)
    source = source_of(app, technologist, patient_id)

    def bring(seed: int) -> object:
        return ingest_file(app, technologist, source, photograph(seed))

    def erase() -> object:
        with app.database.writing() as session:
            return erase_patient(session, app, administrator, patient_id)

    together(erase, *(lambda s=seed: bring(s) for seed in range(4)))
    run_jobs(app)
    assert rows(app, Image) == rows(app, PatientBlob) == rows(app, Study) == []
    assert stored(app) == set()


def test_bytes_without_a_row_are_destroyed_once_they_are_old(
    app: AppContext, technologist: Actor, patient_id: str
) -> None:
    """What a process leaves that dies between the bytes and their row."""
    upload(app, technologist, patient_id, photograph(1))
    digests_before = stored(app)
    app.blobs.put(b"of an arrival whose process died")
    assert patient_blobs.delete_orphaned_blobs(app) == 0
    assert patient_blobs.delete_orphaned_blobs(app, older_than_s=-1) == 1
    assert stored(app) == digests_before


def test_only_who_the_pathway_names_may_bring_images(app: AppContext, people: People, patient_id: str) -> None:
    for role in (Role.PHYSICIAN, Role.ADMINISTRATOR, Role.VIEWER, Role.RESEARCHER, Role.PATIENT):
        with pytest.raises(NotAllowed):
            source_of(app, people.actor(app, role), patient_id)
    with pytest.raises(NotFound):
        source_of(app, people.outsider(app), patient_id)


def test_a_pathway_that_there_is_not_is_told_with_those_there_are(
    app: AppContext, technologist: Actor, patient_id: str
) -> None:
    with pytest.raises(PathwayNotFound, match="smear-review"), app.database.reading() as session:
        choose_patient(session, app, technologist, patient_id, "no-such-way")


def test_arrivals_are_listed_newest_first_and_filtered(
    app: AppContext, people: People, technologist: Actor, patient_id: str
) -> None:
    upload(app, technologist, patient_id, photograph(1), b"", photograph(1))
    other_id = make_patient(app, people)
    upload(app, technologist, other_id, photograph(2))

    def listed(**filters: Any) -> tuple[list[str], int]:
        arguments = {"project_id": None, "patient_id": None, "outcome": None, "offset": 0, "limit": 10, **filters}
        with app.database.reading() as session:
            page, total = service.list_arrivals(session, technologist, **arguments)
            return [arrival.outcome for arrival, _code in page], total

    assert listed() == (["accepted", "duplicate", "quarantined", "accepted"], 4)
    assert listed(patient_id=other_id) == (["accepted"], 1)
    assert listed(outcome="quarantined") == (["quarantined"], 1)
    assert listed(offset=1, limit=2) == (["duplicate", "quarantined"], 4)
    with app.database.reading() as session:
        assert service.count_quarantined(session, frozenset({people.project_id})) == 1
    with pytest.raises(NotAllowed), app.database.reading() as session:
        viewer = people.actor(app, Role.VIEWER)
        service.list_arrivals(
            session, viewer, project_id=people.project_id, patient_id=None, outcome=None, offset=0, limit=1
        )


def test_what_was_received_lies_nowhere_unsealed(
    app: AppContext, technologist: Actor, patient_id: str, tmp_path: Path
) -> None:
    marked = photograph(1, form="PNG")[:-12] + b"MARK-OF-THE-RECEIVED-FILE" * 3
    upload(app, technologist, patient_id, marked)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"MARK-OF-THE-RECEIVED-FILE" not in path.read_bytes(), path


def test_counting_and_storing_agree_after_many_threads(
    app: AppContext, people: People, technologist: Actor, patient_id: str
) -> None:
    patients = [patient_id, make_patient(app, people)]
    sources = [source_of(app, technologist, patient) for patient in patients]

    def ingest_three(number: int) -> list[str]:
        return [
            ingest_file(app, technologist, sources[number % 2], photograph(100 + number * 3 + count)).outcome
            for count in range(3)
        ]

    outcomes = together(*(lambda n=number: ingest_three(n) for number in range(4)))
    assert [outcome for thread_outcomes in outcomes for outcome in thread_outcomes] == ["accepted"] * 12
    with app.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Image)) == 12
        assert {contents.images for contents in records.count_patient_contents(session, patients).values()} == {6}
    assert stored(app) == named(app)
