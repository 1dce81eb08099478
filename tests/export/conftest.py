# SPDX-License-Identifier: Apache-2.0
"""An installation that reads colors, with images of two patients that hold nothing of anybody."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.export import export_scan
from medhub.foundation.app_context import AppContext
from medhub.foundation.settings import Settings
from tests.factories.accounts import People
from tests.factories.colors import lay_out
from tests.factories.exports import lay_signed

# Most of what is tested here asks nothing of a database that the other would answer otherwise.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def settings(tmp_path: Path, database_url: str | None) -> Settings:
    """Settings of an installation that reads colors."""
    pathways, classifiers = lay_out(tmp_path)
    return Settings(
        data=tmp_path / "data", database_url=database_url, job_runners=0, pathways=pathways, classifiers=classifiers
    )


@pytest.fixture(autouse=True)
def _without_reading_pixels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """OCR takes a second per picture: only tests with the fixture ``reads_pixels`` run it."""
    if "reads_pixels" not in request.fixturenames:
        monkeypatch.setattr(export_scan, "READ_PIXELS", False)


@pytest.fixture
def reads_pixels() -> None:
    """Read text in pixels."""


@pytest.fixture
def researcher(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.RESEARCHER)


@pytest.fixture
def administrator(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.ADMINISTRATOR)


@dataclass(frozen=True)
class Known:
    """Signed images of Siti, whose identity is in the vault, and of a patient without an identity."""

    siti: str
    images_of_siti: list[str]
    other: str
    images_of_other: list[str]


@pytest.fixture
def known(app: AppContext, people: People) -> Known:
    siti, first = lay_signed(app, people, {"red": "red", "green": "green"}, 100, identity=True)
    other, second = lay_signed(app, people, {"blue": "blue", "red": "gray"}, 200)
    return Known(siti, first, other, second)
