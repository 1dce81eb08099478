# SPDX-License-Identifier: Apache-2.0
"""Objects without pixels on their way through Medhub: stored, left to people, and never in a reader's way."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom import dcmread
from sqlalchemy import func, select

from medhub.accounts.permissions import Role
from medhub.classification.models import Prediction
from medhub.errors import Conflict, Invalid
from medhub.foundation.app_context import AppContext
from medhub.ingest import release
from medhub.ingest.models import Arrival, Manifest
from medhub.ingest.profiles import choose_profile
from medhub.records.models import Image
from medhub.review import queries, service
from medhub.review.models import Case
from medhub.viewing import service as viewing
from tests.factories import kinds
from tests.factories.accounts import People
from tests.factories.cases import make_patient, run_jobs, upload, use_classifier


@pytest.fixture
def patient_id(app: AppContext, people: People) -> str:
    administrator = people.actor(app, Role.ADMINISTRATOR)
    with app.database.writing() as session:
        choose_profile(session, administrator, people.project_id, name="research-max-utility")
    return make_patient(app, people)


def _of_the_pathway(data: bytes) -> bytes:
    """The object with a modality that the pathway accepts."""
    dataset = dcmread(BytesIO(data))
    dataset.Modality = "GM"
    buffer = BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def test_objects_beside_pictures_wait_for_no_classifier_and_no_verdict(
    app: AppContext, people: People, patient_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    technologist, physician = people.actor(app, Role.TECHNOLOGIST), people.actor(app, Role.PHYSICIAN)
    names = ("report", "ecg", "segmentation", "plan", "float map")
    answers = upload(app, technologist, patient_id, *(_of_the_pathway(kinds.KINDS[name][0]()) for name in names))
    assert [answer.outcome for answer in answers] == ["accepted"] * len(names)
    run_jobs(app)
    with app.database.reading() as session:
        images = {image.shown_as: image for image in session.scalars(select(Image))}
        assert {name: image.state for name, image in images.items()} == {
            **dict.fromkeys(("report", "waveform", "segmentation", "plan"), "archived"),
            "image": "read",
        }
        assert [image.thumbnail for image in images.values() if image.frames == 0] == [None] * 3
        assert session.scalar(select(func.count()).select_from(Prediction)) == 1
        case = session.scalars(select(Case)).one()
        assert service.count_case_images(session, case) == (1, 0, 0)
        wanted = queries.ImageFilter(case_id=case.id)
        shown, total = queries.list_images(session, physician, wanted, sort=None, offset=0, limit=10)
        assert (total, shown[0].image.shown_as) == (1, "image")
    with app.database.writing() as session, pytest.raises(Conflict, match="no picture"):
        service.give_verdict(session, app.settings, physician, images["report"].id, "neutrophil", None)


def test_a_document_waits_until_a_person_has_read_it(app: AppContext, people: People, patient_id: str) -> None:
    (answer,) = upload(app, people.actor(app, Role.TECHNOLOGIST), patient_id, kinds.document())
    assert (answer.outcome, answer.code) == ("quarantined", "writing")
    administrator = people.actor(app, Role.ADMINISTRATOR)
    with app.database.reading() as session:
        arrival_id = session.scalars(select(Arrival.id)).one()
    opened = release.review_arrival(app, administrator, arrival_id)
    assert (opened.shown_as, opened.frames, opened.rows > opened.columns > 0) == ("document", 2, True)
    assert "Left lung" in opened.texts[0]
    assert release.render_arrival(app, administrator, arrival_id, 2)[8:12] == b"WEBP"
    with pytest.raises(Invalid, match="no page 3"):
        release.render_arrival(app, administrator, arrival_id, 3)
    with pytest.raises(Invalid, match="box lies outside"):
        release.release(app, administrator, arrival_id, [(1, 0, 0, 5, 5)], "read")
    released = release.release(app, administrator, arrival_id, [], "I read both pages.")
    with app.database.reading() as session:
        image = session.get_one(Image, released.image_id)
        assert (image.shown_as, image.frames, image.thumbnail) == ("document", 0, None)
        assert session.get_one(Manifest, image.id).looked_through == "person"
    stored = dcmread(BytesIO(app.blobs.get(image.blob)))
    assert stored.BurnedInAnnotation == "NO"
    assert b"Gregory" not in app.blobs.get(image.blob)


def test_what_an_object_holds_is_told_with_what_it_refers_to(app: AppContext, people: People, patient_id: str) -> None:
    technologist = people.actor(app, Role.TECHNOLOGIST)
    segmentation, report = upload(app, technologist, patient_id, kinds.segmentation(), kinds.report())
    with app.database.reading() as session:
        image = session.get_one(Image, report.image_id)
    tree = viewing.content(app, image).tree
    assert tree is not None
    assert tree.children[-1].image_id == segmentation.image_id
