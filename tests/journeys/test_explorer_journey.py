# SPDX-License-Identifier: Apache-2.0
"""The images page as folders, in a real browser: make, fill, choose, move, delete, search, on a desk and on a phone."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from medhub.accounts.permissions import Role
from tests.factories.images import photograph
from tests.journeys.conftest import PASSWORD, Server, sign_in
from tests.journeys.test_accessibility import AXE_OPTIONS, visit

pytestmark = pytest.mark.journey


def headers(server: Server, role: Role) -> dict[str, str]:
    form = {"username": f"{role}@lab.example", "password": PASSWORD}
    answer = httpx.post(f"{server.url}/api/auth/token", data=form).raise_for_status()
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def register(server: Server) -> tuple[str, str]:
    """A patient without images: id and code."""
    answer = httpx.post(
        f"{server.url}/api/patients", headers=headers(server, Role.TECHNOLOGIST), json={"sex": "F", "birth_year": 1980}
    ).raise_for_status()
    return answer.json()["id"], answer.json()["code"]


def folder_of(path: Path) -> Path:
    """A folder with a folder in it, a ZIP beside, and what no image is called."""
    inner = path / "from the microscope" / "slide 1"
    inner.mkdir(parents=True)
    for number in range(3):
        (inner / f"Aisyah {number}.jpg").write_bytes(photograph(100 + number))
    (inner / ".DS_Store").write_bytes(b"hidden")
    (inner.parent / "notes.txt").write_text("not an image")
    with zipfile.ZipFile(inner.parent / "more.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deep/4.jpg", photograph(104))
        archive.writestr("deep/5.png", photograph(105, form="PNG"))
    return inner.parent


def cells(page: Page) -> Locator:
    return page.get_by_role("gridcell")


def violations(page: Page) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    results = Axe().run(page, options=AXE_OPTIONS)
    return [f"{violation['id']}: {violation['nodes'][0]['html'][:200]}" for violation in results.response["violations"]]


def choose_in(page: Page, field: str, option: str | re.Pattern[str]) -> None:
    page.get_by_role("dialog").get_by_role("combobox", name=field).click()
    page.get_by_role("option", name=option).click()


def test_a_folder_is_uploaded_into_a_place_and_its_images_are_sorted(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    patient_id, code = register(server)
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    sign_in(page, server, Role.TECHNOLOGIST)

    # The patient is found by its code and opened, and a study is added.
    page.goto(f"{server.url}/images")
    page.get_by_role("searchbox", name=re.compile("Search code")).fill(code)
    expect(page.get_by_label("1 patient here")).to_be_visible()
    cells(page).first.dblclick()
    expect(page.get_by_text("No studies here yet")).to_be_visible()
    page.get_by_role("button", name="New study").click()
    page.get_by_role("textbox", name="Description").fill("Smear of day 1")
    page.get_by_role("button", name="Create study").click()
    page.get_by_role("link", name="Smear of day 1").click()
    expect(page.get_by_role("heading", name=re.compile("Smear of day 1"))).to_be_visible()
    assert violations(page) == []

    # A folder is uploaded into the open study.
    page.get_by_role("button", name="Upload here").first.click()
    choose_in(page, "Pathway", re.compile("smear", re.IGNORECASE))
    assert violations(page) == []
    page.locator("input[webkitdirectory]").set_input_files(folder_of(tmp_path))
    expect(page.get_by_text(re.compile("6 of 6 files processed, 5 accepted, 1 quarantined"))).to_be_visible()
    page.get_by_role("button", name="Clear finished").click()
    expect(page.get_by_label("1 series here")).to_be_visible()
    cells(page).first.dblclick()
    expect(page.get_by_label("5 images here")).to_be_visible()
    assert violations(page) == []

    # Images are selected by click with Shift, with Ctrl, and by keyboard only.
    cells(page).nth(0).click()
    cells(page).nth(3).click(modifiers=["Shift"])
    expect(page.get_by_text("4 images selected")).to_be_visible()
    cells(page).nth(1).click(modifiers=["Control"])
    expect(page.get_by_text("3 images selected")).to_be_visible()
    grid = page.get_by_role("grid")
    grid.focus()
    page.keyboard.press("Escape")
    expect(page.get_by_text("images selected")).to_be_hidden()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.get_by_text("2 images selected")).to_be_visible()
    page.keyboard.press("Control+a")
    expect(page.get_by_text("5 images selected")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("End")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    expect(page.get_by_text("2 images selected")).to_be_visible()
    assert violations(page) == []

    # Two images are moved into a new series of the same study.
    page.get_by_role("button", name="Move", exact=True).click()
    choose_in(page, "Study", "Smear of day 1")
    choose_in(page, "Series", "A new series")
    assert violations(page) == []
    page.get_by_role("button", name="Move 2 images").click()
    expect(page.get_by_label("3 images here")).to_be_visible()
    page.get_by_role("link", name="Smear of day 1").click()
    expect(page.get_by_label("2 series here")).to_be_visible()
    expect(cells(page).filter(has_text="2 images")).to_have_count(1)

    # The series is renamed, and an image is deleted after the patient's code is typed.
    cells(page).filter(has_text="2 images").click()
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("textbox", name="Description").fill("Feathered edge")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Feathered edge").click()
    expect(page.get_by_label("2 images here")).to_be_visible()
    cells(page).first.click()
    page.get_by_role("button", name="Delete", exact=True).click()
    delete = page.get_by_role("button", name="Delete 1 image")
    expect(delete).to_be_disabled()
    page.get_by_label(f"Type {code} to confirm").fill(code)
    delete.click()
    expect(page.get_by_label("1 image here")).to_be_visible()

    # It is found by any identifier, and the list shows the same as the tiles.
    studies = httpx.get(
        f"{server.url}/api/studies?patient_id={patient_id}", headers=headers(server, Role.VIEWER)
    ).json()["items"]
    assert [(study["series"], study["images"]) for study in studies] == [(2, 4)]
    page.goto(f"{server.url}/images?view=list&query={studies[0]['study_uid']}")
    expect(page.get_by_label("1 patient here")).to_be_visible()
    expect(cells(page).first).to_contain_text(code)
    page.get_by_text("Studies", exact=True).first.click()
    expect(page.get_by_label("1 study here")).to_be_visible()
    assert violations(page) == []
    page.go_back()
    expect(page.get_by_label("1 patient here")).to_be_visible()

    # The same pages in the dark color scheme.
    dark = browser.new_context(color_scheme="dark", storage_state=context.storage_state())
    dark_page = dark.new_page()
    dark_violations = [
        violation
        for address in (
            "/images",
            f"/images?patient_id={patient_id}",
            f"/images?study_id={studies[0]['id']}&show=images",
            f"/images?study_id={studies[0]['id']}&show=images&view=list",
        )
        for violation in visit(dark_page, server, address)
    ]
    dark.close()
    context.close()
    assert (dark_violations, errors) == ([], [])


def test_files_that_are_dropped_go_where_they_are_let_go(browser: Browser, server: Server) -> None:
    patient_id, _ = register(server)
    study = httpx.post(
        f"{server.url}/api/studies",
        headers=headers(server, Role.TECHNOLOGIST),
        json={"patient_id": patient_id, "description": "Dropped upon"},
    ).json()
    page = browser.new_page()
    sign_in(page, server, Role.TECHNOLOGIST)
    page.goto(f"{server.url}/images?study_id={study['id']}")
    page.get_by_text("Drop files, a folder or a ZIP here.").wait_for()
    dropped = page.evaluate_handle(
        "bytes => { const all = new DataTransfer();"
        "all.items.add(new File([new Uint8Array(bytes)], 'a.jpg', {type: 'image/jpeg'})); return all; }",
        list(photograph(60)),
    )
    target = page.get_by_text("No series here yet")
    target.dispatch_event("dragover", {"dataTransfer": dropped})
    expect(page.get_by_text("Drop to upload into Dropped upon")).to_be_visible()
    target.dispatch_event("drop", {"dataTransfer": dropped})
    # There is only one pathway, so the app does not ask for it.
    expect(page.get_by_text("1 of 1 file processed, 1 accepted")).to_be_visible()
    expect(page.get_by_label("1 series here")).to_be_visible()
    page.context.close()


def test_on_a_phone_a_tap_opens_and_boxes_choose(browser: Browser, server: Server) -> None:
    patient_id, code = register(server)
    for number in range(2):
        httpx.post(
            f"{server.url}/api/images",
            headers=headers(server, Role.TECHNOLOGIST),
            data={"patient_id": patient_id, "pathway": "smear-review"},
            files=[("files", (f"{number}.jpg", photograph(80 + number), "image/jpeg"))],
            timeout=60,
        ).raise_for_status()
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = context.new_page()
    sign_in(page, server, Role.TECHNOLOGIST)
    page.goto(f"{server.url}/images?query={code}")
    expect(page.get_by_label("1 patient here")).to_be_visible()
    cells(page).first.tap()
    expect(page.get_by_label("1 study here")).to_be_visible()
    page.goto(f"{server.url}/images?patient_id={patient_id}&show=images")
    expect(page.get_by_label("2 images here")).to_be_visible()
    cells(page).nth(0).get_by_role("checkbox").tap()
    cells(page).nth(1).tap()
    expect(page.get_by_text("2 images selected")).to_be_visible()
    assert violations(page) == []
    list_violations = visit(page, server, f"/images?patient_id={patient_id}&show=images&view=list")
    assert list_violations == []
    assert page.locator("html").evaluate("node => node.scrollWidth") == 360
    context.close()


def test_who_only_looks_finds_no_act(browser: Browser, server: Server) -> None:
    patient_id, _ = register(server)
    page = browser.new_page()
    sign_in(page, server, Role.VIEWER)
    page.goto(f"{server.url}/images?patient_id={patient_id}")
    expect(page.get_by_text("No studies here yet")).to_be_visible()
    for act in ("New study", "Upload here", "Move", "Delete"):
        expect(page.get_by_role("button", name=act)).to_have_count(0)
    page.context.close()
