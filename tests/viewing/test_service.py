# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture
from sqlalchemy import select

from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.entrypoints.web import create_app
from medhub.foundation.app_context import AppContext
from medhub.foundation.http_caching import ByteCache
from medhub.records import isolated_calls
from medhub.records.models import Image
from medhub.viewing import service
from medhub.viewing.service import SIZES, round_size
from tests.factories.accounts import People, client_of
from tests.factories.cases import make_patient, upload
from tests.factories.images import photograph


@pytest.fixture(autouse=True)
def _empty_picture_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_pictures", ByteCache(2**20))


def bring(app: AppContext, people: People, data: bytes) -> str:
    technologist = people.actor(app, Role.TECHNOLOGIST)
    (answer,) = upload(app, technologist, make_patient(app, people), data)
    return str(answer.image_id)


@pytest.fixture
def viewer(app: AppContext, people: People) -> TestClient:
    return client_of(create_app(app, run_jobs=False), app, f"{Role.VIEWER}@lab.example")


def row(app: AppContext, image_id: str) -> Image:
    with app.database.reading() as session:
        return session.get_one(Image, image_id)


def decoded(content: bytes) -> Any:
    with Picture.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.int16)


@given(st.integers(1, 6000))
def test_a_size_is_rounded_up_to_one_of_few(size: int) -> None:
    step = round_size(size)
    assert step in SIZES
    assert step >= size or step == SIZES[-1]
    assert all(smaller < size for smaller in SIZES if smaller < step)


def test_the_thumbnail_is_the_one_that_was_made_on_arrival(
    app: AppContext, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = row(app, bring(app, people, photograph(1)))

    def never(*_: object) -> None:
        raise AssertionError("nothing needs to be decoded")

    monkeypatch.setattr(isolated_calls, "render_stored", never)
    assert service.rendition(app, image, 256, 0) == app.blobs.get(str(image.thumbnail))


def test_a_rendition_is_made_once_and_kept_ready(
    app: AppContext, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = row(app, bring(app, people, photograph(1, size=300)))
    rendered = []
    rendition = isolated_calls.render_stored

    def noted(*given: Any) -> bytes:
        rendered.append(given)
        return rendition(*given)

    monkeypatch.setattr(isolated_calls, "render_stored", noted)
    first = service.rendition(app, image, 128, 0)
    assert service.rendition(app, image, 128, 0) == first
    assert len(rendered) == 1
    assert max(decoded(first).shape) == 128


def test_a_rendition_is_never_larger_than_the_image(app: AppContext, people: People, viewer: TestClient) -> None:
    image_id = bring(app, people, photograph(1, size=300))
    for size, side in ((16, 64), (64, 64), (65, 128), (512, 300), (4096, 300)):
        answer = viewer.get(f"/api/images/{image_id}/rendered", params={"size": size})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
        assert max(decoded(answer.content).shape[:2]) == side


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "BMP"])
def test_the_original_has_the_pixels_that_came(app: AppContext, people: People, viewer: TestClient, form: str) -> None:
    data = photograph(3, form=form)
    answer = viewer.get(f"/api/images/{bring(app, people, data)}/original")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == ("image/jpeg" if form == "JPEG" else "image/png")
    assert np.array_equal(decoded(answer.content), decoded(data))


def test_both_ways_to_the_original_give_the_same_bytes(app: AppContext, people: People) -> None:
    """The short way reads the JPEG stream from its place in the file, the long one decodes the file in a process."""
    for seed in range(3):
        image = row(app, bring(app, people, photograph(seed, size=96 + seed)))
        file_range = service.find_photograph(app, image)
        assert file_range is not None
        stream = file_range.path.read_bytes()[file_range.start : file_range.start + file_range.length]
        assert (stream, "image/jpeg") == isolated_calls.read_photograph(app, image.blob)


def test_the_stored_dicom_file_can_be_had_too(app: AppContext, people: People, viewer: TestClient) -> None:
    image_id = bring(app, people, photograph(1))
    answer = viewer.get(f"/api/images/{image_id}/original", params={"form": "dicom"})
    assert answer.headers["content-type"] == "application/dicom"
    assert answer.content == app.blobs.get(row(app, image_id).blob)
    assert answer.headers["content-disposition"] == f'attachment; filename="{image_id}.dcm"'


@pytest.mark.parametrize("what", ["rendered", "original", "original?form=dicom"])
def test_a_browser_that_has_it_gets_no_bytes_again_and_the_look_is_recorded_all_the_same(
    app: AppContext, people: People, viewer: TestClient, what: str
) -> None:
    image_id = bring(app, people, photograph(1))
    first = viewer.get(f"/api/images/{image_id}/{what}")
    assert first.headers["cache-control"] == "private, max-age=60, must-revalidate"
    assert "private" in first.headers["cache-control"]
    again = viewer.get(f"/api/images/{image_id}/{what}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    with app.database.reading() as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.action == "image.view")).all()
    assert len(entries) == 2
    assert {(entry.object_id, entry.actor) for entry in entries} == {(image_id, "The viewer")}


def test_each_size_and_form_has_a_tag_of_its_own(app: AppContext, people: People, viewer: TestClient) -> None:
    first, other = bring(app, people, photograph(1)), bring(app, people, photograph(2))
    addresses = [
        f"/api/images/{image_id}/{what}"
        for image_id in (first, other)
        for what in ("rendered?size=64", "rendered?size=1024", "original", "original?form=dicom")
    ]
    assert len({viewer.get(address).headers["etag"] for address in addresses}) == len(addresses)


def test_a_frame_that_there_is_not_is_told_so(app: AppContext, people: People, viewer: TestClient) -> None:
    image_id = bring(app, people, photograph(1))
    answer = viewer.get(f"/api/images/{image_id}/rendered", params={"frame": 1})
    assert answer.status_code == 422
    assert "1 frames, numbered from 0" in answer.json()["detail"]


def test_an_image_whose_file_is_missing_is_told_as_that(app: AppContext, people: People, viewer: TestClient) -> None:
    image_id = bring(app, people, photograph(1))
    app.blobs.delete(row(app, image_id).blob)
    for what in ("rendered?size=64", "original", "original?form=dicom"):
        answer = viewer.get(f"/api/images/{image_id}/{what}")
        assert answer.status_code == 404
        assert "backup" in answer.json()["detail"]
