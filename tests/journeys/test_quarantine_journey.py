# SPDX-License-Identifier: Apache-2.0
"""A file that is in doubt, in the browser: looked at, boxed, released, and its manifest read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from medhub.accounts.permissions import Role
from tests.factories.images import in_doubt, photograph
from tests.journeys.conftest import Server, sign_in
from tests.journeys.test_accessibility import visit

pytestmark = pytest.mark.journey


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_person_looks_through_a_picture_and_releases_it(
    browser: Browser, server: Server, tmp_path: Path, scheme: str
) -> None:
    file = tmp_path / "screen.dcm"
    file.write_bytes(in_doubt(1 if scheme == "light" else 2))
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    sign_in(page, server, Role.TECHNOLOGIST)
    page.goto(f"{server.url}/patients/new")
    page.get_by_label("Name").fill("Nurul Huda")
    page.get_by_role("button", name="Register patient").click()
    page.get_by_role("link", name="Upload images").first.click()
    page.get_by_role("button", name="Choose files").wait_for()
    page.locator("input[type=file]").first.set_input_files(file)
    expect(page.get_by_text("none was found").first).to_be_visible()

    page.goto(f"{server.url}/quarantine")
    page.locator("[data-row-link]").first.click()
    picture = page.locator("svg[viewBox='0 0 96 96']")
    picture.wait_for()
    assert visit(page, server, page.url.removeprefix(server.url)) == []
    edge = picture.bounding_box()
    assert edge is not None
    page.mouse.move(edge["x"] + 20, edge["y"] + 20)
    page.mouse.down()
    page.mouse.move(edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 4)
    page.mouse.up()
    page.get_by_role("button", name="Release with 1 box").click()
    expect(page.get_by_text("Enter what you checked.")).to_be_visible()
    page.get_by_label("Note").fill("One stain, and no name.")
    page.get_by_role("button", name="Release with 1 box").click()
    expect(page.get_by_text("Image accepted")).to_be_visible()

    page.goto(f"{server.url}/images?show=images&sort=-created_at")
    page.locator("a[href^='/images/']").first.click()
    expect(page.get_by_text("checked by a person")).to_be_visible()
    page.get_by_role("button", name=re.compile(r"Show \d+ changes?")).click()
    expect(page.get_by_role("cell", name=re.compile(r"^PatientName \(0010,0010\)"))).to_be_visible()
    context.close()
    assert errors == []


def test_a_profile_is_previewed_and_another_one_chosen(browser: Browser, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "smear.jpg"
    file.write_bytes(photograph(3))
    page = browser.new_page()
    sign_in(page, server, Role.ADMINISTRATOR)
    page.goto(f"{server.url}/settings/de-identification")
    expect(page.get_by_text("nobody yet")).to_be_visible()
    page.locator("input[type=file]").first.set_input_files(file)
    expect(page.get_by_text("No free text remains.")).to_be_visible()
    expect(page.get_by_text("Accepted")).to_be_visible()
    page.get_by_role("combobox", name="New profile").click()
    page.get_by_role("option", name=re.compile("Basic profile")).click()
    page.get_by_role("button", name="Use this profile").click()
    expect(page.get_by_text("Profile in use: basic, version 1")).to_be_visible()
    expect(page.get_by_role("cell", name="basic 1")).to_be_visible()
    page.context.close()
