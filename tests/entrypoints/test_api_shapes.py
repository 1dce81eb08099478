# SPDX-License-Identifier: Apache-2.0
"""The shapes that clients rely on, and what every answer carries."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from medhub import __version__
from medhub.accounts.permissions import Role, permitted_actions
from medhub.entrypoints.problems import MEDIA_TYPE
from medhub.foundation.app_context import AppContext
from medhub.reports.certificate import derive_credentials
from medhub.reports.facts import facts_digest
from medhub.reports.verification import verify_report
from medhub.reports.verification_result import TrustedKeys
from tests.entrypoints.conftest import ClientOf
from tests.factories.accounts import PASSWORD, People
from tests.factories.cases import LABELS, PATHWAY, run_jobs, use_classifier
from tests.factories.images import photograph

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def register(client: TestClient, **given: Any) -> dict[str, Any]:
    body = {"sex": "F", "birth_year": 1980, "fields": {}, "identity": {"name": "Siti binti Abdullah"}} | given
    answer = client.post("/api/patients", json=body)
    assert answer.status_code == 201, answer.text
    patient: dict[str, Any] = answer.json()
    return patient


def send(client: TestClient, patient_id: str, *files: tuple[str, bytes]) -> list[dict[str, Any]]:
    answer = client.post(
        "/api/images",
        data={"patient_id": patient_id, "pathway": PATHWAY},
        files=[("files", (name, data, "application/octet-stream")) for name, data in files],
    )
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


@pytest.fixture
def image_id(client: ClientOf, app: AppContext, monkeypatch: pytest.MonkeyPatch) -> str:
    """An image that the classifier has read."""
    use_classifier(monkeypatch)
    technologist = client("technologist")
    (item,) = send(technologist, register(technologist)["id"], ("a.jpg", photograph(1)))
    run_jobs(app)
    identifier: str = item["image_id"]
    return identifier


def test_a_list_is_a_page(client: ClientOf) -> None:
    technologist = client("technologist")
    for _ in range(3):
        register(technologist)
    page = technologist.get("/api/patients?page=2&page_size=2").json()
    assert set(page) == {"items", "total", "page", "page_size"}
    assert (len(page["items"]), page["total"], page["page"], page["page_size"]) == (1, 3, 2, 2)
    assert technologist.get("/api/patients").json()["page_size"] == 50


def test_a_patient_is_made_from_sex_birth_year_fields_and_identity(client: ClientOf) -> None:
    administrator, researcher = client("administrator"), client("researcher")
    field = {"subject": "patient", "key": "haemoglobin", "label": "Hb", "kind": "decimal", "unit": "g/dL"}
    assert administrator.post("/api/fields", json=field).status_code == 201
    created = register(administrator, fields={"haemoglobin": 11.9})
    assert re.fullmatch(r"P-[0-9A-Z]{6}", created["code"])
    assert (created["sex"], created["birth_year"], created["fields"]) == ("F", 1980, {"haemoglobin": 11.9})
    assert created["identity"]["name"] == "Siti binti Abdullah"
    assert MOMENT.fullmatch(created["created_at"])
    seen = researcher.get(f"/api/patients/{created['id']}").json()
    assert (seen["identity"], seen["identity_hidden"], seen["identity_available"]) == (None, True, False)
    assert administrator.get("/api/patients?query=abdullah").json()["total"] == 1
    assert researcher.get("/api/patients?query=abdullah").json()["total"] == 0
    summary = researcher.get(f"/api/patients/{created['id']}/summary").json()
    assert (summary["images"], summary["unverified"]) == (0, 0)


def test_an_upload_answers_for_each_file(client: ClientOf) -> None:
    technologist = client("technologist")
    patient = register(technologist)
    good = photograph(1)
    items = send(technologist, patient["id"], ("a.jpg", good), ("b.jpg", good), ("c.jpg", good[:500]), ("d.txt", b"no"))
    assert [set(item) for item in items] == [{"filename", "outcome", "reason", "image_id"}] * 4
    assert [item["filename"] for item in items] == ["a.jpg", "b.jpg", "c.jpg", "d.txt"]
    assert [item["outcome"] for item in items] == ["accepted", "duplicate", "quarantined", "quarantined"]
    assert items[0]["reason"] is None
    assert items[1]["image_id"] == items[0]["image_id"]
    assert all(item["reason"] and item["image_id"] is None for item in items[2:])
    arrivals = technologist.get("/api/arrivals?outcome=quarantined").json()
    assert arrivals["total"] == 2


def test_an_image_carries_its_predictions(client: ClientOf, image_id: str) -> None:
    image = client("viewer").get(f"/api/images/{image_id}").json()
    (prediction,) = image["predictions"]
    assert {
        "classifier",
        "version",
        "digest",
        "label",
        "uncertain",
        "threshold",
        "probabilities",
        "milliseconds",
    } <= set(prediction)
    assert (prediction["label"], prediction["uncertain"], prediction["threshold"]) == ("neutrophil", False, 0.75)
    assert set(prediction["probabilities"]) == set(LABELS)
    assert sum(prediction["probabilities"].values()) == pytest.approx(1)
    assert (image["verified"], image["state"]) == (False, "read")


def test_an_uncertain_prediction_says_so(client: ClientOf, app: AppContext, monkeypatch: pytest.MonkeyPatch) -> None:
    use_classifier(monkeypatch, 0.61)
    technologist, physician = client("technologist"), client("physician")
    (item,) = send(technologist, register(technologist)["id"], ("a.jpg", photograph(1)))
    run_jobs(app)
    url = f"/api/images/{item['image_id']}"
    (prediction,) = physician.get(url).json()["predictions"]
    assert (prediction["label"], prediction["uncertain"], prediction["likeliest"]) == ("Uncertain", True, "neutrophil")
    refused = physician.put(f"{url}/verdict", json={"label": "neutrophil", "note": ""})
    assert (refused.status_code, refused.json()["code"]) == (422, "note-required")
    assert refused.json()["errors"][0]["field"] == "note"
    given = physician.put(f"{url}/verdict", json={"label": "neutrophil", "note": "Pale granules."})
    assert given.json()["verdict"]["note"] == "Pale granules."


def test_a_verdict_is_a_label_and_a_note(client: ClientOf, image_id: str) -> None:
    physician = client("physician")
    given = physician.put(f"/api/images/{image_id}/verdict", json={"label": "basophil", "note": "Dark granules."})
    assert given.status_code == 200
    verdict = given.json()["verdict"]
    assert (verdict["label"], verdict["note"], verdict["agrees"]) == ("basophil", "Dark granules.", False)
    assert physician.get("/api/images/count?verified=false").json() == {"count": 0}
    assert physician.get("/api/images?verified=true").json()["items"][0]["id"] == image_id
    taken = physician.delete(f"/api/images/{image_id}/verdict")
    assert (taken.status_code, taken.json()["verdict"]) == (200, None)
    assert physician.get("/api/images/count?verified=false").json() == {"count": 1}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/api/patients/unknown", None, 404, "patient-not-found"),
        ("GET", "/api/nothing", None, 404, "not-found"),
        ("PUT", "/api/health", None, 405, "method-not-allowed"),
        ("POST", "/api/patients", {"sex": "X"}, 422, "invalid"),
        ("POST", "/api/patients", {"sex": "F", "nmae": "A"}, 422, "invalid"),
        ("POST", "/api/users", {"email": "a@b.example", "name": "A", "role": "viewer"}, 403, "not-allowed"),
        ("GET", "/api/patients?sort=shoe-size", None, 422, "invalid"),
    ],
)
def test_what_goes_wrong_is_a_problem(
    client: ClientOf, method: str, path: str, body: object, status: int, code: str
) -> None:
    answer = client("technologist").request(method, path, json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == MEDIA_TYPE == "application/problem+json"
    problem = answer.json()
    assert {"type", "title", "status", "detail", "code"} <= set(problem)
    assert (problem["status"], problem["code"]) == (status, code)


def test_a_problem_of_validation_names_each_field(client: ClientOf) -> None:
    answer = client("technologist").post("/api/patients", json={"sex": "X", "birth_year": "long ago"})
    assert [error["field"] for error in answer.json()["errors"]] == ["sex", "birth_year"]


def test_a_token_comes_from_the_oauth2_password_form(nobody: TestClient, people: People) -> None:
    form = {"username": "Physician@lab.example ", "password": PASSWORD, "grant_type": "password"}
    answer = nobody.post("/api/auth/token", data=form)
    assert answer.status_code == 200
    token = answer.json()
    assert set(token) == {"access_token", "token_type", "expires_in"}
    assert (token["token_type"], token["expires_in"]) == ("bearer", 1800)
    me = nobody.get("/api/auth/session", headers={"Authorization": f"Bearer {token['access_token']}"}).json()
    assert me["user"]["email"] == "physician@lab.example"
    assert me["memberships"] == [
        {
            "project_id": people.project_id,
            "project": "Haematology",
            "role": "physician",
            "permissions": permitted_actions(Role.PHYSICIAN),
        }
    ]
    wrong = nobody.post("/api/auth/token", data=form | {"grant_type": "client_credentials"})
    assert wrong.status_code == 422


def test_from_upload_to_report_by_http(client: ClientOf, app: AppContext, monkeypatch: pytest.MonkeyPatch) -> None:
    use_classifier(monkeypatch)
    technologist, physician, viewer = client("technologist"), client("physician"), client("viewer")
    patient = register(technologist)
    files = [(f"field {number}.jpg", photograph(number)) for number in range(4)]
    items = send(technologist, patient["id"], *files)
    assert [item["outcome"] for item in items] == ["accepted"] * 4
    run_jobs(app)

    (case,) = physician.get("/api/cases?stage=review&mine=true").json()["items"]
    assert (case["images"], case["verified"], case["waiting_for_me"]) == (4, 0, True)
    early = physician.post(f"/api/cases/{case['id']}/sign")
    assert (early.status_code, early.json()["code"]) == (409, "case-not-ready")
    for item in items:
        verdict = physician.put(f"/api/images/{item['image_id']}/verdict", json={"label": "neutrophil", "note": None})
        assert verdict.status_code == 200
    full_case = physician.get(f"/api/cases/{case['id']}").json()
    assert (full_case["blockers"], full_case["allowed"]["sign"]) == ([], True)
    assert physician.get(f"/api/cases/{case['id']}/report.pdf").status_code == 409
    signed = physician.post(f"/api/cases/{case['id']}/sign", json={"note": "Normal."}).json()
    assert (signed["stage"], signed["signed_by"]) == ("signed", "The physician")
    run_jobs(app)

    report = physician.get(f"/api/cases/{case['id']}/report.pdf")
    assert report.headers["content-type"] == "application/pdf"
    assert report.content.startswith(b"%PDF-")
    trusted = TrustedKeys(derive_credentials(app.keys).certificate)
    checked = verify_report(report.content, trusted)
    assert (checked.intact, checked.authentic, checked.facts_digest_matches) == (True, True, True)
    assert checked.record is not None
    assert not verify_report(report.content.replace(b"%%EOF", b"%%EOG", 1), trusted).intact
    plain = viewer.get(f"/api/cases/{case['id']}/report.pdf").content
    assert verify_report(plain, trusted).intact
    assert plain != report.content

    (listed,) = viewer.get("/api/reports").json()["items"]
    assert (listed["case_id"], listed["digest"]) == (case["id"], facts_digest(checked.record))
    assert technologist.delete(f"/api/images/{items[0]['image_id']}").status_code == 409
    changed = physician.put(f"/api/images/{items[0]['image_id']}/verdict", json={"label": "basophil"})
    assert (changed.status_code, changed.json()["code"]) == (409, "wrong-stage")
    corrected = physician.post(f"/api/cases/{case['id']}/correct", json={"reason": "Image 1 is a basophil."}).json()
    assert (corrected["version"], corrected["supersedes_id"], corrected["stage"]) == (2, case["id"], "review")


def test_a_rendition_is_cached_for_a_minute_and_then_revalidated(client: ClientOf, image_id: str) -> None:
    viewer = client("viewer")
    first = viewer.get(f"/api/images/{image_id}/rendered?size=256")
    assert first.headers["content-type"] == "image/webp"
    assert first.headers["cache-control"] == "private, max-age=60, must-revalidate"
    assert Image.open(io.BytesIO(first.content)).size == (96, 96)  # never larger than the image
    etag = first.headers["etag"]
    again = viewer.get(f"/api/images/{image_id}/rendered?size=256", headers={"If-None-Match": f'"x", W/{etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    other = viewer.get(f"/api/images/{image_id}/rendered?size=64", headers={"If-None-Match": etag})
    assert (other.status_code, other.headers["etag"] == etag) == (200, False)
    assert Image.open(io.BytesIO(other.content)).size == (64, 64)


def test_a_rendition_is_not_given_from_memory_to_who_may_not_see_it(client: ClientOf, image_id: str) -> None:
    etag = client("viewer").get(f"/api/images/{image_id}/rendered").headers["etag"]
    for role in ("patient", "outsider"):
        answer = client(role).get(f"/api/images/{image_id}/rendered", headers={"If-None-Match": etag})
        assert answer.status_code in {403, 404}


def test_the_original_is_an_attachment(client: ClientOf, image_id: str) -> None:
    answer = client("viewer").get(f"/api/images/{image_id}/original")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-disposition"] == f'attachment; filename="{image_id}.jpg"'
    assert Image.open(io.BytesIO(answer.content)).size == (96, 96)
    dicom = client("viewer").get(f"/api/images/{image_id}/original?form=dicom")
    assert (dicom.headers["content-type"], dicom.content[128:132]) == ("application/dicom", b"DICM")


def test_the_evidence_is_a_translucent_layer(client: ClientOf, image_id: str) -> None:
    answer = client("viewer").get(f"/api/images/{image_id}/evidence?size=48")
    picture = Image.open(io.BytesIO(answer.content))
    assert (picture.mode, picture.size) == ("RGBA", (48, 48))


def test_the_server_says_that_it_lives_and_can_work(nobody: TestClient, app: AppContext) -> None:
    assert nobody.get("/api/health").json() == {"status": "ok", "version": __version__}
    ready = {"status": "ready", "database": "ok", "blobs": "ok", "jobs": "ok"}
    assert nobody.get("/api/ready").json() == ready
    (app.blobs.folder / "incoming").rename(app.blobs.folder / "gone")
    answer = nobody.get("/api/ready")
    assert (answer.status_code, answer.json()) == (503, ready | {"status": "not ready", "blobs": "failed"})


def test_the_metrics_count_requests_and_name_no_patient(client: ClientOf, nobody: TestClient, image_id: str) -> None:
    viewer = client("viewer")
    patient = client("technologist").get("/api/patients?query=abdullah").json()["items"][0]
    viewer.get(f"/api/patients/{patient['id']}")
    viewer.get("/no/such/page/P-SECRET")
    text = nobody.get("/metrics").text
    assert re.search(r'medhub_http_requests_total\{method="GET",route="/api/patients/\{id\}",status="200"\} \d', text)
    assert "medhub_jobs_unfinished 0.0" in text
    for secret in (patient["id"], patient["code"], image_id, "abdullah", "Siti", "SECRET", "@", "filename"):
        assert secret.lower() not in text.lower()


SAFETY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@pytest.mark.parametrize("path", ["/", "/assets/index-1a2b3c.js", "/api/health", "/api/patients", "/api/no", "/no.js"])
def test_every_answer_carries_the_headers_of_safety(nobody: TestClient, path: str) -> None:
    answer = nobody.get(path)
    assert {name: answer.headers[name] for name in SAFETY} == SAFETY
    policy = {name: rest for name, _, rest in (part.strip().partition(" ") for part in _policy(answer).split(";"))}
    assert policy["default-src"] == policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert "strict-transport-security" not in answer.headers
    assert "server" not in answer.headers


def _policy(answer: Any) -> str:
    policy: str = answer.headers["content-security-policy"]
    return policy


def test_https_is_to_stay_https(web_app: Any) -> None:
    answer = TestClient(web_app, base_url="https://medhub.test").get("/api/health")
    assert answer.headers["strict-transport-security"].startswith("max-age=")


def test_what_the_api_answers_is_kept_nowhere(client: ClientOf) -> None:
    assert client("viewer").get("/api/patients").headers["cache-control"] == "private, no-store"
    assert client("viewer").get("/api/patients/none").headers["cache-control"] == "no-store"


def test_the_page_is_asked_for_anew_and_its_hashed_files_are_kept(nobody: TestClient) -> None:
    for path in ("/", "/patients/abc", "/index.html"):
        answer = nobody.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
        assert "Medhub" in answer.text
    asset = nobody.get("/assets/index-1a2b3c.js")
    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert asset.headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/..%2f..%2fdata%2fkeys%2fmaster.key", "/assets/..%2f..%2fx.js", "/%2e%2e/x.toml"]
)
def test_no_path_leaves_the_folder_of_the_web_app(nobody: TestClient, path: str) -> None:
    answer = nobody.get(path)
    assert answer.status_code == 404


def test_ids_that_no_column_holds_are_simply_not_found(client: ClientOf) -> None:
    administrator = client("administrator")
    for identifier in ("%00", "a" * 65, "🧬", "%ff", "'; DROP TABLE patients; --"):
        assert administrator.get(f"/api/patients/{identifier}").status_code in {404, 422}
