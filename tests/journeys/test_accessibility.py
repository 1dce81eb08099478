# SPDX-License-Identifier: Apache-2.0
"""Each page in light and dark: no violation that axe finds, no sideways scrolling on a phone, no console error."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from medhub.accounts.permissions import Role
from tests.conftest import ROOT
from tests.journeys.conftest import Server, sign_in

pytestmark = pytest.mark.journey

PAGES = {
    Role.TECHNOLOGIST: ["/", "/patients", "/patients/new", "/upload", "/images", "/cases", "/reports", "/quarantine"],
    Role.PHYSICIAN: ["/", "/worklist", "/cases", "/classifiers", "/settings"],
    Role.ADMINISTRATOR: [
        "/",
        "/people",
        "/audit",
        "/settings",
        "/settings/de-identification",
        "/settings/nodes",
        "/erasures",
        "/training/use",
    ],
    Role.RESEARCHER: [
        *("/", "/patients", "/images", "/images?show=images", "/images?show=images&view=list", "/classifiers"),
        *("/exports", "/exports?order=project"),
        *("/training", "/training/new", "/training/datasets", "/training/datasets/new", "/training/use"),
    ],
}
AXE_OPTIONS = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    "rules": {"landmark-unique": {"enabled": True}},
}


@pytest.fixture(scope="module")
def filled(browser: Browser, server: Server) -> Server:
    """The server with a patient and some images that were read."""
    page = browser.new_page()
    sign_in(page, server, Role.TECHNOLOGIST)
    page.goto(f"{server.url}/patients/new")
    page.get_by_label("Name").fill("Aisyah binti Rahman")
    page.get_by_role("button", name="Register patient").click()
    page.get_by_role("link", name="Upload images").first.click()
    page.get_by_role("button", name="Choose files").wait_for()
    cells = sorted((ROOT / "demo" / "blood-cells").glob("*/*"))[:4]
    page.locator("input[type=file]").first.set_input_files(cells)
    page.get_by_text("4 of 4 classified").wait_for(timeout=60_000)
    page.context.close()
    return server


def visit(page: Page, server: Server, path: str) -> list[str]:
    """Open a page, wait until it is quiet, and say what axe finds."""
    page.goto(f"{server.url}{path}")
    page.wait_for_load_state("networkidle")
    results = Axe().run(page, options=AXE_OPTIONS)
    return [
        f"{path}: {violation['id']}: {violation['nodes'][0]['html'][:160]}"
        for violation in results.response["violations"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("role", list(PAGES))
def test_a_page_has_no_violation_and_no_error(browser: Browser, filled: Server, role: Role, scheme: str) -> None:
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page = context.new_page()
    page.goto(filled.url)
    page.get_by_label("E-mail").wait_for()
    violations = visit(page, filled, "/sign-in")
    errors: list[str] = []
    sign_in(page, filled, role)
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    for path in PAGES[role]:
        violations += visit(page, filled, path)
    for path in ("/patients", "/cases"):
        page.goto(f"{filled.url}{path}")
        page.locator("[data-row-link]").first.click()
        page.wait_for_url(f"{filled.url}{path}/*")
        violations += visit(page, filled, page.url.removeprefix(filled.url))
    context.close()
    assert violations == []
    assert errors == []


def test_a_phone_scrolls_no_page_sideways(browser: Browser, filled: Server) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = context.new_page()
    wide = []
    for role, paths in PAGES.items():
        page.context.clear_cookies()
        sign_in(page, filled, role)
        for path in paths:
            page.goto(f"{filled.url}{path}")
            page.wait_for_load_state("networkidle")
            width = page.locator("html").evaluate("node => node.scrollWidth")
            if width > 360:
                wide.append(f"{role} {path}: {width}")
    context.close()
    assert wide == []
