# SPDX-License-Identifier: Apache-2.0
"""Files that name their patient themselves, in the browser: whose one is, and how a project takes them in."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from medhub.accounts.permissions import Role
from tests.factories.cts import ct
from tests.journeys.conftest import Server, sign_in
from tests.journeys.test_accessibility import visit

pytestmark = pytest.mark.journey


def bring(server: Server, folder: Path) -> None:
    """Bring a folder in from the command line, beside the server."""
    command = [sys.executable, "-m", "medhub.entrypoints.cli", "ingest", str(folder), "--project", server.project_id]
    subprocess.run([*command, "--data", str(server.data)], capture_output=True, check=False)


def test_a_person_says_whose_a_file_is_and_what_a_project_searches_by(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "known.dcm").write_bytes(ct(KVP="120"))
    (tmp_path / "other.dcm").write_bytes(ct(SOPInstanceUID="1.2.3.2", PatientName="ROE^RICHARD"))
    bring(server, tmp_path)
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    sign_in(page, server, Role.ADMINISTRATOR)

    page.goto(f"{server.url}/quarantine")
    page.locator("[data-row-link]").first.click()
    page.get_by_role("heading", name="Assign patient").wait_for()
    assert visit(page, server, page.url.removeprefix(server.url)) == []
    expect(page.get_by_role("cell", name="ROE RICHARD")).to_be_visible()
    page.get_by_role("button", name="Assign patient").click()
    expect(page.get_by_text("Select the patient.")).to_be_visible()
    page.get_by_label("a new patient").check()
    page.get_by_label("Note").fill("The referral says so.")
    page.get_by_role("button", name="Assign patient").click()
    expect(page.get_by_text("Image accepted")).to_be_visible()
    page.goto(f"{server.url}/images")
    expect(page.get_by_text("2 patients")).to_be_visible()

    assert visit(page, server, "/settings/archive") == []
    page.get_by_label("Replace the stored image if the cleaned image differs").check()
    page.get_by_role("combobox", name="Attributes to search by").fill("KVP")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Archive settings saved")).to_be_visible()
    expect(page.get_by_text("All images are indexed by these attributes.")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Replace the stored image if the cleaned image differs")).to_be_checked()
    expect(page.get_by_text(re.compile("Changed by Administrator Rahman"))).to_be_visible()
    page.close()
    assert errors == []
