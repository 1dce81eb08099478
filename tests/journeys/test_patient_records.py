# SPDX-License-Identifier: Apache-2.0
"""Registering patients, and signing texts that a report cannot print, in a real browser."""

from __future__ import annotations

import os
import re

import pytest
from playwright.sync_api import Browser, Page, expect

from medhub.accounts.permissions import Role
from tests.journeys.conftest import Server, sign_in
from tests.journeys.test_reading_journey import Api, give_verdicts, open_case

pytestmark = pytest.mark.journey


@pytest.fixture
def page(browser: Browser) -> Page:
    """A page of its own."""
    return browser.new_page()


PICTURES = os.environ.get("MEDHUB_TEST_PICTURES")  # a folder for pictures of the pages


def take_picture(page: Page, name: str) -> None:
    """Save a picture of a page, if a person wants to look at it."""
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)


def fill_form(page: Page, name: str, number: str, birth_date: str) -> None:
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Hospital number").fill(number)
    page.get_by_label("Birth date").fill(birth_date)


def test_a_duplicate_is_shown_and_saved_only_with_a_reason(server: Server, page: Page) -> None:
    api = Api(server, Role.TECHNOLOGIST)
    identity = {"name": "Łukasz Wójcik", "hospital_number": "H-500"}
    code = api.call("POST", "/api/patients", json={"identity": identity})["code"]
    api.client.close()
    sign_in(page, server, Role.TECHNOLOGIST)
    page.goto(f"{server.url}/patients/new")
    fill_form(page, "Ann Lee", "h 0500", "1980-03-14")
    expect(page.get_by_label("Birth year")).to_have_value("1980")
    expect(page.get_by_text(re.compile(r"^Age \d\d"))).to_be_visible()
    page.get_by_role("button", name="Register patient").click()
    expect(page.get_by_role("alert")).to_contain_text(f"{code} has this hospital number already")
    take_picture(page, "duplicate-light")
    confirm = page.get_by_role("button", name="Save as another person")
    expect(confirm).to_be_disabled()
    page.get_by_label("Why is a second record needed?").fill("The number was given twice")
    confirm.click()
    page.wait_for_url(re.compile("/patients/[0-9a-f]{32}"))
    page.goto(f"{server.url}/patients?query=lukasz")
    expect(page.get_by_text(code).first).to_be_visible()


def test_a_birth_date_that_cannot_be_is_explained(server: Server, page: Page) -> None:
    sign_in(page, server, Role.TECHNOLOGIST)
    page.goto(f"{server.url}/patients/new")
    fill_form(page, "Ann Lee", "", "2580-01-01")
    page.get_by_role("button", name="Register patient").click()
    expect(page.get_by_text("This date lies in the future.")).to_be_visible()
    page.get_by_label("Birth date").fill("1980-03-14")
    page.get_by_label("Birth year").fill("1981")
    page.get_by_role("button", name="Register patient").click()
    expect(page.get_by_text("This year contradicts the birth date.")).to_be_visible()


def test_unprintable_characters_are_shown_before_the_signature(server: Server, page: Page) -> None:
    physician = Api(server, Role.PHYSICIAN)
    case = open_case(server, 0, 1)
    give_verdicts(physician, case)
    sign_in(page, server, Role.PHYSICIAN)
    page.goto(f"{server.url}/cases/{case.id}")
    page.get_by_role("button", name="Sign case").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Conclusion").fill("Seen by 𠂉")
    sign = dialog.get_by_role("button", name="Sign case")
    sign.focus()
    page.keyboard.press("Control+Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("U+20089")
    take_picture(page, "sign-light")
    assert physician.call("GET", f"/api/cases/{case.id}")["signed_at"] is None
    dialog.get_by_label("Print the codes of these characters instead").check()
    sign.focus()
    page.keyboard.press("Control+Enter")
    expect(dialog).to_have_count(0)
    assert physician.call("GET", f"/api/cases/{case.id}")["signed_at"] is not None
    physician.client.close()
