# SPDX-License-Identifier: Apache-2.0
"""Migration of a database to the schema of this version of Medhub."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.engine import Connection

from medhub.foundation.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"
# An arbitrary number: processes that start at the same time on PostgreSQL upgrade one after the other.
_UPGRADE_LOCK = 0x6D656469


def config(connection: Connection | None = None) -> Config:
    """The configuration of Alembic for an open connection."""
    alembic = Config()
    alembic.set_main_option("script_location", str(MIGRATIONS))
    alembic.attributes["connection"] = connection
    return alembic


def upgrade(database: Database, revision: str = "head") -> None:
    """Upgrade the database to a revision, if it is older."""
    with database.engine.connect() as connection:
        connection = connection.execution_options(medhub_writing=True)
        with connection.begin():
            if not database.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
            command.upgrade(config(connection), revision)
