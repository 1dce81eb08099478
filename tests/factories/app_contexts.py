# SPDX-License-Identifier: Apache-2.0
"""Installations that a whole module of tests shares, each with a database of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy

from medhub.entrypoints.bootstrap import open_database
from medhub.foundation.app_context import AppContext
from medhub.foundation.blobs import BlobStore
from medhub.foundation.isolation import Isolation
from medhub.foundation.keys import Keys
from medhub.foundation.migration import upgrade
from medhub.foundation.settings import Settings
from tests.factories.colors import lay_out, make_classifier


@contextmanager
def open_app(
    folder: Path, isolation: Isolation, database_url: str | None = None, **settings: object
) -> Iterator[AppContext]:
    """An empty installation in a folder, on SQLite unless a URL is given."""
    chosen = Settings(data=folder, database_url=database_url, job_runners=0, **settings)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    database = open_database(chosen)
    upgrade(database)
    try:
        yield AppContext(chosen, database, BlobStore(chosen.blobs_folder), Keys(b"\x07" * 32), isolation)
    finally:
        database.close()


@contextmanager
def open_app_on(
    request: pytest.FixtureRequest, kind: str, folder: Path, isolation: Isolation, name: str
) -> Iterator[AppContext]:
    """An empty installation on SQLite, or on a schema of its own of the PostgreSQL of this machine.

    It reads colors, beside what ships, and has a second classifier that does so.
    """
    pathways, classifiers = lay_out(folder)
    make_classifier(classifiers, "second")
    if kind == "sqlite":
        with open_app(folder / "data", isolation, classifiers=classifiers, pathways=pathways) as app:
            yield app
        return
    shared = request.getfixturevalue("postgresql")  # skips where there is none
    with (
        schema_of_its_own(shared.partition("?")[0], name) as url,
        open_app(folder / "data", isolation, url, classifiers=classifiers, pathways=pathways) as app,
    ):
        yield app


@contextmanager
def schema_of_its_own(url: str, name: str) -> Iterator[str]:
    """The URL of a new, empty schema of a PostgreSQL, which is dropped at the end."""
    schema = f"medhub_test_{name}_{os.getpid()}"
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"CREATE SCHEMA {schema}"))
    try:
        yield f"{url}?options=-csearch_path%3D{schema}"
    finally:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"DROP SCHEMA {schema} CASCADE"))
        engine.dispose()
