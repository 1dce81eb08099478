# SPDX-License-Identifier: Apache-2.0
"""Only the owner reads the data folder and its database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from medhub.accounts import service as accounts
from medhub.entrypoints.bootstrap import build
from medhub.foundation.settings import Settings


@pytest.mark.parametrize("earlier", [False, True], ids=["new", "of an earlier version"])
def test_only_the_owner_reads_the_database_and_its_journals(tmp_path: Path, earlier: bool) -> None:
    data = tmp_path / "data"
    previous = os.umask(0o022)
    try:
        if earlier:
            data.mkdir(mode=0o755)
            for name in ("medhub.sqlite", "medhub.sqlite-wal", "medhub.sqlite-shm"):
                (data / name).touch(0o644)
        app = build(Settings(data=data))
        with app.database.writing() as session:
            accounts.add_project(session, "Laboratory")
        modes = {path.name: path.stat().st_mode & 0o777 for path in data.glob("medhub.sqlite*")}
        app.close()
    finally:
        os.umask(previous)
    assert modes == {"medhub.sqlite": 0o600, "medhub.sqlite-wal": 0o600, "medhub.sqlite-shm": 0o600}
    assert data.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("path", ["/api/none", "/dicom-web/studies", "/dicom-web/none", "/wado", "/metrics"])
def test_no_answer_about_data_is_kept_by_caches(nobody: TestClient, path: str) -> None:
    assert "no-store" in nobody.get(path).headers["Cache-Control"]
