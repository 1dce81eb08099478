# SPDX-License-Identifier: Apache-2.0
"""The Native DICOM Model in XML as the result of searches and stores (PS3.18, 8.7.3 and 10.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree  # of a document that this server wrote

import pytest
from fastapi.testclient import TestClient

from medhub.entrypoints.web import create_app
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import Isolation
from tests.factories.accounts import client_of, make_people
from tests.factories.app_contexts import open_app
from tests.factories.servers import small_ct, written

XML = "application/dicom+xml"
PARTS_OF_XML = f'multipart/related; type="{XML}"'


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, isolation: Isolation) -> Iterator[AppContext]:
    with open_app(tmp_path_factory.mktemp("xml") / "data", isolation) as app:
        make_people(app)
        yield app


@pytest.fixture(scope="module")
def technologist(app: AppContext) -> TestClient:
    return client_of(create_app(app, run_jobs=False), app, "technologist@lab.example")


def store(client: TestClient, *objects: bytes, accept: str = XML) -> Any:
    parts = b"".join(b"--x\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n" for data in objects)
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x', "Accept": accept}
    return client.post("/dicom-web/studies", content=parts + b"--x--\r\n", headers=headers)


def parsed(document: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(document)  # noqa: S314


def values(element: ElementTree.Element) -> dict[str, Any]:
    """Keyword to values, to person names as text, or to items."""
    read: dict[str, Any] = {}
    for attribute in element.findall("DicomAttribute"):
        items = [values(item) for item in attribute.findall("Item")]
        names = [
            "^".join(part.text or "" for part in name.iter() if part.text) for name in attribute.iter("PersonName")
        ]
        read[attribute.get("keyword", "")] = items or names or [value.text for value in attribute.findall("Value")]
    return read


def documents(answer: Any) -> list[dict[str, Any]]:
    """The documents of a multipart answer; each part says that it is XML."""
    match = re.search(r"boundary=(\w+)", answer.headers["Content-Type"])
    assert match is not None
    parts = answer.content.split(f"\r\n--{match[1]}".encode())[1:-1]
    assert all(f"Content-Type: {XML}\r\n".encode() in part for part in parts)
    return [values(parsed(part.partition(b"\r\n\r\n")[2])) for part in parts]


@pytest.fixture(scope="module")
def stored(technologist: TestClient) -> dict[str, Any]:
    objects = [written(small_ct(number)) for number in (1, 2)] + [written(small_ct(3, study="1.2.9", series="1.2.9.1"))]
    answer = store(technologist, *objects)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, XML)
    return values(parsed(answer.content))


def test_the_result_of_a_store_comes_as_xml(technologist: TestClient, stored: dict[str, Any]) -> None:
    referenced = stored["ReferencedSOPSequence"]
    assert [item["ReferencedSOPInstanceUID"] for item in referenced] == [["1.2.3.1.1"], ["1.2.3.1.2"], ["1.2.9.1.3"]]
    for item in referenced:
        path = item["RetrieveURL"][0].partition("http://testserver")[2]
        assert technologist.get(path).status_code == 200


def test_a_refused_object_is_said_in_xml_with_its_reason(technologist: TestClient) -> None:
    answer = store(technologist, b"no DICOM")
    assert (answer.status_code, answer.headers["Content-Type"]) == (409, XML)
    (failure,) = values(parsed(answer.content))["OtherFailuresSequence"]
    assert failure["FailureReason"] == [str(0xC000)]


@pytest.mark.parametrize("path", ["studies", "series", "instances"])
def test_matches_come_as_xml_with_the_values_that_json_has(
    technologist: TestClient, stored: dict[str, Any], path: str
) -> None:
    as_xml = technologist.get(f"/dicom-web/{path}?includefield=RescaleSlope", headers={"Accept": PARTS_OF_XML})
    assert as_xml.status_code == 200, as_xml.text
    assert as_xml.headers["Content-Type"].startswith(PARTS_OF_XML)
    matches = technologist.get(f"/dicom-web/{path}?includefield=RescaleSlope").json()
    read = documents(as_xml)
    assert len(read) == len(matches) == {"studies": 2, "series": 2, "instances": 3}[path]
    for document, match in zip(read, matches, strict=True):
        assert document["StudyInstanceUID"] == match["0020000D"]["Value"]
        assert document["RetrieveURL"] == match["00081190"]["Value"]
        assert document["PatientName"] == [match["00100010"]["Value"][0]["Alphabetic"]]
        assert document["RescaleSlope"] == ["1.0"] or float(document["RescaleSlope"][0]) == 1


def test_a_search_without_matches_has_no_content_in_any_form(technologist: TestClient, stored: dict[str, Any]) -> None:
    answer = technologist.get("/dicom-web/studies?StudyInstanceUID=9.9", headers={"Accept": PARTS_OF_XML})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (f"application/json;q=0.5, {PARTS_OF_XML}", "multipart/related"),
        (f"{PARTS_OF_XML};q=0.5, application/json", "application/json"),
        (f"{PARTS_OF_XML}, */*;q=0.1", "multipart/related"),
        (XML, ""),  # of several documents there is no single one
        ("multipart/related", ""),
    ],
)
def test_the_form_of_matches_follows_the_weights(
    technologist: TestClient, stored: dict[str, Any], accept: str, expected: str
) -> None:
    answer = technologist.get("/dicom-web/studies", headers={"Accept": accept})
    assert answer.status_code == (200 if expected else 406)
    assert answer.headers["Content-Type"].startswith(expected)
    if not expected:
        assert "dicom+xml" in answer.text


def test_a_store_whose_result_has_no_acceptable_form_stores_nothing(technologist: TestClient) -> None:
    before = technologist.get("/dicom-web/instances").json()
    assert store(technologist, written(small_ct(8)), accept="text/html").status_code == 406
    assert technologist.get("/dicom-web/instances").json() == before
