# SPDX-License-Identifier: Apache-2.0
"""Reading, signing and correcting cases in a real browser."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from pypdf import PdfReader

from medhub.accounts.permissions import Role
from tests.conftest import ROOT
from tests.journeys.conftest import PASSWORD, Server, sign_in

pytestmark = pytest.mark.journey

SMEARS = ROOT / "demo" / "blood-cells"
CELLS = [path for kind in ("eosinophil", "lymphocyte") for path in sorted(SMEARS.glob(f"{kind}/*"))]


@dataclass
class ApiCase:
    """A case that the API opened."""

    id: str
    patient_code: str
    image_ids: list[str]


class Api:
    """The JSON API for a person of a role."""

    def __init__(self, server: Server, role: Role) -> None:
        self.client = httpx.Client(base_url=server.url, timeout=60)
        form = {"username": f"{role}@lab.example", "password": PASSWORD}
        answer = self.client.post("/api/auth/token", data=form).raise_for_status().json()
        self.client.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """The JSON answer of a call that succeeds."""
        answer = self.client.request(method, path, **arguments)
        assert answer.is_success, answer.text
        return answer.json()


def open_case(server: Server, first_cell: int, images: int) -> ApiCase:
    """Upload cells for a new patient, and wait until they are classified."""
    technologist = Api(server, Role.TECHNOLOGIST)
    try:
        return upload_cells(technologist, first_cell, images)
    finally:
        technologist.client.close()


def upload_cells(api: Api, first_cell: int, images: int) -> ApiCase:
    """A new patient with cells, once they are classified."""
    patient = api.call("POST", "/api/patients", json={"sex": "F", "birth_year": 1980})
    files = [("files", (path.name, path.read_bytes())) for path in CELLS[first_cell : first_cell + images]]
    api.call("POST", "/api/images", data={"patient_id": patient["id"], "pathway": "smear-review"}, files=files)
    for _ in range(600):
        rows = api.call("GET", "/api/images", params={"patient_id": patient["id"], "sort": "number"})["items"]
        if len(rows) == images and all(row["state"] == "read" and row["case_id"] for row in rows):
            return ApiCase(rows[0]["case_id"], patient["code"], [row["id"] for row in rows])
        time.sleep(0.1)
    raise AssertionError("the images were not classified")


@pytest.fixture
def physician(server: Server) -> Iterator[Api]:
    """The API for a physician."""
    api = Api(server, Role.PHYSICIAN)
    yield api
    api.client.close()


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """A browser in which the physician is signed in."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    sign_in(page, server, Role.PHYSICIAN)
    yield page
    page.context.close()


def give_verdicts(api: Api, case: ApiCase) -> None:
    for image_id in case.image_ids:
        api.call("PUT", f"/api/images/{image_id}/verdict", json={"label": "eosinophil", "note": "Granules."})


def test_no_single_key_signs_and_the_conclusion_is_in_report_and_record(
    server: Server, page: Page, physician: Api
) -> None:
    case = open_case(server, 0, 1)
    give_verdicts(physician, case)
    page.goto(f"{server.url}/worklist?case_id={case.id}")
    page.get_by_role("img", name=re.compile("^Image 1 of 1")).wait_for()
    page.keyboard.press("s")
    dialog = page.get_by_role("dialog")
    conclusion = dialog.get_by_label("Conclusion")
    expect(conclusion).to_be_focused()
    page.keyboard.type("Eosinophilia of the")
    page.keyboard.press("Enter")
    page.keyboard.type("second degree")
    button = dialog.get_by_role("button", name="Sign case")
    button.focus()
    for key in ("Enter", " "):
        page.keyboard.press(key)
    page.wait_for_timeout(500)
    assert physician.call("GET", f"/api/cases/{case.id}")["signed_at"] is None
    expect(conclusion).to_have_value("Eosinophilia of the\nsecond degree")
    button.focus()
    page.keyboard.press("Control+Enter")
    expect(dialog).to_have_count(0)

    page.goto(f"{server.url}/cases/{case.id}")
    expect(page.get_by_role("heading", name="Conclusion")).to_be_visible()
    expect(page.get_by_text("Eosinophilia of the").first).to_be_visible()
    signed = physician.call("GET", f"/api/cases/{case.id}")
    assert signed["sign_note"] == "Eosinophilia of the\nsecond degree"
    assert [event["action"] for event in signed["history"]].count("signed") == 1
    pdf = PdfReader(io.BytesIO(physician.client.get(f"/api/cases/{case.id}/report.pdf").raise_for_status().content))
    text = pdf.pages[0].extract_text()
    assert text.index("Conclusion") < text.index("second degree") < text.index("Patient")
