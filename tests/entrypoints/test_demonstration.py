# SPDX-License-Identifier: Apache-2.0
"""The first start: the passwords are the last lines, and the tutorial's images are not stored yet."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from medhub.entrypoints import cli_serve, demo
from medhub.entrypoints.bootstrap import build
from medhub.entrypoints.web import create_app
from medhub.foundation.settings import Settings
from tests.conftest import ROOT


def test_the_first_start_prints_the_passwords_last_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "images_folder", lambda: None)
    monkeypatch.setattr(cli_serve, "serve_requests", lambda _, listening, __: listening.close())
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("MEDHUB_CLASSIFIERS", str(tmp_path / "none"))  # so that pathways without a classifier are named
    cli_serve.serve(data=tmp_path / "data", host="127.0.0.1", port=0, processes=1, demo=True)
    printed = capsys.readouterr().err
    assert printed.index("Medhub is at http://127.0.0.1:") < printed.index("Accounts of the demonstration")
    assert "shown only now" in printed.rstrip().splitlines()[-1]
    passwords = dict(re.findall(r"(\w+@demo\.example)\s+(\S+)", printed))
    assert len(passwords) == 7
    app = build(Settings(data=tmp_path / "data"))
    with TestClient(create_app(app, run_jobs=False), base_url="https://testserver") as client:
        for email, password in passwords.items():
            answer = client.post("/api/auth/token", data={"username": email, "password": password})
            assert answer.status_code == 200, answer.text
    app.close()
    cli_serve.serve(data=tmp_path / "data", host="127.0.0.1", port=0, processes=1, demo=True)
    assert "@demo.example" not in capsys.readouterr().err


def test_the_images_of_the_tutorial_are_not_among_those_of_the_demonstration() -> None:
    def digests(folder: str) -> set[str]:
        return {hashlib.sha256(path.read_bytes()).hexdigest() for path in (ROOT / "demo" / folder).rglob("*.jpg")}

    assert len(digests("to-upload")) == 8
    assert not digests("to-upload") & digests("blood-cells")
    assert "demo/to-upload" in (ROOT / "docs" / "tutorials" / "first-report.md").read_text(encoding="utf-8")
