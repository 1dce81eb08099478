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


def test_the_queue_stops_at_the_end_of_a_case(server: Server, page: Page, physician: Api) -> None:
    cases = [open_case(server, 1, 1), open_case(server, 2, 1)]
    page.goto(f"{server.url}/worklist")
    page.get_by_role("img", name=re.compile("^Image 1 of")).wait_for()
    note = page.get_by_label("Note")
    note.fill("Granules.")
    page.get_by_role("button", name=re.compile("^Select Eosinophil")).click()
    expect(page.get_by_text("All images read. Sign?")).to_be_visible()
    button = page.get_by_role("button", name="Sign case")
    expect(button).to_be_in_viewport(ratio=1)
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    expect(page.get_by_text(cases[0].patient_code).first).to_be_visible()
    expect(page.get_by_text("Another patient:")).to_have_count(0)
    page.get_by_role("button", name=f"Next case: {cases[1].patient_code}").click()
    expect(page.get_by_text(f"Another patient: {cases[1].patient_code}")).to_be_visible()
    expect(page.get_by_role("heading", name=re.compile("Ready to sign"))).to_be_visible()
    page.goto(server.url)
    expect(page.get_by_role("listitem").filter(has_text=cases[0].patient_code)).to_contain_text("Ready to sign")
    page.goto(f"{server.url}/worklist?case_id={cases[0].id}")
    page.get_by_role("img", name=re.compile("^Image 1 of 1")).wait_for()
    page.keyboard.press("s")
    page.get_by_role("dialog").get_by_role("button", name="Sign case").click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_verdict_of_another_reader_is_shown_before_it_is_replaced(
    server: Server, page: Page, physician: Api
) -> None:
    case = open_case(server, 3, 1)
    page.goto(f"{server.url}/worklist?case_id={case.id}")
    page.get_by_role("img", name=re.compile("^Image 1 of 1")).wait_for()
    give_verdicts(physician, case)
    page.get_by_label("Note").fill("Round nucleus.")
    page.get_by_role("button", name=re.compile("^Select Monocyte")).click()
    alert = page.get_by_role("alert").filter(has_text="Changed in the meantime")
    expect(alert).to_contain_text("Stored: Eosinophil, by Physician Rahman")
    stored = physician.call("GET", f"/api/images/{case.image_ids[0]}")
    assert stored["verdict"]["label"] == "eosinophil"
    alert.get_by_role("button", name="Give Monocyte").click()
    expect(alert).to_have_count(0)
    expect(page.get_by_text("All images read. Sign?")).to_be_visible()
    page.keyboard.press("u")
    expect(page.get_by_role("button", name=re.compile("^Select Eosinophil"))).to_have_attribute("aria-pressed", "true")
    restored = physician.call("GET", f"/api/images/{case.image_ids[0]}")
    assert (restored["verdict"]["label"], restored["verdict"]["note"]) == ("eosinophil", "Granules.")


def test_a_note_survives_the_end_of_the_session(server: Server, page: Page) -> None:
    case = open_case(server, 4, 1)
    page.goto(f"{server.url}/worklist?case_id={case.id}")
    page.get_by_role("img", name=re.compile("^Image 1 of 1")).wait_for()
    page.get_by_label("Note").fill("Bilobed nucleus, coarse granules.")
    page.context.clear_cookies()
    page.get_by_role("button", name=re.compile("^Select Eosinophil")).click()
    expect(page.get_by_text("Your session has ended.")).to_be_visible()
    page.get_by_label("E-mail").fill("physician@lab.example")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Note")).to_have_value("Bilobed nucleus, coarse granules.")
