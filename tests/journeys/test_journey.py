# SPDX-License-Identifier: Apache-2.0
"""From the sign-in of the technologist to the verified PDF, in a real browser, on real images."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from medhub.accounts.permissions import Role
from tests.conftest import ROOT, missing
from tests.journeys.conftest import Server, sign_in

pytestmark = pytest.mark.journey

NAME = "முருகன் சுப்பிரமணியம்"
CELLS = ROOT / "demo" / "blood-cells"


def run_medhub(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "medhub.entrypoints.cli", *arguments, "--data", str(server.data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def smear_field(folder: Path) -> Path:
    """A picture of many discs, as a smear at low magnification, instead of a single cell."""
    random = np.random.default_rng(5)
    y, x = np.mgrid[:480, :640]
    picture = np.full((480, 640, 3), (232, 220, 214), np.float64)
    for _ in range(140):
        cx, cy, r = random.uniform(0, 640), random.uniform(0, 480), random.uniform(14, 20)
        picture[(x - cx) ** 2 + (y - cy) ** 2 < r**2] = np.add((208, 150, 150), random.normal(0, 8, 3))
    path = folder / "field.png"
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(path)
    return path


def broken_file(folder: Path) -> Path:
    content = next(CELLS.glob("platelet/*")).read_bytes()
    path = folder / "cut-off.jpg"
    path.write_bytes(content[: len(content) // 2])
    return path


def test_a_photograph_becomes_a_signed_report(browser: Browser, server: Server, tmp_path: Path) -> None:
    if shutil.which("pdftotext") is None:
        missing("pdftotext (poppler-utils)")
    cells = [sorted(CELLS.glob(f"{kind}/*"))[0] for kind in ("eosinophil", "lymphocyte", "neutrophil", "platelet")]
    page = browser.new_page()
    code = register_and_upload(page, server, [*cells, smear_field(tmp_path), broken_file(tmp_path)])
    page.context.close()

    page = browser.new_page()
    sign_in(page, server, Role.PHYSICIAN)
    report = read_and_sign(page, server, code, tmp_path, images=5)

    text = subprocess.run(["pdftotext", "-layout", str(report), "-"], capture_output=True, text=True).stdout
    assert code in text
    assert NAME.split()[0] in text
    assert "not a medical device" in text
    assert "Red cells only" in text
    process = run_medhub(server, "report", "verify", str(report), "--json")
    verification = json.loads(process.stdout)
    assert process.returncode == 0
    assert (verification["intact"], verification["authentic"], verification["facts_digest_matches"]) == (True,) * 3
    assert NAME not in process.stdout

    altered = tmp_path / "altered.pdf"
    altered.write_bytes(report.read_bytes().replace(b"%PDF-1.7", b"%PDF-1.6", 1) + b" ")
    assert run_medhub(server, "report", "verify", str(altered)).returncode == 1
    assert run_medhub(server, "audit", "verify").returncode == 0
    page.context.close()

    page = browser.new_page()
    sign_in(page, server, Role.RESEARCHER)
    page.goto(f"{server.url}/patients")
    expect(page.get_by_text(code).first).to_be_visible()
    page.get_by_text(code).first.click()
    expect(page.get_by_role("heading", name=f"Patient {code}")).to_be_visible()
    expect(page.get_by_text(NAME)).to_have_count(0)
    page.context.close()


def register_and_upload(page: Page, server: Server, files: list[Path]) -> str:
    sign_in(page, server, Role.TECHNOLOGIST)
    page.goto(f"{server.url}/patients")
    page.get_by_role("link", name="New patient").first.click()
    page.get_by_text("Female", exact=True).click()
    page.get_by_label("Birth year").fill("1980")
    page.get_by_label("Name").fill(NAME)
    page.get_by_role("button", name="Register patient").click()
    heading = page.get_by_role("heading", name=re.compile("Patient P-"))
    heading.wait_for()
    code_match = re.search(r"P-\w+", heading.inner_text())
    assert code_match is not None
    page.get_by_role("link", name="Upload images").first.click()
    page.get_by_role("button", name="Choose files").wait_for()
    page.locator("input[type=file]").first.set_input_files(files)
    expect(page.get_by_role("status").first).to_contain_text("5 of 5 classified", timeout=60_000)
    expect(page.get_by_text("Quarantined").first).to_be_visible()
    expect(page.get_by_text(re.compile("Export it again|cut off|ends", re.IGNORECASE)).first).to_be_visible()
    expect(page.get_by_text("Uncertain").first).to_be_visible()
    return code_match.group()


def read_and_sign(page: Page, server: Server, code: str, folder: Path, *, images: int) -> Path:
    """Accept what the classifier is sure of with the keyboard, write a note where it is not, sign, download."""
    page.goto(f"{server.url}/worklist")
    picture = page.get_by_role("img", name=re.compile(r"^Image 1 of"))
    picture.wait_for()
    page.keyboard.press("h")
    expect(page.get_by_text("What the classifier looked at, not a diagnosis")).to_be_visible()
    page.keyboard.press("h")
    for number in range(1, images + 1):
        shown = page.get_by_role("img", name=re.compile(rf"^Image {number} of"))
        shown.wait_for()
        if "uncertain" in (shown.get_attribute("aria-label") or "").lower():
            page.keyboard.press("9")
            expect(page.get_by_text(re.compile("Write a note for"))).to_be_visible()
            page.get_by_label("Note").fill("Red cells only, no white cell.")
            page.keyboard.press("Enter")
        else:
            page.keyboard.press("Enter")
        if number < images:
            page.get_by_role("img", name=re.compile(rf"^Image {number + 1} of")).wait_for()
    expect(page.get_by_text("no verdict")).to_have_count(0)
    page.keyboard.press("s")
    page.get_by_role("dialog").get_by_role("button", name="Sign case").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.goto(f"{server.url}/cases")
    page.get_by_text(code).first.click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download report").click()
    path = folder / "report.pdf"
    download.value.save_as(path)
    return path
