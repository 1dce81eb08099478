# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont
from sqlalchemy import select

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.errors import Conflict, NotAllowed, NotFound
from medhub.foundation.app_context import AppContext
from medhub.foundation.safe_zip import ArchiveRefused
from medhub.records.erasure import erase_patient
from medhub.review import service as review
from medhub.training import datasets
from medhub.training.dataset_contents import NothingToLearn, SingleLabel
from medhub.training.models import DataSet, DataSetRow
from medhub.training.tasks import delete_orphaned_pictures
from tests.factories.accounts import People
from tests.factories.colors import COLORS, bring_in, packed, picture, sign_case
from tests.factories.images import in_doubt


def make(app: AppContext, actor: Actor, project_id: str, name: str | None = None) -> DataSet:
    with app.database.writing() as session:
        return datasets.make_from_verdicts(session, app, actor, project_id=project_id, pathway=COLORS, name=name)


def rows_of(app: AppContext, dataset_id: str) -> list[DataSetRow]:
    with app.database.reading() as session:
        chosen = select(DataSetRow).where(DataSetRow.dataset_id == dataset_id).order_by(DataSetRow.number)
        return list(session.scalars(chosen))


def test_a_version_holds_what_was_signed_and_says_who_says_so(
    app: AppContext, people: People, researcher: Actor
) -> None:
    signed = sign_case(app, people, {"red": "red", "green": "green", "blue": "gray"}, 1)
    waiting = sign_case(app, people, ["red", "green"], 2)
    bring_in(app, people, waiting.patient_id, picture("red", 77))  # of an open case: nobody has said anything
    dataset = make(app, researcher, people.project_id)
    assert (dataset.name, dataset.version, dataset.origin, dataset.images) == (COLORS, 1, "verdicts", 4)
    assert dataset.left_out == {"not counted": 1}
    assert {label: sum(parts.values()) for label, parts in dataset.counts.items()} == {"red": 2, "green": 2}
    rows = rows_of(app, dataset.id)
    assert {row.image_id for row in rows} == {*signed.image_ids[:2], *waiting.image_ids}
    (first,) = [row for row in rows if row.image_id == signed.image_ids[0]]
    assert (first.label, first.patient_id, first.case_id, first.case_version) == (
        "red",
        signed.patient_id,
        signed.case_id,
        1,
    )
    assert first.labeled_by == "The physician"
    assert first.labeled_at is not None
    with app.database.reading() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "dataset.create")).one()
    assert (entry.object_id, entry.actor, entry.project_id) == (dataset.id, "The researcher", people.project_id)


def test_a_case_under_correction_is_left_out_and_its_newer_version_counts(
    app: AppContext, people: People, researcher: Actor
) -> None:
    sign_case(app, people, ["red", "green"], 1)
    doubted = sign_case(app, people, ["red", "green"], 2)
    physician = people.actor(app, Role.PHYSICIAN)
    with app.database.writing() as session:
        newer = review.correct_case(session, app.settings, physician, doubted.case_id, "Image 1 is green.").id
    between = make(app, researcher, people.project_id)
    assert (between.images, between.left_out) == (2, {"under correction": 2})
    with app.database.writing() as session:
        review.give_verdict(session, app.settings, physician, doubted.image_ids[0], "green", None)
        session.flush()
        review.sign_case(session, app.settings, physician, newer, None)
    after = make(app, researcher, people.project_id)
    assert (after.version, after.images, after.left_out) == (2, 4, {})
    (row,) = [row for row in rows_of(app, after.id) if row.image_id == doubted.image_ids[0]]
    assert (row.label, row.case_id, row.case_version) == ("green", newer, 2)


def test_a_later_version_never_moves_a_patient(app: AppContext, people: People, researcher: Actor) -> None:
    for seed in range(5):
        sign_case(app, people, ["red", "green"], seed)
    first = {row.patient_id: row.part for row in rows_of(app, make(app, researcher, people.project_id).id)}
    for seed in range(5, 9):
        sign_case(app, people, ["red", "blue"], seed)
    later = rows_of(app, make(app, researcher, people.project_id).id)
    assert len({row.patient_id for row in later}) == 9
    assert {(row.patient_id, row.part) for row in later if row.patient_id in first} == set(first.items())
    assert all(len({r.part for r in later if r.patient_id == row.patient_id}) == 1 for row in later)


def test_the_same_verdicts_have_the_same_digest(app: AppContext, people: People, researcher: Actor) -> None:
    sign_case(app, people, ["red", "green"], 1)
    row, two = make(app, researcher, people.project_id), make(app, researcher, people.project_id, "other")
    assert row.digest == two.digest
    sign_case(app, people, ["red"], 2)
    assert make(app, researcher, people.project_id).digest != row.digest


def test_an_erased_patients_images_vanish_and_the_version_says_so(
    app: AppContext, people: People, researcher: Actor, administrator: Actor
) -> None:
    remaining, gone = sign_case(app, people, ["red", "green"], 1), sign_case(app, people, ["red", "green"], 2)
    dataset = make(app, researcher, people.project_id)
    with app.database.writing() as session:
        erase_patient(session, app, administrator, gone.patient_id)
    with app.database.reading() as session:
        assert datasets.count_erased(session, [dataset.id]) == {dataset.id: 2}
        files = datasets.files_of(session, dataset.id)
        facts = datasets.list_rows(session, dataset, offset=0, limit=10)
        assert session.get_one(DataSet, dataset.id).digest == dataset.digest
    assert {file.group for file in files} == {remaining.patient_id}
    text = str([[vars(row.row), row.patient_code] for row in facts])
    assert gone.patient_id not in text
    assert not [image_id for image_id in gone.image_ids if image_id in text]


def test_nothing_signed_makes_no_version(app: AppContext, people: People, researcher: Actor) -> None:
    with pytest.raises(NothingToLearn):
        make(app, researcher, people.project_id)
    sign_case(app, people, ["red"], 1)
    with pytest.raises(SingleLabel):
        make(app, researcher, people.project_id)
    with app.database.reading() as session:
        assert session.scalars(select(DataSet)).all() == []


def test_who_may_make_and_see_a_version(app: AppContext, people: People, researcher: Actor) -> None:
    sign_case(app, people, ["red", "green"], 1)
    with pytest.raises(NotAllowed):
        make(app, people.actor(app, Role.PHYSICIAN), people.project_id)
    with pytest.raises(NotFound):
        make(app, people.outsider(app), people.project_id)
    dataset = make(app, researcher, people.project_id)
    with app.database.reading() as session:
        with pytest.raises(NotFound):
            datasets.get_dataset(session, people.outsider(app), dataset.id)
        given = {"project_id": None, "query": None, "sort": None, "offset": 0, "limit": 10}
        assert datasets.list_datasets(session, people.outsider(app), **given)[1] == 0  # type: ignore[arg-type]
        assert datasets.list_datasets(session, researcher, **given)[1] == 1  # type: ignore[arg-type]


# Uploaded.


def test_an_uploaded_version_keeps_pixels_and_nothing_else(
    app: AppContext, people: People, researcher: Actor, caplog: pytest.LogCaptureFixture
) -> None:
    secret = Picture.Exif()
    secret[0x010E] = "Siti binti Abdullah"
    buffer = io.BytesIO()
    Picture.open(io.BytesIO(picture("red", 1))).save(buffer, "JPEG", exif=secret)
    listed = "path,label,group\nSiti_H-100234.jpg,red,H-100234\nb.png,green,H-100234\nc.png,blue,H-9\nd.png,blue,H-9\n"
    data = packed(
        {
            "labels.csv": listed.encode(),
            "Siti_H-100234.jpg": buffer.getvalue(),
            "b.png": picture("green", 2),
            "c.png": picture("blue", 3),
            "d.png": b"no picture",
        }
    )
    dataset_id = datasets.make_from_zip(app, researcher, project_id=people.project_id, name="bench", data=data)
    rows = rows_of(app, dataset_id)
    assert [row.label for row in rows] == ["red", "green", "blue"]
    assert rows[0].group_key == rows[1].group_key != rows[2].group_key
    assert rows[0].part == rows[1].part
    with app.database.reading() as session:
        dataset = session.get_one(DataSet, dataset_id)
        assert (dataset.origin, dataset.images, dataset.left_out) == ("uploaded", 3, {"unreadable": 1})
        files = datasets.files_of(session, dataset_id)
    stored = [path for path in (app.settings.data / "datasets").rglob("*") if path.is_file()]
    assert {path.name for path in stored} == {file.blob for file in files}
    for path in stored:
        with Picture.open(path) as opened:
            assert (opened.format, opened.info) == ("PNG", {})
    content = b"".join(path.read_bytes() for path in app.settings.data.rglob("*") if path.is_file())
    assert b"Siti" not in content
    assert b"H-100234" not in content


def test_the_same_picture_counts_once_and_a_disputed_one_not_at_all(
    app: AppContext, people: People, researcher: Actor
) -> None:
    red, green, both = picture("red", 1), picture("green", 2), picture("blue", 3)
    data = packed({"red/1.png": red, "red/2.png": red, "green/1.png": green, "red/3.png": both, "green/3.png": both})
    dataset_id = datasets.make_from_zip(app, researcher, project_id=people.project_id, name="bench", data=data)
    with app.database.reading() as session:
        dataset = session.get_one(DataSet, dataset_id)
    assert dataset.images == 2
    assert dataset.left_out == {"the same picture again": 1, "the same picture under another label": 2}


def test_writing_in_uploaded_pictures_is_black_before_they_are_kept(
    app: AppContext, people: People, researcher: Actor
) -> None:
    files = {"red/1.png": named("KOWALSKA 1979"), "red/2.dcm": in_doubt(), "green/1.png": picture("green", 1)}
    dataset_id = datasets.make_from_zip(app, researcher, project_id=people.project_id, name="ours", data=packed(files))
    with app.database.reading() as session:
        dataset = session.get_one(DataSet, dataset_id)
        stored = session.scalars(
            select(DataSetRow.content).where(DataSetRow.dataset_id == dataset_id, DataSetRow.label == "red")
        ).one()
    assert (dataset.images, dataset.left_out) == (2, {"with writing that a person must see": 1})
    assert stored is not None
    with Picture.open(io.BytesIO(datasets.pictures_of(app.settings).get(stored))) as shown:
        assert np.asarray(shown)[64:84, 125:250].max() <= 30


def named(words: str) -> bytes:
    """A grey picture with a line of writing."""
    shown = Picture.fromarray(np.full((400, 500), 30, np.uint8))
    ImageDraw.Draw(shown).text((120, 60), words, fill=230, font=ImageFont.load_default(28))
    buffer = io.BytesIO()
    shown.save(buffer, "PNG")
    return buffer.getvalue()


def test_what_is_refused_leaves_nothing(app: AppContext, people: People, researcher: Actor) -> None:
    good = {"red/1.png": picture("red", 1), "green/1.png": picture("green", 1)}
    datasets.make_from_zip(app, researcher, project_id=people.project_id, name="good", data=packed(good))
    folder = app.settings.data / "datasets"
    before = sorted(path for path in folder.rglob("*") if path.is_file())
    broken = packed({**good, "blue/1.png": picture("blue", 1), "../x.png": b""})
    for data, error in ((broken, ArchiveRefused), (packed({"red/9.png": picture("red", 9)}), SingleLabel)):
        with pytest.raises(error):
            datasets.make_from_zip(app, researcher, project_id=people.project_id, name="bad", data=data)
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == before
    with app.database.reading() as session:
        assert [row.name for row in session.scalars(select(DataSet))] == ["good"]
        assert len(datasets.files_of(session, session.scalars(select(DataSet.id)).one())) == 2


def test_one_archive_is_read_at_a_time(app: AppContext, people: People, researcher: Actor) -> None:
    with datasets._zip_lock, pytest.raises(Conflict, match="Another ZIP"):
        datasets.make_from_zip(app, researcher, project_id=people.project_id, name="x", data=b"")


def test_pictures_without_a_row_are_destroyed(app: AppContext, people: People, researcher: Actor) -> None:
    data = packed({"red/1.png": picture("red", 1), "green/1.png": picture("green", 1)})
    datasets.make_from_zip(app, researcher, project_id=people.project_id, name="good", data=data)
    store = datasets.pictures_of(app.settings)
    lost = store.put(b"written before the server died")
    assert delete_orphaned_pictures(app) == 0  # it may be of an upload that is at work
    assert delete_orphaned_pictures(app, older_than_s=-1) == 1
    assert not store.has(lost)
    assert len(list(store.digests(older_than_s=-1))) == 2


def test_the_folder_of_pictures_is_the_owners_alone(app: AppContext, people: People, researcher: Actor) -> None:
    data = packed({"red/1.png": picture("red", 1), "green/1.png": picture("green", 1)})
    datasets.make_from_zip(app, researcher, project_id=people.project_id, name="good", data=data)
    files = [path for path in Path(app.settings.data / "datasets").rglob("*") if path.is_file()]
    assert {oct(path.stat().st_mode & 0o077) for path in files} == {"0o0"}
