# SPDX-License-Identifier: Apache-2.0
"""A write that is based on an earlier state of an object is refused, with the present state in the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from medhub.foundation.app_context import AppContext
from tests.factories.accounts import People
from tests.factories.cases import make_case, make_patient, use_classifier

ClientOf = Callable[[str], TestClient]


@pytest.fixture
def physician(client: ClientOf) -> TestClient:
    return client("physician")


def check_stale_write(api: TestClient, path: str, changes: list[dict[str, Any]], member: str) -> None:
    """Two people open the same object; the second to save is refused and gets what the first has saved."""
    opened = api.get(path).json()
    tag = {"If-Match": f'"{opened["etag"]}"'}
    assert api.patch(path, json=changes[0], headers=tag).status_code == 200
    refused = api.patch(path, json=changes[1], headers=tag)
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"
    problem = refused.json()
    assert problem["code"] == "stale"
    assert problem["current"] == api.get(path).json()
    assert problem["current"][member] == changes[0][member]
    again = {"If-Match": problem["current"]["etag"]}
    assert api.patch(path, json=changes[1], headers=again).json()[member] == changes[1][member]
    assert api.patch(path, json=changes[0]).status_code == 200


def test_a_patient(app: AppContext, people: People, client: ClientOf) -> None:
    path = f"/api/patients/{make_patient(app, people)}"
    check_stale_write(client("technologist"), path, [{"sex": "M"}, {"sex": "O"}], "sex")
    api = client("technologist")
    opened = api.get(path).json()
    assert api.patch(path, json={"identity": {"name": "Aminah"}}, headers={"If-Match": opened["etag"]}).is_success
    refused = api.patch(path, json={"sex": "M"}, headers={"If-Match": opened["etag"]})
    assert refused.json()["current"]["identity"]["name"] == "Aminah"


def test_a_study(app: AppContext, people: People, client: ClientOf) -> None:
    api = client("technologist")
    body = {"patient_id": make_patient(app, people), "description": "Smear"}
    study = api.post("/api/studies", json=body).json()
    check_stale_write(api, f"/api/studies/{study['id']}", [{"description": "A"}, {"description": "B"}], "description")


def test_a_field(people: People, client: ClientOf) -> None:
    api = client("administrator")
    body = {"project_id": people.project_id, "subject": "patient", "key": "ward", "label": "Ward", "kind": "text"}
    field = api.post("/api/fields", json=body).json()
    path = f"/api/fields/{field['id']}"
    assert api.patch(path, json={"label": "A"}, headers={"If-Match": field["etag"]}).status_code == 200
    refused = api.patch(path, json={"label": "B"}, headers={"If-Match": field["etag"]})
    assert (refused.status_code, refused.json()["current"]["label"]) == (409, "A")


def test_verdict_signature_and_correction(
    app: AppContext, people: People, physician: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    case_id, (image_id,) = make_case(app, people, make_patient(app, people), images=1)
    image, case = physician.get(f"/api/images/{image_id}").json(), f"/api/cases/{case_id}"
    path, tag = f"/api/images/{image_id}/verdict", {"If-Match": image["etag"]}
    given = physician.put(path, json={"label": "basophil", "note": "Dark."}, headers=tag).json()
    assert given["etag"] != image["etag"]
    refused = physician.put(path, json={"label": "monocyte"}, headers=tag)
    assert refused.status_code == 409
    assert refused.json()["current"]["verdict"] == given["verdict"]
    assert physician.delete(path, headers=tag).status_code == 409
    assert physician.get("/api/images").json()["items"][0]["etag"] == given["etag"]

    opened = physician.get(case).json()
    physician.put(path, json={"label": "monocyte"}, headers={"If-Match": given["etag"]}).raise_for_status()
    refused = physician.post(f"{case}/sign", json={"note": "Seen."}, headers={"If-Match": opened["etag"]})
    assert refused.status_code == 409
    assert refused.json()["current"]["images_list"][0]["verdict"]["label"] == "monocyte"
    now = {"If-Match": refused.json()["current"]["etag"]}
    signed = physician.post(f"{case}/sign", json={"note": "Seen."}, headers=now)
    assert (signed.status_code, signed.json()["sign_note"]) == (200, "Seen.")
    assert physician.post(f"{case}/correct", json={"reason": "Wrong."}, headers=now).status_code == 409
    now = {"If-Match": signed.json()["etag"]}
    assert physician.post(f"{case}/correct", json={"reason": "Wrong."}, headers=now).status_code == 201


def test_a_required_note_of_invisible_characters_is_refused(
    app: AppContext, people: People, physician: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch, 0.6)
    _, (image_id,) = make_case(app, people, make_patient(app, people), images=1)
    body = {"label": "monocyte", "note": "\u200b\u3164\u2800"}
    refused = physician.put(f"/api/images/{image_id}/verdict", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "note-required")


def test_images_are_read_by_cursor(
    app: AppContext, people: People, physician: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_classifier(monkeypatch)
    _, image_ids = make_case(app, people, make_patient(app, people), images=5)
    query: dict[str, Any] = {"verified": False, "page_size": 2}
    seen: list[str] = []
    for _ in range(3):
        page = physician.get("/api/images", params=query).json()
        for image in page["items"]:
            seen.append(image["id"])
            physician.put(f"/api/images/{image['id']}/verdict", json={"label": "neutrophil"}).raise_for_status()
        query["cursor"] = page["next_cursor"]
    assert (seen, query["cursor"]) == (image_ids, None)
    for wrong in ("cursor=?", "cursor=WzEsMl0=&sort=number", "cursor=WzEsMl0=&page=2"):
        assert physician.get(f"/api/images?{wrong}").status_code == 422
