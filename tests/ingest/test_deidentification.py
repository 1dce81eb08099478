# SPDX-License-Identifier: Apache-2.0

"""De-identification of arrivals: by a project's profile, pixels too, and by people where there is doubt."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont
from pydicom import dcmread
from sqlalchemy import select

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.errors import Conflict, Invalid, NotAllowed
from medhub.foundation.app_context import AppContext
from medhub.ingest import profile_preview, profiles, quarantine, refusals, release
from medhub.ingest.models import Arrival, Manifest, ManifestLines, ProjectProfile
from medhub.ingest.service import destroy_expired
from medhub.records import isolated_calls, vault
from medhub.records.models import Identity, Image
from medhub.science.deid.profile import read_profile
from tests.factories.accounts import People
from tests.factories.cases import make_patient, upload
from tests.factories.images import in_doubt, photograph
from tests.factories.time import MovableClock

OWN = 'name = "ours"\ntitle = "Our own"\nversion = 1\noptions = ["modified-dates"]\n'


@pytest.fixture
def technologist(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.TECHNOLOGIST)


@pytest.fixture
def administrator(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.ADMINISTRATOR)


@pytest.fixture
def patient_id(app: AppContext, people: People) -> str:
    return make_patient(app, people)


def rows(app: AppContext, table: Any) -> list[Any]:
    with app.database.reading() as session:
        return list(session.scalars(select(table)))


def written(text: str, seed: int = 1) -> bytes:
    """A photograph of cells with a line of writing in it."""
    with Picture.open(io.BytesIO(photograph(seed, size=400))) as picture:
        drawing = ImageDraw.Draw(picture)
        drawing.text((30, 30), text, fill=(10, 10, 10), font=ImageFont.load_default(26))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def choose(app: AppContext, actor: Actor, project_id: str, **choice: Any) -> profiles.ProjectProfileChoice:
    with app.database.writing() as session:
        return profiles.choose_profile(session, actor, project_id, **choice)


def test_a_name_in_a_photograph_is_black_before_anything_is_written(
    app: AppContext, technologist: Actor, patient_id: str
) -> None:
    (outcome,) = upload(app, technologist, patient_id, written("Siti Kowalska 1979"))
    assert outcome.outcome == "accepted", outcome.reason
    (image,) = rows(app, Image)
    frame = isolated_calls.read_stored_frame(app, image.blob)
    assert frame[34:56, 60:200].max() < 12
    assert np.median(frame[200:]) > 60
    (manifest,) = rows(app, Manifest)
    assert (manifest.looked_through, manifest.profile, manifest.profile_version) == ("program", "clinical-photo", 3)
    (_, x0, y0, x1, y1), *_ = manifest.boxes
    assert x0 < 60
    assert x1 > 200
    assert y0 < 40 < y1
    with Picture.open(io.BytesIO(app.blobs.get(image.thumbnail))) as thumbnail:
        assert np.asarray(thumbnail)[22:34, 50:110].max() < 40
    dataset = dcmread(io.BytesIO(app.blobs.get(image.blob)))
    assert dataset.BurnedInAnnotation == "NO"
    assert "113101" in {code.CodeValue for code in dataset.DeidentificationMethodCodeSequence}


def test_a_photograph_without_writing_keeps_its_stream_byte_for_byte(
    app: AppContext, technologist: Actor, patient_id: str
) -> None:
    upload(app, technologist, patient_id, photograph(3))
    (image,) = rows(app, Image)
    (manifest,) = rows(app, Manifest)
    assert (manifest.boxes, manifest.looked_through) == ([], "program")
    content, kind = isolated_calls.read_photograph(app, image.blob)
    assert kind == "image/jpeg"
    with Picture.open(io.BytesIO(content)) as after, Picture.open(io.BytesIO(photograph(3))) as before:
        assert np.array_equal(np.asarray(after), np.asarray(before))


def test_what_is_in_doubt_waits_and_is_released_with_the_boxes_of_a_person(
    app: AppContext, technologist: Actor, patient_id: str
) -> None:
    (outcome,) = upload(app, technologist, patient_id, in_doubt())
    assert outcome.outcome == "quarantined"
    assert "burned into its pixels" in str(outcome.reason)
    (arrival,) = rows(app, Arrival)
    assert (arrival.code, arrival.pathway) == ("writing", None)  # an ultrasound picture is no smear
    pending = release.review_arrival(app, technologist, arrival.id)
    assert (pending.rows, pending.columns, pending.frames) == (96, 96, 1)
    with Picture.open(io.BytesIO(release.render_arrival(app, technologist, arrival.id, 1))) as shown:
        assert shown.size == (96, 96)
    released = release.release(app, technologist, arrival.id, [(1, 10, 20, 50, 40)], "I looked: one stain, no name.")
    (image,) = rows(app, Image)
    assert (released.outcome, released.image_id) == ("accepted", image.id)
    frame = isolated_calls.read_stored_frame(app, image.blob)
    assert frame[20:40, 10:50].max() == 0
    assert frame[41:, :].mean() > 60
    (arrival,) = rows(app, Arrival)
    assert (arrival.outcome, arrival.image_id, arrival.sealed_bytes) == ("accepted", image.id, None)
    assert (arrival.resolved_by, arrival.note) == ("The technologist", "I looked: one stain, no name.")
    (manifest,) = rows(app, Manifest)
    assert (manifest.looked_through, manifest.boxes) == ("person", [[1, 10, 20, 50, 40]])
    actions = [entry.action for entry in rows(app, AuditEntry)]
    assert {"arrival.read", "arrival.view", "arrival.release"} <= set(actions)
    with pytest.raises(Conflict, match="no longer quarantined"):
        release.release(app, technologist, arrival.id, [], "Again.")
    (repeated,) = upload(app, technologist, patient_id, in_doubt())
    assert repeated.outcome == "duplicate"


def test_a_person_may_find_nothing_and_say_so(app: AppContext, technologist: Actor, patient_id: str) -> None:
    upload(app, technologist, patient_id, in_doubt())
    (arrival,) = rows(app, Arrival)
    with pytest.raises(Invalid, match="Write what you looked at"):
        release.release(app, technologist, arrival.id, [], " ")
    release.release(app, technologist, arrival.id, [], "No writing in it.")
    (image,) = rows(app, Image)
    assert dcmread(io.BytesIO(app.blobs.get(image.blob))).BurnedInAnnotation == "NO"


def test_a_file_that_is_looked_through_again_and_still_in_doubt_stays(
    app: AppContext, technologist: Actor, patient_id: str
) -> None:
    upload(app, technologist, patient_id, in_doubt())
    (arrival,) = rows(app, Arrival)
    with pytest.raises(refusals.PhiReviewNeeded):
        release.release(app, technologist, arrival.id, None, "")
    (arrival,) = rows(app, Arrival)
    assert arrival.outcome == "quarantined"
    assert arrival.sealed_bytes is not None


def test_boxes_outside_of_the_picture_are_refused(app: AppContext, technologist: Actor, patient_id: str) -> None:
    upload(app, technologist, patient_id, in_doubt())
    (arrival,) = rows(app, Arrival)
    for box in ((1, 0, 0, 97, 10), (2, 0, 0, 10, 10), (0, 0, 0, 10, 10), (1, 5, 5, 5, 9)):
        with pytest.raises(Invalid, match="outside of the picture"):
            release.release(app, technologist, arrival.id, [box], "Looked.")


def test_a_file_is_discarded_with_a_note_and_its_bytes_go(
    app: AppContext, technologist: Actor, patient_id: str
) -> None:
    upload(app, technologist, patient_id, in_doubt())
    (arrival,) = rows(app, Arrival)
    with pytest.raises(Invalid), app.database.writing() as session:
        quarantine.discard(session, technologist, arrival.id, " \u2800\u200b")
    with app.database.writing() as session:
        quarantine.discard(session, technologist, arrival.id, "Of another patient.")
    (arrival,) = rows(app, Arrival)
    assert (arrival.outcome, arrival.note, arrival.sealed_bytes) == ("discarded", "Of another patient.", None)
    with pytest.raises(Conflict):
        release.release(app, technologist, arrival.id, [], "Looked.")


def test_physicians_do_not_resolve_files(app: AppContext, people: People, patient_id: str) -> None:
    upload(app, people.actor(app, Role.TECHNOLOGIST), patient_id, in_doubt())
    (arrival,) = rows(app, Arrival)
    with pytest.raises(NotAllowed):
        release.review_arrival(app, people.actor(app, Role.PHYSICIAN), arrival.id)


def test_a_project_chooses_a_profile_and_every_version_is_kept(
    app: AppContext, people: People, administrator: Actor, technologist: Actor, patient_id: str
) -> None:
    project_id = people.project_id
    assert choose(app, administrator, project_id, name="basic").profile.name == "basic"
    upload(app, technologist, patient_id, photograph(1))
    own_profile = choose(app, administrator, project_id, text=OWN)
    upload(app, technologist, patient_id, photograph(2))
    first, second = sorted(rows(app, Manifest), key=lambda manifest: manifest.created_at)
    assert (first.profile, second.profile, second.profile_digest) == ("basic", "ours", own_profile.digest)
    assert [profile.name for profile in rows(app, ProjectProfile)] == ["basic", "ours"]
    datasets = [dcmread(io.BytesIO(app.blobs.get(image.blob))) for image in rows(app, Image)]
    assert {str(dataset.DeidentificationMethod[1]): dataset.StudyDate != "" for dataset in datasets} == {
        "basic 1": False,
        "ours 1": True,
    }
    assert "PatientAge" not in datasets[0]


def test_another_text_needs_another_version(app: AppContext, people: People, administrator: Actor) -> None:
    choose(app, administrator, people.project_id, text=OWN)
    with pytest.raises(Conflict, match="version 2"):
        choose(app, administrator, people.project_id, text=OWN.replace("Our own", "Our other"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "not valid TOML"),
        (OWN.replace("modified-dates", "everything"), "options"),
        (OWN + '[[special]]\nattribute = "PatientName"\naction = "keep"\nreason = "We like it"\n', "who somebody is"),
    ],
)
def test_a_profile_that_cannot_be_used_is_refused_with_the_reason(
    app: AppContext, people: People, administrator: Actor, text: str, words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        choose(app, administrator, people.project_id, text=text)
    with pytest.raises(Invalid, match="There are: basic, clinical-photo"):
        choose(app, administrator, people.project_id, name="all")


def test_technologists_do_not_choose_profiles(app: AppContext, people: People, technologist: Actor) -> None:
    with pytest.raises(NotAllowed):
        choose(app, technologist, people.project_id, name="basic")


def test_what_a_file_says_of_the_person_goes_to_the_vault_only_where_the_project_keeps_it(
    app: AppContext, people: People, administrator: Actor, technologist: Actor
) -> None:
    patient_id = make_patient(app, people, identity=False)

    def vault_identity() -> dict[str, str] | None:
        with app.database.reading() as session:
            return vault.read_identity(app.keys, session.get(Identity, patient_id))

    upload(app, technologist, patient_id, in_doubt(1))
    release.release(app, technologist, rows(app, Arrival)[0].id, [], "Looked.")
    assert not vault_identity()
    choose(app, administrator, people.project_id, name="clinical-photo", keep_identity=True)
    upload(app, technologist, patient_id, in_doubt(2))
    quarantined = next(arrival for arrival in rows(app, Arrival) if arrival.outcome == "quarantined")
    release.release(app, technologist, quarantined.id, [], "Looked.")
    assert vault_identity() == {"name": "Rahman Aisha", "hospital_number": "H-4711"}


def test_the_same_is_done_to_many_images_and_kept_once(app: AppContext, technologist: Actor, patient_id: str) -> None:
    upload(app, technologist, patient_id, photograph(1), photograph(2), photograph(3))
    assert len(rows(app, Manifest)) == 3
    assert len(rows(app, ManifestLines)) == 1


def test_a_preview_tells_what_would_be_done_and_writes_nothing(
    app: AppContext, people: People, technologist: Actor, patient_id: str
) -> None:
    digests = set(app.blobs.digests())
    files = [("a.dcm", in_doubt()), ("b.jpg", photograph(1)), ("c.txt", b"Dear doctor")]
    preview = profile_preview.preview_profile(app, people.project_id, read_profile(OWN), files)
    assert [file.outcome for file in preview.files] == ["quarantined", "cleaned", "quarantined"]
    assert preview.actions["PatientName", "replaced", "table: Z"] == 1
    assert set(app.blobs.digests()) == digests
    assert rows(app, Arrival) == []


def test_bytes_that_wait_longer_than_they_may_are_destroyed(
    app: AppContext, technologist: Actor, patient_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(app, technologist, patient_id, in_doubt())
    MovableClock(monkeypatch).advance(days=app.settings.quarantine_days + 1)
    assert destroy_expired(app) == 1
    (arrival,) = rows(app, Arrival)
    with pytest.raises(Conflict, match="not here any more"):
        release.release(app, technologist, arrival.id, [], "Looked.")
