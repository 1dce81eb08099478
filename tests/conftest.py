# SPDX-License-Identifier: Apache-2.0
"""What all tests share: an installation on each of the two databases, people of each role, no network."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import structlog

from medhub.entrypoints.bootstrap import open_database
from medhub.foundation.app_context import AppContext
from medhub.foundation.blobs import BlobStore
from medhub.foundation.database import Base
from medhub.foundation.isolation import Isolation
from medhub.foundation.keys import Keys
from medhub.foundation.migration import upgrade
from medhub.foundation.settings import Settings
from tests.factories.accounts import People, make_people

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
# With this set, a part that is missing fails a test instead of skipping it.
STRICT = os.environ.get("MEDHUB_TEST_STRICT") == "1"
POSTGRESQL_URL = os.environ.get("MEDHUB_TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")

_connect = socket.socket.connect


def _connect_here_only(self: socket.socket, address: Any) -> None:
    """Refuse every address but this machine's own: no test needs another."""
    if self.family in {socket.AF_INET, socket.AF_INET6}:
        host = str(address[0])
        if not (host.startswith("127.") or host in {"localhost", "::1"}):
            raise OSError(f"A test tried to reach {host}")
    _connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    socket.socket.connect = _connect_here_only  # type: ignore[method-assign,assignment]
    yield
    socket.socket.connect = _connect  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MEDHUB_") and not name.startswith("MEDHUB_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_log_of_another_test() -> Iterator[None]:
    """Undo what a test set up of the log: the file that it wrote to may be closed by now."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last: while the browser's driver runs, no other test can start an event loop."""
    items.sort(key=lambda item: "playwright" in getattr(item, "fixturenames", ()))


def missing(what: str) -> None:
    """Skip a test whose part is missing on this machine, or fail it where nothing may be missing."""
    if STRICT:
        pytest.fail(f"{what} is missing, and MEDHUB_TEST_STRICT=1 says that nothing may be")
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A schema of its own on the PostgreSQL of this machine, upgraded once and dropped at the end."""
    schema = f"medhub_test_{os.getpid()}"
    engine = sqlalchemy.create_engine(POSTGRESQL_URL)
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"CREATE SCHEMA {schema}"))
    except sqlalchemy.exc.OperationalError:
        missing("PostgreSQL (see MEDHUB_TEST_POSTGRESQL_URL)")
    yield f"{POSTGRESQL_URL}?options=-csearch_path%3D{schema}"
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """The URL of an empty database; tests that use it run on each of the two."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("postgresql")
    return url


@pytest.fixture(scope="session")
def isolation() -> Iterator[Isolation]:
    """Processes that decode, shared by all tests."""
    with Isolation(workers=1) as pool:
        yield pool


@pytest.fixture
def settings(tmp_path: Path, database_url: str | None) -> Settings:
    """Settings of an installation of its own."""
    return Settings(data=tmp_path / "data", database_url=database_url, job_runners=0)


_upgraded: set[str] = set()


@pytest.fixture
def app(settings: Settings, isolation: Isolation) -> Iterator[AppContext]:
    """An empty installation."""
    settings.data.mkdir()
    database = open_database(settings)
    if settings.database_url is None or settings.database_url not in _upgraded:
        upgrade(database)
        _upgraded.add(settings.sqlalchemy_url)
    else:
        with database.engine.begin() as connection:
            names = ", ".join(table.name for table in Base.metadata.sorted_tables)
            connection.execute(sqlalchemy.text(f"TRUNCATE {names} CASCADE"))
    yield AppContext(settings, database, BlobStore(settings.blobs_folder), Keys(b"\x07" * 32), isolation)
    database.close()


@pytest.fixture
def people(app: AppContext) -> People:
    """Two projects, with a person of each role in the first and an outsider in the second."""
    return make_people(app)
