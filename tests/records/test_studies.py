# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.errors import NotAllowed, NotFound
from medhub.foundation.app_context import AppContext
from medhub.ingest.models import Receipt
from medhub.records import series_service, studies
from medhub.records.field_values import FieldInvalid
from medhub.records.models import Image, Series, Study
from medhub.records.series_service import SeriesNotFound
from medhub.records.studies import ImageLocked, ImageNotFound, StudyNotFound
from tests.factories.accounts import People
from tests.factories.cases import make_patient, run_jobs, upload, use_classifier
from tests.factories.images import photograph
from tests.records.conftest import Defining


@pytest.fixture
def patient_id(app: AppContext, people: People) -> str:
    return make_patient(app, people)


@pytest.fixture
def image_ids(app: AppContext, technologist: Actor, patient_id: str) -> list[str]:
    """Two images of one study."""
    return [str(a.image_id) for a in upload(app, technologist, patient_id, photograph(1), photograph(2))]


def image(app: AppContext, image_id: str) -> Image:
    with app.database.reading() as session:
        return session.get_one(Image, image_id)


def listed(app: AppContext, actor: Actor, **wanted: Any) -> list[str]:
    asked: dict[str, Any] = {
        **dict.fromkeys(("patient_id", "project_id", "query", "sort")),
        "field_values": {},
        "offset": 0,
        "limit": 50,
        **wanted,
    }
    with app.database.reading() as session:
        page, total = studies.list_studies(session, actor, **asked)
        assert total == len(page)
        return [facts.study.description for facts in page]


def add(app: AppContext, actor: Actor, patient_id: str, description: str, **fields: Any) -> str:
    with app.database.writing() as session:
        return studies.add_study(
            session,
            actor,
            patient_id=patient_id,
            study_uid=f"2.25.{abs(hash(description))}",
            description=description,
            fields=fields,
        ).id


def test_studies_are_added_found_sorted_and_changed(
    app: AppContext, people: People, technologist: Actor, patient_id: str
) -> None:
    first = add(app, technologist, patient_id, "Étude one")
    add(app, technologist, make_patient(app, people), "second")
    assert listed(app, technologist) == ["second", "Étude one"]
    assert listed(app, technologist, sort="description") == ["second", "Étude one"]
    assert listed(app, technologist, patient_id=patient_id) == ["Étude one"]
    assert listed(app, technologist, query="éTUDE") == ["Étude one"]
    assert listed(app, technologist, query="%") == []
    assert listed(app, people.outsider(app)) == []
    with app.database.writing() as session:
        facts = studies.change_study(session, technologist, first, description="changed", fields=None)
        assert (facts.study.description, facts.contents.images, facts.contents.modality) == ("changed", 0, None)


def test_a_studys_own_fields_are_checked(
    app: AppContext, technologist: Actor, patient_id: str, define: Defining
) -> None:
    define("stain", "choice", choices=["Wright", "Giemsa"], subject="study", required=True)
    with pytest.raises(FieldInvalid, match="is required"):
        add(app, technologist, patient_id, "x")
    study_id = add(app, technologist, patient_id, "x", stain="Giemsa")
    with pytest.raises(FieldInvalid, match="one of: Wright, Giemsa"), app.database.writing() as session:
        studies.change_study(session, technologist, study_id, description=None, fields={"stain": "none"})
    assert listed(app, technologist, query="giem") == ["x"]


def test_a_study_tells_how_many_images_it_has(app: AppContext, technologist: Actor, image_ids: list[str]) -> None:
    study_id = image(app, image_ids[0]).study_id
    with app.database.reading() as session:
        facts = studies.read_study(session, technologist, study_id)
    inside = facts.contents
    assert (inside.images, inside.modality, inside.series, inside.locked) == (2, "GM", 1, False)
    assert inside.cover_id == image_ids[0]
    with app.database.reading() as session:
        series_list, total = series_service.list_series(session, technologist, study_id=study_id, offset=0, limit=9)
    assert ([facts.contents.images for facts in series_list], total) == ([2], 1)


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "modality"])
def test_pages_of_series_fit_together_though_far_ones_are_read_from_their_end(
    app: AppContext, technologist: Actor, image_ids: list[str], monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    monkeypatch.setattr("medhub.foundation.pagination.LARGE_OFFSET", 0)
    study_id = image(app, image_ids[0]).study_id
    with app.database.writing() as session:
        for modality in ("XC", "GM", "XC"):
            series_service.add_series(session, technologist, study_id=study_id, modality=modality, description="")

    def page(offset: int, limit: int) -> list[str]:
        with app.database.reading() as session:
            series_list, total = series_service.list_series(
                session, technologist, study_id=None, sort=sort, offset=offset, limit=limit
            )
            assert total == 4
            return [facts.series.id for facts in series_list]

    all_rows = page(0, 9)
    assert [page(offset, 2) for offset in range(6)] == [all_rows[offset : offset + 2] for offset in range(6)]


def test_deleting_takes_rows_and_bytes(
    app: AppContext,
    administrator: Actor,
    technologist: Actor,
    image_ids: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_classifier(monkeypatch)
    run_jobs(app)
    first, other = (image(app, image_id) for image_id in image_ids)
    with app.database.writing() as session:
        studies.delete_image(session, technologist, first.id)
    run_jobs(app)
    assert not app.blobs.has(first.blob)
    assert app.blobs.has(other.blob)
    with app.database.writing() as session:
        series_service.delete_series(session, administrator, other.series_id)
    run_jobs(app)
    with app.database.reading() as session:
        assert session.scalars(select(Image)).all() == []
        assert session.scalars(select(Receipt)).all() == []
        assert session.scalars(select(Series)).all() == []
    assert list(app.blobs.digests()) == []
    with app.database.writing() as session:
        studies.delete_study(session, administrator, first.study_id)
    with app.database.reading() as session:
        assert session.scalars(select(Study)).all() == []


def test_a_whole_study_goes_with_its_images(app: AppContext, administrator: Actor, image_ids: list[str]) -> None:
    study_id = image(app, image_ids[0]).study_id
    with app.database.writing() as session:
        studies.delete_study(session, administrator, study_id)
    run_jobs(app)
    assert list(app.blobs.digests()) == []


def test_what_a_signed_case_names_stays(app: AppContext, administrator: Actor, image_ids: list[str]) -> None:
    row = image(app, image_ids[0])
    with app.database.writing() as session:
        session.execute(update(Image).where(Image.id == row.id).values(locked=True))
    acts: list[Any] = [
        lambda s: studies.delete_image(s, administrator, row.id),
        lambda s: studies.change_image(s, administrator, row.id, 7),
        lambda s: series_service.delete_series(s, administrator, row.series_id),
        lambda s: studies.delete_study(s, administrator, row.study_id),
    ]
    for act in acts:
        with pytest.raises(ImageLocked), app.database.writing() as session:
            act(session)
    assert app.blobs.has(row.blob)


def test_images_change_their_place_and_series_their_description(
    app: AppContext, technologist: Actor, image_ids: list[str]
) -> None:
    with app.database.writing() as session:
        assert studies.change_image(session, technologist, image_ids[0], 9).number == 9
        assert studies.next_number(session, image(app, image_ids[0]).study_id) == 10
    series_id = image(app, image_ids[0]).series_id
    with app.database.writing() as session:
        facts = series_service.change_series(session, technologist, series_id, "feathered edge")
        assert (facts.series.description, facts.contents.images) == ("feathered edge", 2)


def test_who_may_not_and_who_is_elsewhere(
    app: AppContext, people: People, patient_id: str, image_ids: list[str]
) -> None:
    row = image(app, image_ids[0])
    viewer, outsider = people.actor(app, Role.VIEWER), people.outsider(app)
    acts: list[Any] = [
        lambda s, a: studies.change_study(s, a, row.study_id, description="x", fields=None),
        lambda s, a: studies.delete_study(s, a, row.study_id),
        lambda s, a: series_service.change_series(s, a, row.series_id, "x"),
        lambda s, a: series_service.delete_series(s, a, row.series_id),
        lambda s, a: studies.change_image(s, a, row.id, 3),
        lambda s, a: studies.delete_image(s, a, row.id),
        lambda s, a: studies.add_study(s, a, patient_id=patient_id, study_uid="2.25.1", description="", fields={}),
    ]
    for act in acts:
        with pytest.raises(NotAllowed), app.database.writing() as session:
            act(session, viewer)
        with pytest.raises(NotFound), app.database.writing() as session:
            act(session, outsider)
    for error, ask in (
        (StudyNotFound, studies.get_study),
        (SeriesNotFound, series_service.get_series),
        (ImageNotFound, studies.get_image),
    ):
        with pytest.raises(error), app.database.reading() as session:
            ask(session, viewer, "no such id")


def test_a_total_that_is_known_is_believed_unless_there_are_more(
    app: AppContext, technologist: Actor, patient_id: str
) -> None:
    for description in ("one", "two", "three"):
        add(app, technologist, patient_id, description)

    def total(known: int | None, offset: int = 0, limit: int = 1) -> int:
        asked: dict[str, Any] = dict.fromkeys(("project_id", "query", "sort"))
        with app.database.reading() as session:
            return studies.list_studies(
                session,
                technologist,
                patient_id=patient_id,
                field_values={},
                offset=offset,
                limit=limit,
                known_total=known,
                **asked,
            )[1]

    assert [total(None), total(7), total(0), total(7, limit=9), total(2, offset=2)] == [3, 7, 3, 3, 3]


def test_a_value_of_a_field_can_be_taken_away(
    app: AppContext, technologist: Actor, patient_id: str, define: Defining
) -> None:
    define("stain", "text", subject="study")
    study_id = add(app, technologist, patient_id, "x", stain="Giemsa")
    with app.database.writing() as session:
        facts = studies.change_study(session, technologist, study_id, description=None, fields={"stain": None})
    assert facts.study.fields == {}
