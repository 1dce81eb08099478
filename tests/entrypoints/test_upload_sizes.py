# SPDX-License-Identifier: Apache-2.0
"""Each route of uploads takes files of the documented size, and every other route refuses large bodies."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from medhub.entrypoints.middleware import MAX_BODY_BYTES
from medhub.entrypoints.web import list_routes, streamed_routes
from medhub.foundation.app_context import AppContext
from medhub.foundation.settings import Settings
from tests.entrypoints.conftest import ClientOf
from tests.factories.accounts import People
from tests.factories.cases import PATHWAY, make_patient
from tests.factories.images import in_doubt, photograph

LARGE_BYTES = 2 * 1024**2
DICOM = "application/dicom"


@pytest.fixture
def settings(tmp_path: Path, database_url: str | None) -> Settings:
    """Settings with the default sizes."""
    return Settings(data=tmp_path / "data", database_url=database_url, job_runners=0)


@pytest.fixture(scope="module")
def large_dicom() -> bytes:
    """A DICOM file of more than two MiB, with pixels of a gradient."""
    dataset = pydicom.dcmread(io.BytesIO(in_doubt(5)))
    side = 1_040
    gradient = np.linspace(0, 65_535, side * side).reshape(side, side).astype("<u2")
    dataset.Rows = dataset.Columns = side
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    del dataset.PlanarConfiguration
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelData, dataset.BurnedInAnnotation = gradient.tobytes(), "NO"
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    assert len(buffer.getvalue()) > LARGE_BYTES
    return buffer.getvalue()


def _related(content: bytes) -> dict[str, Any]:
    head = f"--edge\r\nContent-Type: {DICOM}\r\n\r\n".encode()
    media_type = f'multipart/related; type="{DICOM}"; boundary=edge'
    return {"content": head + content + b"\r\n--edge--\r\n", "headers": {"Content-Type": media_type}}


def _labeled_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(6):
            label = "basophil" if number % 2 else "neutrophil"
            archive.writestr(f"{label}/{number}.png", photograph(number, form="PNG"))
        archive.writestr("neutrophil/large.bmp", photograph(7, size=850, form="BMP"))
    assert len(buffer.getvalue()) > LARGE_BYTES
    return buffer.getvalue()


def _request(path: str, people: People, patient_id: str, dicom: bytes) -> tuple[str, str, dict[str, Any]]:
    """The role, address and body of an upload to a route."""
    if path == "/api/datasets/zip":
        fields = {"name": "large", "project_id": people.project_id}
        return "administrator", path, {"data": fields, "files": {"file": ("labeled.zip", _labeled_zip())}}
    if path.startswith("/dicom-web"):
        study = str(pydicom.dcmread(io.BytesIO(dicom), stop_before_pixels=True).StudyInstanceUID)
        return "technologist", path.replace("{study}", study), _related(dicom)
    files = [("files", ("large.dcm", dicom, DICOM))]
    if path == "/api/images":
        return "technologist", path, {"data": {"patient_id": patient_id, "pathway": PATHWAY}, "files": files}
    role = "administrator" if path.endswith("/preview") else "technologist"
    return role, path.replace("{id}", people.project_id), {"files": files}


def _addresses(web_app: FastAPI) -> list[str]:
    return sorted({path for _methods, path in streamed_routes(web_app)})


def test_every_route_that_reads_its_body_itself_declares_it(web_app: FastAPI) -> None:
    """A route that takes the request and parses a form or parts of a message."""
    reading = {
        route.path
        for route in list_routes(web_app)
        if isinstance(route.original_route, APIRoute)
        and "POST" in (route.methods or ())
        and (
            "multipart/form-data" in str(route.original_route.openapi_extra)
            or str(route.path).startswith("/dicom-web/stud")
        )
    }
    assert reading == set(_addresses(web_app))
    assert len(reading) == 6


def test_every_upload_takes_two_mebibytes(
    web_app: FastAPI, client: ClientOf, app: AppContext, people: People, large_dicom: bytes
) -> None:
    patient_id = make_patient(app, people)
    refused = {}
    for path in _addresses(web_app):
        role, address, content = _request(path, people, patient_id, large_dicom)
        answer = client(role).post(address, **content)
        if answer.status_code not in {200, 201, 202}:
            refused[path] = (answer.status_code, answer.text[:300])
    assert refused == {}


def test_every_other_route_refuses_a_large_body(web_app: FastAPI, client: ClientOf) -> None:
    technologist: TestClient = client("technologist")
    streamed = set(_addresses(web_app))
    accepted = []
    for route in list_routes(web_app):
        if not isinstance(route.original_route, APIRoute):
            continue
        for method in set(route.methods or ()) & {"POST", "PUT", "PATCH", "DELETE"}:
            if route.path in streamed and method == "POST":
                continue
            answer = technologist.request(method, str(route.path), content=b" " * (MAX_BODY_BYTES + 1))
            if answer.status_code != 413:
                accepted.append((method, route.path, answer.status_code))
    assert accepted == []
