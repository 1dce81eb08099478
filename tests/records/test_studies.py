# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.errors import NotAllowed, NotFound
from medhub.foundation.installation import Installation
from medhub.ingest.models import Receipt
from medhub.records import studies
from medhub.records.fields import FieldInvalid
from medhub.records.models import Image, Series, Study
from medhub.records.studies import ImageLocked, ImageNotFound, SeriesNotFound, StudyNotFound
from tests.factories.accounts import People
from tests.factories.cases import make_patient, run_jobs, upload, use_classifier
from tests.factories.images import photograph
from tests.records.conftest import Defining


@pytest.fixture
def patient_id(house: Installation, people: People) -> str:
    return make_patient(house, people)


@pytest.fixture
def image_ids(house: Installation, technologist: Actor, patient_id: str) -> list[str]:
    """Two images of one study."""
    return [str(a.image_id) for a in upload(house, technologist, patient_id, photograph(1), photograph(2))]


def image(house: Installation, image_id: str) -> Image:
    with house.database.reading() as session:
        return session.get_one(Image, image_id)


def listed(house: Installation, actor: Actor, **wanted: Any) -> list[str]:
    asked: dict[str, Any] = {
        **dict.fromkeys(("patient_id", "project_id", "query", "sort")),
        "field_values": {},
        "offset": 0,
        "limit": 50,
        **wanted,
    }
    with house.database.reading() as session:
        page, total = studies.list_studies(session, actor, **asked)
        assert total == len(page)
        return [facts.study.description for facts in page]


def add(house: Installation, actor: Actor, patient_id: str, description: str, **fields: Any) -> str:
    with house.database.writing() as session:
        return studies.add_study(
            session,
            actor,
            patient_id=patient_id,
            study_uid=f"2.25.{abs(hash(description))}",
            description=description,
            fields=fields,
        ).id


def test_studies_are_added_found_sorted_and_changed(
    house: Installation, people: People, technologist: Actor, patient_id: str
) -> None:
    first = add(house, technologist, patient_id, "Étude one")
    add(house, technologist, make_patient(house, people), "second")
    assert listed(house, technologist) == ["second", "Étude one"]
    assert listed(house, technologist, sort="description") == ["second", "Étude one"]
    assert listed(house, technologist, patient_id=patient_id) == ["Étude one"]
    assert listed(house, technologist, query="éTUDE") == ["Étude one"]
    assert listed(house, technologist, query="%") == []
    assert listed(house, people.outsider(house)) == []
    with house.database.writing() as session:
        facts = studies.change_study(session, technologist, first, description="changed", fields=None)
        assert (facts.study.description, facts.contents.images, facts.contents.modality) == ("changed", 0, None)


def test_a_studys_own_fields_are_checked(
    house: Installation, technologist: Actor, patient_id: str, define: Defining
) -> None:
    define("stain", "choice", choices=["Wright", "Giemsa"], subject="study", required=True)
    with pytest.raises(FieldInvalid, match="is required"):
        add(house, technologist, patient_id, "x")
    study_id = add(house, technologist, patient_id, "x", stain="Giemsa")
    with pytest.raises(FieldInvalid, match="one of: Wright, Giemsa"), house.database.writing() as session:
        studies.change_study(session, technologist, study_id, description=None, fields={"stain": "none"})
    assert listed(house, technologist, query="giem") == ["x"]


def test_a_study_tells_how_many_images_it_has(house: Installation, technologist: Actor, image_ids: list[str]) -> None:
    study_id = image(house, image_ids[0]).study_id
    with house.database.reading() as session:
        facts = studies.read_study(session, technologist, study_id)
    inside = facts.contents
    assert (inside.images, inside.modality, inside.series, inside.locked) == (2, "GM", 1, False)
    assert inside.cover_id == image_ids[0]
    with house.database.reading() as session:
        found, total = studies.list_series(session, technologist, study_id=study_id, offset=0, limit=9)
    assert ([facts.contents.images for facts in found], total) == ([2], 1)


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "modality"])
def test_pages_of_series_fit_together_though_far_ones_are_read_from_their_end(
    house: Installation, technologist: Actor, image_ids: list[str], monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    monkeypatch.setattr("medhub.foundation.listing.FAR", 0)
    study_id = image(house, image_ids[0]).study_id
    with house.database.writing() as session:
        for modality in ("XC", "GM", "XC"):
            studies.add_series(session, technologist, study_id=study_id, modality=modality, description="")

    def page(offset: int, limit: int) -> list[str]:
        with house.database.reading() as session:
            found, total = studies.list_series(
                session, technologist, study_id=None, sort=sort, offset=offset, limit=limit
            )
            assert total == 4
            return [facts.series.id for facts in found]

    whole = page(0, 9)
    assert [page(offset, 2) for offset in range(6)] == [whole[offset : offset + 2] for offset in range(6)]


def test_deleting_takes_rows_and_bytes(
    house: Installation,
    administrator: Actor,
    technologist: Actor,
    image_ids: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_classifier(monkeypatch)
    run_jobs(house)
    one, other = (image(house, image_id) for image_id in image_ids)
    with house.database.writing() as session:
        studies.delete_image(session, technologist, one.id)
    run_jobs(house)
    assert not house.blobs.has(one.blob)
    assert house.blobs.has(other.blob)
    with house.database.writing() as session:
        studies.delete_series(session, administrator, other.series_id)
    run_jobs(house)
    with house.database.reading() as session:
        assert session.scalars(select(Image)).all() == []
        assert session.scalars(select(Receipt)).all() == []
        assert session.scalars(select(Series)).all() == []
    assert list(house.blobs.digests()) == []
    with house.database.writing() as session:
        studies.delete_study(session, administrator, one.study_id)
    with house.database.reading() as session:
        assert session.scalars(select(Study)).all() == []


def test_a_whole_study_goes_with_its_images(house: Installation, administrator: Actor, image_ids: list[str]) -> None:
    study_id = image(house, image_ids[0]).study_id
    with house.database.writing() as session:
        studies.delete_study(session, administrator, study_id)
    run_jobs(house)
    assert list(house.blobs.digests()) == []


def test_what_a_signed_case_names_stays(house: Installation, administrator: Actor, image_ids: list[str]) -> None:
    row = image(house, image_ids[0])
    with house.database.writing() as session:
        session.execute(update(Image).where(Image.id == row.id).values(locked=True))
    acts: list[Any] = [
        lambda s: studies.delete_image(s, administrator, row.id),
        lambda s: studies.change_image(s, administrator, row.id, 7),
        lambda s: studies.delete_series(s, administrator, row.series_id),
        lambda s: studies.delete_study(s, administrator, row.study_id),
    ]
    for act in acts:
        with pytest.raises(ImageLocked), house.database.writing() as session:
            act(session)
    assert house.blobs.has(row.blob)


def test_images_change_their_place_and_series_their_description(
    house: Installation, technologist: Actor, image_ids: list[str]
) -> None:
    with house.database.writing() as session:
        assert studies.change_image(session, technologist, image_ids[0], 9).number == 9
        assert studies.next_number(session, image(house, image_ids[0]).study_id) == 10
    series_id = image(house, image_ids[0]).series_id
    with house.database.writing() as session:
        facts = studies.change_series(session, technologist, series_id, "feathered edge")
        assert (facts.series.description, facts.contents.images) == ("feathered edge", 2)


def test_who_may_not_and_who_is_elsewhere(
    house: Installation, people: People, patient_id: str, image_ids: list[str]
) -> None:
    row = image(house, image_ids[0])
    viewer, outsider = people.actor(house, Role.VIEWER), people.outsider(house)
    acts: list[Any] = [
        lambda s, a: studies.change_study(s, a, row.study_id, description="x", fields=None),
        lambda s, a: studies.delete_study(s, a, row.study_id),
        lambda s, a: studies.change_series(s, a, row.series_id, "x"),
        lambda s, a: studies.delete_series(s, a, row.series_id),
        lambda s, a: studies.change_image(s, a, row.id, 3),
        lambda s, a: studies.delete_image(s, a, row.id),
        lambda s, a: studies.add_study(s, a, patient_id=patient_id, study_uid="2.25.1", description="", fields={}),
    ]
    for act in acts:
        with pytest.raises(NotAllowed), house.database.writing() as session:
            act(session, viewer)
        with pytest.raises(NotFound), house.database.writing() as session:
            act(session, outsider)
    for error, ask in (
        (StudyNotFound, studies.get_study),
        (SeriesNotFound, studies.get_series),
        (ImageNotFound, studies.get_image),
    ):
        with pytest.raises(error), house.database.reading() as session:
            ask(session, viewer, "no such id")


def test_a_total_that_is_known_is_believed_unless_there_are_more(
    house: Installation, technologist: Actor, patient_id: str
) -> None:
    for description in ("one", "two", "three"):
        add(house, technologist, patient_id, description)

    def total(known: int | None, offset: int = 0, limit: int = 1) -> int:
        asked: dict[str, Any] = dict.fromkeys(("project_id", "query", "sort"))
        with house.database.reading() as session:
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
    house: Installation, technologist: Actor, patient_id: str, define: Defining
) -> None:
    define("stain", "text", subject="study")
    study_id = add(house, technologist, patient_id, "x", stain="Giemsa")
    with house.database.writing() as session:
        facts = studies.change_study(session, technologist, study_id, description=None, fields={"stain": None})
    assert facts.study.fields == {}
