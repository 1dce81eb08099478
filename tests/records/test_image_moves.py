# SPDX-License-Identifier: Apache-2.0
"""Moving images: the records and the stored files say the same, and what hangs on an image stays with it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from sqlalchemy import func, select, update

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.classification.models import Prediction
from medhub.errors import Invalid, NotAllowed, NotFound
from medhub.foundation import ids
from medhub.foundation.app_context import AppContext
from medhub.ingest.ingest_file import IngestResult
from medhub.ingest.models import Manifest, Receipt
from medhub.ingest.patient_claims.chosen_patient import choose_patient
from medhub.ingest.pipeline import ingest_file
from medhub.records import image_moves, isolated_calls, series_service, studies
from medhub.records.models import Image, Patient, PatientBlob, Series, Study
from medhub.records.studies import ImageLocked
from medhub.review import service as review
from medhub.review.image_moves_check import CaseUnderReview
from medhub.review.models import Case
from tests.factories.accounts import People
from tests.factories.cases import PATHWAY, make_patient, run_jobs, upload, use_classifier
from tests.factories.images import photograph


@pytest.fixture(autouse=True)
def _scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    use_classifier(monkeypatch)


@pytest.fixture
def patient_id(app: AppContext, people: People) -> str:
    return make_patient(app, people)


@pytest.fixture
def image_ids(app: AppContext, technologist: Actor, patient_id: str) -> list[str]:
    """Three images of one series."""
    answers = upload(app, technologist, patient_id, *(photograph(number) for number in range(3)))
    return [str(answer.image_id) for answer in answers]


def add_study(app: AppContext, patient_id: str, **more: Any) -> str:
    with app.database.writing() as session:
        patient = session.get_one(Patient, patient_id)
        return studies.new_study(session, patient, study_uid=ids.new_uid(), **more).id


def add_series(app: AppContext, study_id: str, modality: str = "GM") -> str:
    with app.database.writing() as session:
        study = session.get_one(Study, study_id)
        return series_service.new_series(session, study, series_uid=ids.new_uid(), modality=modality).id


def rows(app: AppContext, image_ids: list[str]) -> list[Image]:
    with app.database.reading() as session:
        return [session.get_one(Image, image_id) for image_id in image_ids]


def count(app: AppContext, table: Any, *where: Any) -> int:
    with app.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table).where(*where)) or 0


def files_agree(app: AppContext) -> bool:
    """Whether every stored file says the study, series and instance that the records say."""
    with app.database.reading() as session:
        for image, series_uid, study_uid in session.execute(
            select(Image, Series.series_uid, Study.study_uid)
            .join(Series, Series.id == Image.series_id)
            .join(Study, Study.id == Image.study_id)
        ):
            file = dcmread(io.BytesIO(app.blobs.get(image.blob)))
            identifiers = (file.StudyInstanceUID, file.SeriesInstanceUID, file.SOPInstanceUID, file.PatientID)
            patient = session.get_one(Patient, image.patient_id)
            if identifiers != (study_uid, series_uid, image.sop_instance_uid, patient.code):
                return False
            if image.size_bytes != app.blobs.path(image.blob).stat().st_size:
                return False
    return True


def test_a_moved_image_keeps_what_hangs_on_it_and_its_file_says_where_it_lies(
    app: AppContext,
    technologist: Actor,
    patient_id: str,
    image_ids: list[str],
) -> None:
    run_jobs(app)
    before = rows(app, image_ids)
    pictures = [isolated_calls.render_stored(app, image.blob, 64) for image in before]
    series_id = add_series(app, add_study(app, patient_id))
    moved = image_moves.move_images(app, technologist, image_ids[:2], series_id)
    assert (moved.images, moved.series_id, moved.patient_id) == (2, series_id, patient_id)
    after = rows(app, image_ids)
    assert [image.series_id for image in after] == [series_id, series_id, before[2].series_id]
    assert [image.study_id for image in after] == [moved.study_id] * 2 + [before[2].study_id]
    assert [image.number for image in after[:2]] == [1, 2]
    assert files_agree(app)
    assert [isolated_calls.render_stored(app, image.blob, 64) for image in after] == pictures
    assert [image.thumbnail for image in after] == [image.thumbnail for image in before]
    for table in (Prediction, Manifest, Receipt):
        assert count(app, table, table.image_id.in_(image_ids)) == 3
    run_jobs(app)
    assert [app.blobs.has(image.blob) for image in before] == [False, False, True]
    assert all(app.blobs.has(image.blob) for image in after)
    assert count(app, PatientBlob, PatientBlob.digest.in_([image.blob for image in before])) == 1
    with app.database.reading() as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.action == "image.move")).all()
        assert [entry.object_id for entry in entries] == image_ids[:2]
        assert {entry.patient_id for entry in entries} == {patient_id}


def test_everything_of_the_file_but_its_two_uids_stays_byte_for_byte(
    app: AppContext, technologist: Actor, patient_id: str, image_ids: list[str]
) -> None:
    def elements(image: Image) -> Dataset:
        file = dcmread(io.BytesIO(app.blobs.get(image.blob)))
        del file.StudyInstanceUID, file.SeriesInstanceUID
        return file

    before = elements(rows(app, image_ids)[0])
    image_moves.move_images(app, technologist, image_ids[:1], add_series(app, add_study(app, patient_id)))
    after = elements(rows(app, image_ids)[0])
    assert after == before
    assert after.file_meta == before.file_meta
    assert after.PixelData == before.PixelData


def test_a_series_that_becomes_empty_is_removed_and_the_new_study_goes_the_same_way(
    app: AppContext,
    technologist: Actor,
    patient_id: str,
    image_ids: list[str],
) -> None:
    run_jobs(app)
    old = rows(app, image_ids)[0]
    moved = image_moves.move_images(
        app, technologist, image_ids, add_series(app, add_study(app, patient_id, description="Day 2"))
    )
    assert count(app, Series, Series.id == old.series_id) == 0
    assert count(app, Study, Study.id == old.study_id) == 1
    run_jobs(app)
    # The case that nobody had begun is closed, and one of the study that the images now lie in is opened.
    with app.database.reading() as session:
        (case,) = session.scalars(select(Case)).all()
        assert (case.study_id, case.pathway) == (moved.study_id, PATHWAY)
        assert session.get_one(Study, moved.study_id).pathway == PATHWAY


def test_a_whole_series_keeps_its_uid(
    app: AppContext, technologist: Actor, patient_id: str, image_ids: list[str]
) -> None:
    old = rows(app, image_ids)[0]
    with app.database.reading() as session:
        uid = session.get_one(Series, old.series_id).series_uid
    study_id = add_study(app, patient_id)
    moved = image_moves.move_series(app, technologist, old.series_id, study_id)
    assert (moved.images, moved.series_id, moved.study_id) == (3, old.series_id, study_id)
    assert {image.study_id for image in rows(app, image_ids)} == {study_id}
    assert files_agree(app)
    with app.database.reading() as session:
        assert session.get_one(Series, old.series_id).series_uid == uid
    # More of the same series come in for the old study, and follow: they join the series that went before.
    (late,) = upload(app, technologist, patient_id, photograph(50))
    late_image = rows(app, [str(late.image_id)])[0]
    assert late_image.study_id == old.study_id
    again = image_moves.move_series(app, technologist, late_image.series_id, study_id)
    assert (again.images, again.series_id) == (1, old.series_id)
    assert count(app, Series) == 1
    assert files_agree(app)


def test_an_empty_series_moves_too(app: AppContext, technologist: Actor, patient_id: str) -> None:
    series_id = add_series(app, add_study(app, patient_id))
    study_id = add_study(app, patient_id)
    assert image_moves.move_series(app, technologist, series_id, study_id).images == 0
    assert count(app, Series, Series.study_id == study_id) == 1


def test_nothing_goes_to_another_patient(
    app: AppContext, people: People, technologist: Actor, image_ids: list[str]
) -> None:
    other = add_study(app, make_patient(app, people))
    other_series_id = add_series(app, other)
    series_id = rows(app, image_ids)[0].series_id
    blobs = set(app.blobs.digests())
    acts: list[Callable[[], object]] = [
        lambda: image_moves.move_images(app, technologist, image_ids, other_series_id),
        lambda: image_moves.move_series(app, technologist, series_id, other),
    ]
    for act in acts:
        with pytest.raises(image_moves.PatientsDiffer, match="Upload the original files for P-"):
            act()
    assert set(app.blobs.digests()) == blobs


def test_what_is_signed_or_under_review_stays(
    app: AppContext,
    people: People,
    technologist: Actor,
    patient_id: str,
    image_ids: list[str],
) -> None:
    run_jobs(app)
    series_id = add_series(app, add_study(app, patient_id))
    physician = people.actor(app, Role.PHYSICIAN)
    with app.database.writing() as session:
        review.give_verdict(session, app.settings, physician, image_ids[2], "neutrophil", None)
    with pytest.raises(CaseUnderReview, match="under review"):
        image_moves.move_images(app, technologist, image_ids[:1], series_id)
    # Within the study nothing changes for its case.
    beside = add_series(app, rows(app, image_ids)[0].study_id)
    assert image_moves.move_images(app, technologist, image_ids[:1], beside).images == 1
    with app.database.writing() as session:
        session.execute(update(Image).where(Image.id == image_ids[1]).values(locked=True))
    with pytest.raises(ImageLocked, match=r"One of these images .* Nothing was moved"):
        image_moves.move_images(app, technologist, image_ids[1:], series_id)
    with pytest.raises(ImageLocked, match="is signed and cannot change"):
        image_moves.move_images(app, technologist, image_ids[:1], rows(app, image_ids)[1].series_id)


def test_a_series_is_of_one_modality_and_a_study_of_one_pathway(
    app: AppContext, technologist: Actor, patient_id: str, image_ids: list[str]
) -> None:
    with pytest.raises(image_moves.IncompatibleImages, match="this one is CT; among the images are GM"):
        image_moves.move_images(app, technologist, image_ids, add_series(app, add_study(app, patient_id), "CT"))
    elsewhere = add_series(app, add_study(app, patient_id, pathway="chest-xray"))
    with pytest.raises(image_moves.IncompatibleImages, match="chest-xray, smear-review"):
        image_moves.move_images(app, technologist, image_ids, elsewhere)
    own = rows(app, image_ids)[0]
    acts: list[Callable[[], object]] = [
        lambda: image_moves.move_images(app, technologist, image_ids, own.series_id),
        lambda: image_moves.move_series(app, technologist, own.series_id, own.study_id),
    ]
    for act in acts:
        with pytest.raises(Invalid, match="already"):
            act()


def test_who_may_not_and_who_is_elsewhere(
    app: AppContext, people: People, patient_id: str, image_ids: list[str]
) -> None:
    series_id = add_series(app, add_study(app, patient_id))
    for role in (Role.PHYSICIAN, Role.RESEARCHER, Role.VIEWER):
        with pytest.raises(NotAllowed):
            image_moves.move_images(app, people.actor(app, role), image_ids, series_id)
    with pytest.raises(NotFound):
        image_moves.move_images(app, people.outsider(app), image_ids, series_id)


def test_who_comes_second_is_told_and_leaves_no_bytes(
    app: AppContext,
    technologist: Actor,
    patient_id: str,
    image_ids: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study_id = add_study(app, patient_id)
    first, second = add_series(app, study_id), add_series(app, study_id)
    move_to_series = isolated_calls.move_to_series

    def move_during_another(*arguments: Any) -> bytes:
        monkeypatch.setattr(isolated_calls, "move_to_series", move_to_series)
        image_moves.move_images(app, technologist, image_ids[:1], first)
        return move_to_series(*arguments)

    monkeypatch.setattr(isolated_calls, "move_to_series", move_during_another)
    with pytest.raises(image_moves.ConcurrentChange):
        image_moves.move_images(app, technologist, image_ids[:1], second)
    run_jobs(app)
    assert rows(app, image_ids)[0].series_id == first
    assert files_agree(app)
    with app.database.reading() as session:
        named = set(session.scalars(select(PatientBlob.digest)))
    assert set(app.blobs.digests()) == named


def test_files_can_be_put_into_a_place(
    app: AppContext, technologist: Actor, patient_id: str, image_ids: list[str]
) -> None:
    study_id = add_study(app, patient_id)
    series_id = add_series(app, study_id)

    def put(data: bytes, **target: str) -> IngestResult:
        with app.database.reading() as session:
            source = choose_patient(session, app, technologist, patient_id, PATHWAY, **target)
        return ingest_file(app, technologist, source, data)

    into_study, into_series = put(photograph(21), study_id=study_id), put(photograph(22), series_id=series_id)
    images = rows(app, [str(into_study.image_id), str(into_series.image_id)])
    assert [image.study_id for image in images] == [study_id, study_id]
    assert images[1].series_id == series_id
    assert files_agree(app)
    with app.database.reading() as session:
        assert session.get_one(Study, study_id).pathway == PATHWAY
    refused = put(photograph(23), series_id=add_series(app, study_id, "CT"))
    assert (refused.outcome, refused.image_id) == ("quarantined", None)
    assert refused.reason is not None
    assert "this one is CT, and the file is GM" in refused.reason


def test_a_place_of_somebody_else_or_on_another_way_is_refused(
    app: AppContext, people: People, technologist: Actor, patient_id: str
) -> None:
    theirs = add_study(app, make_patient(app, people))
    other_way = add_study(app, patient_id, pathway="chest-xray")
    wrong: list[tuple[dict[str, str], type[Exception], str]] = [
        ({"study_id": theirs}, Invalid, "another patient"),
        ({"study_id": other_way}, Invalid, "chest-xray"),
        ({"study_id": "0" * 32}, NotFound, "no such study"),
    ]
    for target, error, words in wrong:
        with pytest.raises(error, match=words), app.database.reading() as session:
            choose_patient(session, app, technologist, patient_id, PATHWAY, **target)


def test_many_images_are_deleted_at_once_or_none(
    app: AppContext, technologist: Actor, patient_id: str, image_ids: list[str]
) -> None:
    with app.database.writing() as session:
        session.execute(update(Image).where(Image.id == image_ids[0]).values(locked=True))
    with pytest.raises(ImageLocked, match="One of these images"), app.database.writing() as session:
        studies.delete_images(session, technologist, image_ids)
    assert count(app, Image) == 3
    with app.database.writing() as session:
        assert studies.delete_images(session, technologist, [*image_ids[1:], image_ids[1]]) == 2
    run_jobs(app)
    assert count(app, Image) == 1
    assert count(app, AuditEntry, AuditEntry.action == "image.delete") == 2
    with app.database.reading() as session:
        named = set(session.scalars(select(PatientBlob.digest).where(PatientBlob.image_id == image_ids[0])))
    assert set(app.blobs.digests()) == named


def test_bytes_that_another_image_has_too_stay(
    app: AppContext, technologist: Actor, patient_id: str, image_ids: list[str]
) -> None:
    """Slices without anything on them have the same thumbnail."""
    first, other, _ = rows(app, image_ids)
    with app.database.writing() as session:
        session.get_one(Image, other.id).thumbnail = first.thumbnail
    with app.database.writing() as session:
        studies.delete_image(session, technologist, first.id)
    run_jobs(app)
    assert first.thumbnail is not None
    assert app.blobs.has(first.thumbnail)
    with app.database.writing() as session:
        studies.delete_image(session, technologist, other.id)
    run_jobs(app)
    assert not app.blobs.has(first.thumbnail)


def test_an_identifier_of_anything_leads_to_it(
    app: AppContext, people: People, technologist: Actor, patient_id: str, image_ids: list[str]
) -> None:
    upload(app, technologist, make_patient(app, people), photograph(70))
    image = rows(app, image_ids)[1]
    with app.database.reading() as session:
        study, series = session.get_one(Study, image.study_id), session.get_one(Series, image.series_id)
        code = session.get_one(Patient, patient_id).code

    def search(query: str) -> tuple[list[str], list[str]]:
        with app.database.reading() as session:
            listed, _ = studies.list_studies(
                session,
                technologist,
                patient_id=None,
                project_id=None,
                query=query,
                field_values={},
                sort=None,
                offset=0,
                limit=9,
            )
            of_series, _ = series_service.list_series(
                session, technologist, study_id=None, query=query, offset=0, limit=9
            )
        return [facts.study.id for facts in listed], [facts.series.id for facts in of_series]

    names = (
        patient_id,
        study.id,
        study.study_uid,
        series.id,
        series.series_uid,
        image.id,
        image.sop_instance_uid,
        code,
    )
    for query in names:
        assert search(query) == ([study.id], [series.id]), query
    assert search("1.2.3.4.5") == ([], [])
