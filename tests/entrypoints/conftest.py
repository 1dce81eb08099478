# SPDX-License-Identifier: Apache-2.0
"""The application on an empty installation, and clients of its people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from medhub.entrypoints.web import create_app
from medhub.foundation.app_context import AppContext
from medhub.foundation.settings import Settings
from tests.factories.accounts import People, client_of

ClientOf = Callable[[str], TestClient]


@pytest.fixture
def settings(tmp_path: Path, database_url: str | None) -> Settings:
    """Settings under which a test can reach the limits."""
    return Settings(
        data=tmp_path / "data",
        database_url=database_url,
        job_runners=0,
        upload_max_bytes=300_000,
        upload_max_files=20,
    )


@pytest.fixture
def web_app(app: AppContext, people: People, tmp_path: Path) -> FastAPI:
    """The application, with a web app of two files; jobs run when a test says so."""
    web = tmp_path / "web"
    (web / "assets").mkdir(parents=True)
    (web / "index.html").write_text("<!doctype html><title>Medhub</title>")
    (web / "assets" / "index-1a2b3c.js").write_text("export {};")
    return create_app(app, run_jobs=False, web=web)


@pytest.fixture
def nobody(web_app: FastAPI) -> TestClient:
    """A client of nobody, over HTTP on a name that is not this machine's own."""
    return TestClient(web_app, base_url="http://medhub.test", raise_server_exceptions=False)


@pytest.fixture
def client(web_app: FastAPI, app: AppContext) -> ClientOf:
    """Makes the client of a role, which sends an API token."""
    return lambda role: client_of(web_app, app, f"{role}@lab.example")
