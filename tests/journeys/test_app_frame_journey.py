# SPDX-License-Identifier: Apache-2.0
"""What every page shares: uploads while the server is down, messages, print, and pictures that cannot be shown."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from pypdf import PdfReader

from medhub.accounts.permissions import Role
from tests.conftest import ROOT
from tests.factories.cts import ct
from tests.journeys.conftest import Server, sign_in
from tests.journeys.test_reading_journey import Api

pytestmark = pytest.mark.journey

CELLS = sorted((ROOT / "demo" / "blood-cells").glob("*/*"))[:4]
# Whether nothing on the page asks the browser to stay.
LEAVES = "window.dispatchEvent(new Event('beforeunload', { cancelable: true }))"


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """A browser in which the technologist is signed in."""
    page = browser.new_page(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    sign_in(page, server, Role.TECHNOLOGIST)
    yield page
    page.context.close()


def new_patient(server: Server) -> str:
    """The id of a new patient."""
    api = Api(server, Role.TECHNOLOGIST)
    patient: str = api.call("POST", "/api/patients", json={"sex": "F", "birth_year": 1980})["id"]
    api.client.close()
    return patient


def test_files_that_no_server_took_are_shown_as_not_sent_on_every_page(server: Server, page: Page) -> None:
    page.clock.install()
    page.goto(f"{server.url}/upload?patient_id={new_patient(server)}")
    page.get_by_role("button", name="Choose files").wait_for()
    page.route("**/api/**", lambda route: route.abort("connectionrefused"))
    page.locator("input[type=file]").first.set_input_files(CELLS)
    summary = page.get_by_text("0 of 4 files processed, 4 not sent")
    for _ in range(20):
        if summary.is_visible():
            break
        page.clock.run_for(2_000)
    expect(summary).to_be_visible()
    expect(page.get_by_role("progressbar", name="All files")).to_have_attribute("aria-valuenow", "0")
    expect(page.get_by_text("the server cannot be reached").first).to_be_visible()
    expect(page.get_by_text("does not exist")).to_have_count(0)

    page.get_by_role("navigation", name="Main", exact=True).get_by_role("link", name="Settings").click()
    bar = page.get_by_role("banner")
    expect(bar.get_by_text("4 files not sent")).to_be_visible()
    assert not page.evaluate(LEAVES), "the browser closes the page without a question"

    page.unroute("**/api/**")
    bar.get_by_role("button", name="Retry").click()
    expect(bar.get_by_text("not sent")).to_have_count(0)
    page.get_by_role("navigation", name="Main", exact=True).get_by_role("link", name="Upload").click()
    expect(page.get_by_text("4 of 4 files processed")).to_be_visible()
    assert page.evaluate(LEAVES)


def test_without_a_server_nothing_is_said_of_the_patient(server: Server, page: Page) -> None:
    patient_id = new_patient(server)
    page.route(f"**/api/patients/{patient_id}", lambda route: route.abort("connectionrefused"))
    page.goto(f"{server.url}/upload?patient_id={patient_id}")
    expect(page.get_by_text("Medhub cannot be reached").first).to_be_visible()
    expect(page.get_by_text("does not exist")).to_have_count(0)
    page.unroute(f"**/api/patients/{patient_id}")
    page.goto(f"{server.url}/upload?patient_id=01a22f1b16a471788beca99b5da2cc99")
    expect(page.get_by_text("This patient does not exist")).to_be_visible()


def test_an_image_without_a_pathway_says_that_it_is_archived(server: Server, page: Page, tmp_path: Path) -> None:
    file = tmp_path / "ct.dcm"
    file.write_bytes(ct())
    page.goto(f"{server.url}/upload?patient_id={new_patient(server)}")
    page.get_by_role("button", name="Choose files").wait_for()
    page.locator("input[type=file]").first.set_input_files(file)
    expect(page.get_by_text("Archived: no pathway for this modality (CT)")).to_be_visible()
    expect(page.get_by_text("1 archived without a case")).to_be_visible()
    expect(page.get_by_role("link", name="Open case")).to_have_count(0)


def test_the_last_breadcrumb_is_the_page(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/patients/new")
    page.get_by_label("Name").fill("Nurul Huda binti Osman")
    page.get_by_role("button", name="Register patient").click()
    message = page.get_by_role("alert").filter(has_text="is registered")
    expect(message).to_be_visible()
    expect(page.get_by_role("navigation", name="Breadcrumb").locator("li").last).to_have_attribute(
        "aria-current", "page"
    )


def test_a_page_is_printed_without_the_navigation_and_to_its_end(server: Server, page: Page) -> None:
    patient_id = new_patient(server)
    api = Api(server, Role.TECHNOLOGIST)
    files = [("files", (path.name, path.read_bytes())) for path in sorted(CELLS[0].parent.parent.glob("*/*"))[4:12]]
    api.call("POST", "/api/images", data={"patient_id": patient_id, "pathway": "smear-review"}, files=files)
    api.client.close()
    page.goto(f"{server.url}/patients/{patient_id}")
    expect(page.locator("[data-row-link] img")).to_have_count(8)
    page.wait_for_load_state("networkidle")
    text = "\n".join(sheet.extract_text() for sheet in PdfReader(io.BytesIO(page.pdf(format="A5"))).pages)
    assert "Collapse" not in text
    assert "Upload images" not in text
    assert all(f"Image {number}" in text for number in range(1, 9))


def test_pictures_that_cannot_be_shown_are_no_black_squares(server: Server, page: Page) -> None:
    patient_id = new_patient(server)
    page.goto(f"{server.url}/upload?patient_id={patient_id}")
    page.get_by_role("button", name="Choose files").wait_for()
    page.locator("input[type=file]").first.set_input_files(sorted(CELLS[0].parent.parent.glob("*/*"))[14:15])
    expect(page.get_by_text("1 accepted")).to_be_visible()
    page.route("**/rendered*", lambda route: route.abort("connectionrefused"))
    page.goto(f"{server.url}/patients/{patient_id}")
    missing = page.get_by_text("No preview").first
    expect(missing).to_be_visible()
    ground = missing.evaluate("node => getComputedStyle(node.parentElement).backgroundColor")
    assert ground == "rgb(239, 241, 241)"
