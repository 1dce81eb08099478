# SPDX-License-Identifier: Apache-2.0
"""Erasing a patient in the browser: the list of what goes, the reason, and the second person."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from medhub.accounts.permissions import Role
from tests.journeys.conftest import Server, sign_in
from tests.journeys.test_reading_journey import Api

pytestmark = pytest.mark.journey


def open_dialog(page: Page, server: Server, patient_id: str) -> Locator:
    page.goto(f"{server.url}/patients/{patient_id}")
    page.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Erase patient").click()
    return page.get_by_role("dialog")


def test_a_patient_is_requested_withdrawn_and_erased(browser: Browser, server: Server) -> None:
    api = Api(server, Role.ADMINISTRATOR)
    identity = {"name": "Aminah binti Yusof", "hospital_number": "H-77"}
    patient = api.call("POST", "/api/patients", json={"identity": identity})
    page = browser.new_page()
    sign_in(page, server, Role.ADMINISTRATOR)
    page.goto(f"{server.url}/settings")
    page.get_by_label("Erasing a patient needs two administrators").click()
    expect(page.get_by_text("Erasures need two administrators now")).to_be_visible()

    dialog = open_dialog(page, server, patient["id"])
    expect(dialog.get_by_text("Identity in the vault")).to_be_visible()
    request = dialog.get_by_role("button", name="Request erasure")
    dialog.get_by_label(re.compile("Type the code")).fill(patient["code"])
    expect(request).to_be_disabled()
    dialog.get_by_label("Reason").fill("Letter of Aminah")
    request.click()
    expect(dialog.get_by_role("alert")).to_contain_text("The reason names the patient")
    dialog.get_by_label("Reason").fill("Asked for by letter")
    request.click()
    expect(page.get_by_text("Erasure requested")).to_be_visible()

    dialog = open_dialog(page, server, patient["id"])
    expect(dialog.get_by_text("You requested this erasure")).to_be_visible()
    dialog.get_by_role("button", name="Withdraw request").click()
    expect(dialog.get_by_label("Reason")).to_be_visible()
    api.call("PATCH", f"/api/projects/{server.project_id}", json={"erasure_by_two": False})

    dialog = open_dialog(page, server, patient["id"])
    dialog.get_by_label("Reason").fill("Asked for by letter")
    dialog.get_by_label(re.compile("Type the code")).fill(patient["code"])
    dialog.get_by_role("button", name="Erase patient").click()
    page.wait_for_url(re.compile("/erasures/[0-9a-f]{32}"))
    expect(page.get_by_text("Asked for by letter")).to_be_visible()
    api.client.close()
