# SPDX-License-Identifier: Apache-2.0
"""Requests that are too large, broken, or made to do harm: a clear answer, and nothing on the disk in the clear."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from medhub.entrypoints.middleware import MAX_BODY_BYTES
from medhub.foundation.app_context import AppContext
from tests.entrypoints.conftest import ClientOf
from tests.factories.accounts import People
from tests.factories.cases import PATHWAY, make_patient
from tests.factories.images import photograph

# Something that a file says of a person; it must be found nowhere afterwards.
CANARY = b"SITI-BINTI-ABDULLAH-800314-14-5566"
BOUNDARY = "xyzzy"


@pytest.fixture
def database_url() -> str | None:
    """A database whose file can be searched; that of PostgreSQL lies elsewhere."""
    return None


@pytest.fixture
def technologist(client: ClientOf) -> TestClient:
    return client("technologist")


@pytest.fixture
def patient_id(app: AppContext, people: People) -> str:
    return make_patient(app, people, identity=False)


def part(name: str, content: bytes, filename: str | bytes | None = None, *headers: bytes) -> bytes:
    """One part of a multipart body."""
    disposition = f'Content-Disposition: form-data; name="{name}"'.encode()
    if filename is not None:
        disposition += b'; filename="' + (filename if isinstance(filename, bytes) else filename.encode()) + b'"'
    return b"\r\n".join([f"--{BOUNDARY}".encode(), disposition, *headers, b"", content]) + b"\r\n"


def body(*parts: bytes, end: bytes = f"--{BOUNDARY}--\r\n".encode()) -> bytes:
    return b"".join(parts) + end


def fields(patient_id: str) -> bytes:
    return part("patient_id", patient_id.encode()) + part("pathway", PATHWAY.encode())


def post(client: TestClient, content: Any, content_type: str = f"multipart/form-data; boundary={BOUNDARY}") -> Any:
    return client.post("/api/images", content=content, headers={"Content-Type": content_type})


@pytest.fixture(autouse=True)
def _nothing_in_the_clear(app: AppContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After each test the canary lies in no file of the data folder nor of the folder for temporary files."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert Path(tempfile.gettempdir()) == temporary
    yield
    problems = [
        path
        for folder in (app.settings.data, temporary)
        for path in folder.rglob("*")
        if path.is_file() and CANARY in path.read_bytes()
    ]
    assert problems == []


def test_the_search_for_the_canary_would_find_it(app: AppContext) -> None:
    path = app.blobs.path(app.blobs.put(b"before " + CANARY))
    assert CANARY in path.read_bytes()
    path.unlink()


# Size.


def test_a_body_that_says_it_is_too_large_is_refused(technologist: TestClient) -> None:
    answer = technologist.post("/api/patients", content=b" " * (MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


def test_a_body_in_chunks_that_does_not_say_its_size_is_refused_too(technologist: TestClient) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"sex": "'
        for _ in range(40):
            yield b"F" * 65536

    answer = technologist.post("/api/patients", content=chunks(), headers={"Content-Type": "application/json"})
    assert "content-length" not in answer.request.headers
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


def test_a_form_in_chunks_that_is_too_large_is_refused_before_anybody_is_signed_in(nobody: TestClient) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"username=a&password="
        for _ in range(40):
            yield b"p" * 65536

    answer = nobody.post(
        "/api/auth/token", content=chunks(), headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 413


def test_a_multipart_form_for_a_token_leaves_nothing_on_the_disk(nobody: TestClient) -> None:
    content = body(part("username", CANARY), part("password", CANARY), part("f", CANARY * 20_000, "a.jpg"))
    answer = nobody.post(
        "/api/auth/token", content=content, headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    )
    assert answer.status_code in {401, 413, 422}


@pytest.mark.parametrize("length", ["-1", "abc", "1e9", "٣"])
def test_a_length_that_is_no_number_is_refused(nobody: TestClient, length: str) -> None:
    answer = nobody.post("/api/auth/session", content=b"{}", headers=[(b"Content-Length", length.encode())])
    assert answer.status_code in {400, 413}


def test_a_file_that_is_too_large_is_quarantined_by_its_size_and_the_others_go_in(
    technologist: TestClient, patient_id: str
) -> None:
    content = body(
        fields(patient_id), part("files", CANARY * 20_000, "big.jpg"), part("files", photograph(3), "good.jpg")
    )
    items = post(technologist, content).json()["items"]
    assert [item["outcome"] for item in items] == ["quarantined", "accepted"]
    assert "at most" in items[0]["reason"]


def test_too_many_files_are_refused(technologist: TestClient, patient_id: str) -> None:
    content = body(fields(patient_id), *(part("files", b"x", f"{n}.jpg") for n in range(21)))
    answer = post(technologist, content)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "files")


# Broken messages.


def test_an_upload_that_breaks_off_is_refused_and_what_came_in_whole_is_kept(
    technologist: TestClient, patient_id: str
) -> None:
    content = body(fields(patient_id), part("files", photograph(1), "a.jpg"), part("files", CANARY * 100, "b.jpg"))
    answer = post(technologist, content[:-500])
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert "broke off" in answer.json()["detail"]
    again = post(technologist, content).json()["items"]
    assert [item["outcome"] for item in again] == ["duplicate", "quarantined"]


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "application/json",
        "multipart/mixed; boundary=x",
        ";",
    ],
)
def test_a_body_without_a_boundary_is_refused(technologist: TestClient, content_type: str) -> None:
    answer = post(technologist, CANARY, content_type)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"--xyzzy--\r\n",
        b"--xyzzy\r\n",
        b"--xyzzy\r\n\r\n\r\n--xyzzy--\r\n",
        b"no boundary at all " + CANARY,
        b"--xyzzy\r\nContent-Disposition\r\n\r\nx\r\n--xyzzy--",
        b"--xyzzy\nContent-Disposition: form-data; name=files; filename=a\n\nx\n--xyzzy--",
        b"\x00" * 1000,
        b"--xyzzy\r\n: \r\n\r\nx\r\n--xyzzy--\r\n",
        body(part("files", CANARY, "a.jpg")),
        body(part("patient_id", b"unknown"), part("files", CANARY, "a.jpg")),
        body(part("patient_id", b"\xff\xfe\x00"), part("pathway", b"\x00"), part("files", CANARY, "a.jpg")),
    ],
)
def test_a_body_that_is_no_upload_is_refused(technologist: TestClient, content: bytes) -> None:
    answer = post(technologist, content)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_upload_without_files_says_so(technologist: TestClient, patient_id: str) -> None:
    answer = post(technologist, body(fields(patient_id)))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "files")
    other = post(technologist, body(fields(patient_id), part("photos", CANARY, "a.jpg")))
    assert other.status_code == 422


def test_fields_may_come_after_the_files(technologist: TestClient, patient_id: str) -> None:
    content = body(part("files", photograph(1), "a.jpg"), part("files", CANARY, "b.jpg"), fields(patient_id))
    items = post(technologist, content).json()["items"]
    assert [(item["filename"], item["outcome"]) for item in items] == [("a.jpg", "accepted"), ("b.jpg", "quarantined")]


def test_a_huge_header_of_a_part_is_refused(technologist: TestClient, patient_id: str) -> None:
    content = body(fields(patient_id), part("files", b"x", "a.jpg", b"X-Padding: " + b"a" * 200_000))
    answer = post(technologist, content)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_very_many_headers_and_parts_are_refused(technologist: TestClient, patient_id: str) -> None:
    headers = [b"X-%d: a" % number for number in range(20_000)]
    assert post(technologist, body(fields(patient_id), part("files", b"x", "a.jpg", *headers))).status_code == 422
    many = body(fields(patient_id), *(part(f"field-{number}", b"x" * 1000) for number in range(5_000)))
    assert post(technologist, many).status_code == 422


def test_a_field_that_is_too_long_is_not_taken_for_a_patient(technologist: TestClient, patient_id: str) -> None:
    content = body(part("patient_id", b"a" * 1_000_000), part("pathway", PATHWAY.encode()), part("files", b"x", "a"))
    assert post(technologist, content).status_code in {404, 422}


# Names of files.


NAMES: dict[str, str | bytes] = {
    "climbing": "../../../../etc/passwd",
    "absolute": "/etc/cron.d/evil",
    "backslashes": "..\\..\\windows\\system32\\evil.jpg",
    "NUL": b"a\x00.jpg",
    "emoji": "🧬🩸 smear.jpg",
    "right to left": "\u202egpj.exe",
    "not Unicode": b"\xff\xfe\x80.jpg",
    "empty": "",
    "very long": "n" * 10_000 + ".jpg",
    "quotes": b'a\\"b.jpg',
    "a person": CANARY + b".jpg",
    "line break": b"a%0D%0Ab.jpg",
}


@pytest.mark.parametrize("kind", NAMES)
def test_whatever_a_file_is_called_it_gets_an_answer_and_its_name_becomes_no_path(
    technologist: TestClient, app: AppContext, patient_id: str, kind: str
) -> None:
    content = body(fields(patient_id), part("files", photograph(1), NAMES[kind]))
    answer = post(technologist, content)
    assert answer.status_code == 200
    (item,) = answer.json()["items"]
    assert item["outcome"] == "accepted"
    assert len(item["filename"]) <= 255
    stored = [path for path in app.blobs.folder.rglob("*") if path.is_file()]
    assert stored
    assert all(len(path.name) == 64 and path.name.isalnum() for path in stored)


def test_a_file_that_is_refused_is_kept_sealed(technologist: TestClient, app: AppContext, patient_id: str) -> None:
    (item,) = post(technologist, body(fields(patient_id), part("files", CANARY * 1000, "a.jpg"))).json()["items"]
    assert item["outcome"] == "quarantined"
    assert [path.stat().st_size for path in app.blobs.folder.rglob("*") if path.is_file()] != []


def test_metadata_of_a_photograph_does_not_reach_the_disk(
    technologist: TestClient, app: AppContext, patient_id: str
) -> None:
    picture = photograph(1)
    comment = b"\xff\xfe" + (len(CANARY) + 2).to_bytes(2, "big") + CANARY
    with_comment = picture[:2] + comment + picture[2:]
    trailing = photograph(2) + CANARY * 10
    content = body(fields(patient_id), part("files", with_comment, "a.jpg"), part("files", trailing, "b.jpg"))
    outcomes = [item["outcome"] for item in post(technologist, content).json()["items"]]
    assert outcomes[0] == "accepted"


# Other bodies.


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b'"text"', b'{"sex": "F"}{"sex": "F"}', b"\xff\xfe\x00", b"[" * 50_000, b'{"a":1e999}'],
)
def test_a_body_that_is_not_the_wanted_json_is_refused(technologist: TestClient, content: bytes) -> None:
    answer = technologist.post("/api/patients", content=content, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "x" * 3000])
def test_text_that_no_column_holds_is_refused(technologist: TestClient, text: str) -> None:
    content = json.dumps({"patient_id": "p", "description": text}).encode()
    answer = technologist.post("/api/studies", content=content, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize("query", ["page=0", "page=1000001", "page_size=201", "page=x", "sort=%00", "query=%00"])
def test_a_page_that_cannot_be_asked_for_is_refused(technologist: TestClient, query: str) -> None:
    assert technologist.get(f"/api/patients?{query}").status_code == 422


@pytest.mark.parametrize("query", ["%", "_", "\\", "'", '"', "*", "%25%25", "🧬", "a" * 200])
def test_no_search_breaks_the_database(technologist: TestClient, patient_id: str, query: str) -> None:
    answer = technologist.get("/api/patients", params={"query": query})
    assert (answer.status_code, answer.json()["total"]) == (200, 0)
