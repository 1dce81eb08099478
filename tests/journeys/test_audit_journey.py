# SPDX-License-Identifier: Apache-2.0
"""The audit log in the browser: verified, and filtered by person."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from medhub.accounts.permissions import Role
from tests.journeys.conftest import Server, sign_in

pytestmark = pytest.mark.journey


def test_an_administrator_verifies_the_log_and_filters_it_by_person(browser: Browser, server: Server) -> None:
    sign_in(browser.new_page(), server, Role.VIEWER)
    page = browser.new_page()
    sign_in(page, server, Role.ADMINISTRATOR)
    page.goto(f"{server.url}/audit")
    rows = page.locator("tbody tr")
    expect(rows.filter(has_text="Viewer Rahman").first).to_be_visible()
    page.get_by_placeholder("Person", exact=True).click()
    page.get_by_role("option", name="Administrator Rahman").click()
    expect(rows.filter(has_text="Viewer Rahman")).to_have_count(0)
    expect(rows.filter(has_text="Administrator Rahman").first).to_be_visible()

    page.get_by_role("button", name="Verify").click()
    dialog = page.get_by_role("dialog", name="Verification of the audit log")
    expect(dialog.get_by_text("Intact", exact=True)).to_be_visible()
