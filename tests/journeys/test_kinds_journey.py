# SPDX-License-Identifier: Apache-2.0
"""Objects beside pictures, in the browser: each shown as what it is, and a document read before it is taken in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from medhub.accounts.permissions import Role
from medhub.entrypoints.bootstrap import build
from medhub.foundation.settings import Settings
from medhub.ingest.profiles import choose_profile
from medhub.records.models import Image
from tests.factories import kinds
from tests.factories.accounts import signed_in
from tests.journeys.conftest import Server, sign_in
from tests.journeys.test_accessibility import visit

pytestmark = pytest.mark.journey


def bring_in(page: Page, server: Server, folder: Path) -> None:
    """Upload an object of each kind for a new patient."""
    app = build(Settings(data=server.data))
    administrator = signed_in(app, f"{Role.ADMINISTRATOR}@lab.example")
    with app.database.writing() as session:
        choose_profile(session, administrator, server.project_id, name="research-max-utility")
    app.close()
    files = {**{name: make() for name, (make, _) in kinds.KINDS.items()}, "document": kinds.document()}
    paths = []
    for name, data in files.items():
        paths.append(folder / f"{name}.dcm")
        paths[-1].write_bytes(data)
    page.goto(f"{server.url}/patients/new")
    page.get_by_label("Name").fill("Nurul Huda")
    page.get_by_role("button", name="Register patient").click()
    page.get_by_role("link", name="Upload images").first.click()
    page.get_by_role("button", name="Choose files").wait_for()
    page.locator("input[type=file]").first.set_input_files(paths)
    expect(page.get_by_text("The pages of this document may name a person").first).to_be_visible()


def images_of(server: Server) -> dict[str, str]:
    """Ids of the stored objects by modality."""
    app = build(Settings(data=server.data))
    with app.database.reading() as session:
        image_ids = {image.modality: image.id for image in session.scalars(select(Image))}
    app.close()
    return image_ids


def test_each_kind_is_shown_as_what_it_is_and_a_document_is_read_first(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    sign_in(page, server, Role.TECHNOLOGIST)
    bring_in(page, server, tmp_path)

    page.goto(f"{server.url}/quarantine")
    page.locator("[data-row-link]").first.click()
    expect(page.get_by_role("img", name="Page 1 of 2")).to_be_visible()
    violations = visit(page, server, page.url.removeprefix(server.url))
    page.get_by_label("Note").fill("I read both pages; nobody is named.")
    page.get_by_role("button", name="Release as it is").click()
    expect(page.get_by_text("Image accepted")).to_be_visible()

    ids = images_of(server)
    seen = {
        "SR": page.get_by_text(re.compile("mass of the left lung")),
        "ECG": page.get_by_role("img", name=re.compile("I, II, III, over 4.0 seconds")),
        "SEG": page.get_by_text("1 Liver"),
        "RTPLAN": page.get_by_role("heading", name="Prescription"),
        "PR": page.get_by_role("heading", name="Windows"),
        "REG": page.get_by_text("Spatial Registration"),
        "DOC": page.get_by_role("img", name="Page 1 of 2"),
    }
    for modality, proof in seen.items():
        path = f"/images/{ids[modality]}"
        page.goto(f"{server.url}{path}")
        expect(proof.first).to_be_visible()
        violations += visit(page, server, path)
    context.close()
    assert violations == []
    assert errors == []


def test_no_kind_scrolls_a_phone_sideways(browser: Browser, server: Server) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme="dark")
    page = context.new_page()
    sign_in(page, server, Role.TECHNOLOGIST)
    wide = []
    for modality, image_id in images_of(server).items():
        page.goto(f"{server.url}/images/{image_id}")
        page.get_by_role("heading", level=1).wait_for()
        page.wait_for_load_state("networkidle")
        width = page.locator("html").evaluate("node => node.scrollWidth")
        if width > 360:
            wide.append(f"{modality}: {width}")
    context.close()
    assert wide == []
