# SPDX-License-Identifier: Apache-2.0
"""What a query means by default and by its options: lists, unknown parameters, dates with times, fuzzy names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from medhub.accounts import service as accounts
from medhub.accounts.actor import COMMAND_LINE
from medhub.entrypoints.dimse.extended_negotiation import answer_negotiation
from medhub.entrypoints.web import create_app
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import Isolation
from medhub.ingest.context import IngestSource
from medhub.ingest.hashed_identifiers import hash_identifiers
from medhub.ingest.ingest_file import ReceivedFile
from medhub.ingest.pipeline import ingest_files
from medhub.ingest.profiles import choose_profile
from medhub.nodes import service as nodes
from medhub.records.identifier_index import normalize_date
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers
from tests.factories.accounts import client_of, make_people
from tests.factories.app_contexts import open_app
from tests.factories.cts import ct
from tests.factories.dicom_nodes import Listener

STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
PROFILE = """
name = "full-dates"
title = "Full dates"
version = 1
options = ["full-dates", "characteristics"]
[pixels]
also_reconstructed = false
"""
TIMES = [
    ("20230301", "090000"),
    ("20230303", "200000"),
    ("20230304", ""),
    ("20230305", "083000"),
    ("20230306", "090000"),
]


def add_studies(app: AppContext, project_id: str) -> None:
    """Studies at different dates and times, of three modalities."""
    with app.database.writing() as session:
        choose_profile(session, COMMAND_LINE, project_id, text=PROFILE)
    files = []
    for number, (date, time) in enumerate(TIMES):
        study = f"1.2.8.{number}"
        values = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "SOPInstanceUID": f"{study}.1.1"}
        modality = ("CT", "MR", "PT", "CT", "MR")[number]
        named = {"PatientID": f"Q{number}", "PatientName": f"QUERY^{number}", "Modality": modality}
        files.append(ReceivedFile.of(ct(**values, **named, StudyDate=date, StudyTime=time)))
    results = ingest_files(app, COMMAND_LINE, IngestSource(project_id, "command"), files)
    assert [result.outcome for result in results] == ["accepted"] * len(files), results


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory, isolation: Isolation) -> Iterator[TestClient]:
    with open_app(tmp_path_factory.mktemp("queries") / "data", isolation) as app:
        people = make_people(app)
        add_studies(app, people.project_id)
        yield client_of(create_app(app, run_jobs=False), app, "viewer@lab.example")


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("ModalitiesInStudy=CT", 2),
        ("ModalitiesInStudy=CT,MR", 4),
        ("ModalitiesInStudy=CT%2CMR", 4),
        ("00080061=CT,PT", 3),
        ("ModalitiesInStudy=CT&ModalitiesInStudy=PT", 3),
        ("ModalitiesInStudy=US,XA", 0),
        ("Modality=PT,MR", 3),
        ("StudyDate=20230301,20230306", 2),
        ("StudyTime=090000,200000", 3),
        ("NumberOfStudyRelatedInstances=1,2", 5),
        ("PatientSex=F,M", 5),
    ],
)
def test_a_comma_separates_values_that_cannot_contain_one(viewer: TestClient, query: str, count: int) -> None:
    answer = viewer.get(f"/dicom-web/studies?{query}")
    assert len(answer.json() if answer.status_code == 200 else []) == count


@pytest.mark.parametrize("level", ["studies", "series", "instances"])
@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("orderby=StudyDate", "orderby"),
        ("_=1700000000", "_"),
        ("NoSuchKeyword=1&x=2", "NoSuchKeyword, x"),
        ("0009ABCD=1", "0009ABCD"),
        ("a%22b%0d%0aX-Evil:1=1", "?"),
        ("%F0%9F%98%80=1", "?"),
        ("StudyInstanceUID.x=1", "StudyInstanceUID.x"),
    ],
)
def test_an_unknown_parameter_is_ignored_with_a_warning(viewer: TestClient, level: str, query: str, named: str) -> None:
    known, answer = viewer.get(f"/dicom-web/{level}"), viewer.get(f"/dicom-web/{level}?{query}")
    assert (answer.status_code, answer.json()) == (200, known.json())
    assert answer.headers["Warning"] == f'299 medhub "These parameters are unknown and were ignored: {named}"'
    assert "Warning" not in known.headers
    assert "X-Evil" not in answer.headers


def test_attributes_of_the_answer_are_no_keys(viewer: TestClient) -> None:
    answer = viewer.get("/dicom-web/studies?SpecificCharacterSet=ISO_IR%20100&includefield=RetrieveURL")
    assert "Warning" not in answer.headers
    assert [item["00080005"]["Value"] for item in answer.json()] == [["ISO_IR 192"]] * len(TIMES)


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory, isolation: Isolation) -> Iterator[Listener]:
    data: Path = tmp_path_factory.mktemp("negotiation") / "data"
    started = Listener(data)
    with open_app(data, isolation) as app:
        with app.database.writing() as session:
            project_id = accounts.add_project(session, "Radiology").id
            node = {"ae_title": "ASKER", "called_ae": "MEDHUB", "host": "", "port": 0, "only_from_host": False}
            nodes.add_node(
                session, COMMAND_LINE, project_id, {**node, "tls": False, "may_store": False, "may_query": True}
            )
        add_studies(app, project_id)
    started.start()
    yield started
    started.stop()


def find_studies(listener: Listener, options: bytes | None, **keys: str) -> tuple[int, bytes | None]:
    """How many studies a C-FIND with negotiated options matches, and the answer to the negotiation."""
    ae = AE("ASKER")
    ae.add_requested_context(STUDY_FIND)
    items: list[Any] = []
    if options is not None:
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid, item.service_class_application_information = STUDY_FIND, options
        items.append(item)
    association = ae.associate("127.0.0.1", listener.port, ext_neg=items, ae_title="MEDHUB")
    assert association.is_established
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", ""
    for keyword, value in keys.items():
        setattr(query, keyword, value)
    statuses = [status.Status for status, _ in association.send_c_find(query, STUDY_FIND)]
    answer = association.acceptor.sop_class_extended.get(UID(STUDY_FIND))
    association.release()
    assert statuses[-1] == 0
    return len(statuses) - 1, answer


def test_dates_and_times_are_one_range_only_if_that_is_negotiated(listener: Listener) -> None:
    keys = {"StudyDate": "20230301-20230305", "StudyTime": "080000-100000"}
    assert find_studies(listener, None, **keys) == (2, None)
    assert find_studies(listener, b"\x01", **keys) == (2, b"\x01")
    assert find_studies(listener, b"\x01\x00\x00\x00", **keys) == (2, b"\x01\x00\x00\x00")
    assert find_studies(listener, b"\x00\x01\x00\x00", **keys) == (4, b"\x01\x01\x00\x00")
    assert find_studies(listener, None, StudyDate="20230301-", StudyTime="-0900") == (3, None)
    assert find_studies(listener, None, StudyTime="200000-") == (1, None)


def test_options_that_are_not_supported_are_declined() -> None:
    assert answer_negotiation({STUDY_FIND: b"\x01\x01\x01\x01\x01"}) == {STUDY_FIND: b"\x01\x01\x01\x00\x00"}
    assert answer_negotiation({STUDY_MOVE: b"\x01\x01"}) == {STUDY_MOVE: b"\x01\x00"}
    assert answer_negotiation({STUDY_FIND: b"", "1.2.840.10008.5.1.4.1.1.2": b"\x01"}) == {}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1950.12.11", "19501211"),
        ("1950-12-11", "19501211"),
        ("1950/12/11", "19501211"),
        (" 1950.12.11 ", "19501211"),
        ("1950.1.2", "19500102"),
        ("19501211", "19501211"),
        ("1950.12-11", "1950.12-11"),
        ("1950", "1950"),
        ("", ""),
    ],
)
def test_a_date_in_an_old_form_is_the_same_date(written: str, meant: str) -> None:
    assert normalize_date(written) == meant


def test_a_birth_date_with_points_is_no_contradiction(isolation: Isolation, tmp_path: Path) -> None:
    with open_app(tmp_path / "data", isolation) as app:
        forms = [
            PatientIdentifiers(patient_id="1", birth_date=date) for date in ("19501211", "1950.12.11", "1950.12.12")
        ]
        first, same, other = (hash_identifiers(app.keys, "p", identifiers) for identifiers in forms)
    assert first == same != other
