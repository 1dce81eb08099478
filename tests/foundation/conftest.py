# SPDX-License-Identifier: Apache-2.0
"""A database without a single table, on each of the two."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from medhub.foundation.database import Database
from tests.conftest import POSTGRESQL_URL, missing

_numbers = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.sqlite'}"
        return
    schema = f"medhub_empty_{os.getpid()}_{next(_numbers)}"
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


@pytest.fixture
def empty(empty_url: str) -> Iterator[Database]:
    """An empty database."""
    database = Database(empty_url)
    yield database
    database.close()
