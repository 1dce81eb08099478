# SPDX-License-Identifier: Apache-2.0
"""The reading queue in Chromium: from the key press to the frame in which the next image is drawn.

``.venv/bin/python bench/reading_queue.py [--images N] [--data FOLDER]``; the target is under 100 ms at p95. The web
app measures itself (``performance.measure("next-image")``); this presses the keys and reads the measures.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import server
from playwright.sync_api import sync_playwright

TARGET_MS = 100.0
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def press_through(url: str, images: int, pause_ms: int) -> list[float]:
    """Sign in, press J through the queue at a reader's pace, and return the measures in milliseconds."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        page.get_by_label("E-mail").fill("physician-0@bench.example")
        page.get_by_label("Password", exact=True).fill(server.PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Dashboard").wait_for()
        page.goto(f"{url}/worklist")
        page.locator('[role="img"][aria-label^="Image 1 of"]').wait_for(timeout=60_000)
        page.wait_for_timeout(2000)
        for _ in range(images - 1):
            page.keyboard.press("j")
            page.wait_for_timeout(pause_ms)
        page.wait_for_timeout(500)
        measures: list[float] = page.locator("html").evaluate(
            "() => performance.getEntriesByName('next-image').map(entry => entry.duration)"
        )
        browser.close()
    return measures


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--data", type=Path, default=None, help="keep the data folder here")
    arguments = parser.parse_args()
    with server.data_folder(arguments.data) as data:
        server.add_people(data, {"technologist": 1, "physician": 1})
        with server.running(data) as running:
            technologist = running.client("technologist-0@bench.example")
            patient = server.add_patient(technologist, 0)
            for number in range(arguments.images):
                technologist.upload(patient, [(f"{number}.jpg", server.smear(number))])
            server.wait_until_read(technologist)
            print(f"{arguments.images} photographs of 2048 x 1536 px, the key J, window of 1440 x 900 px.\n")
            print("| ms between keys | n | p50 ms | p95 ms | most ms |\n|---|---|---|---|---|")
            for pause_ms in (1000, 400):
                measures = sorted(press_through(f"http://127.0.0.1:{running.port}", arguments.images, pause_ms))
                p95 = statistics.quantiles(measures, n=20)[-1]
                middle = statistics.median(measures)
                print(f"| {pause_ms} | {len(measures)} | {middle:.0f} | {p95:.0f} | {measures[-1]:.0f} |", flush=True)
                if pause_ms == 1000:
                    reader = p95
    print(f"\n{server.machine()}\n" + server.verdict_on(f"p95 under {TARGET_MS:g} ms at 1 image/s", reader, TARGET_MS))


if __name__ == "__main__":
    main()
