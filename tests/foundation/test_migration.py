# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from medhub.entrypoints import web  # noqa: F401 - brings in every table
from medhub.foundation.database import Base, Database
from medhub.foundation.migration import config, upgrade


def differences(database: Database) -> list[object]:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        differences: list[object] = compare_metadata(context, Base.metadata)
        return differences


def tables(database: Database) -> set[str]:
    return set(inspect(database.engine).get_table_names())


def test_an_empty_database_that_is_upgraded_is_what_the_models_say(empty: Database) -> None:
    upgrade(empty)
    assert tables(empty) == {*Base.metadata.tables, "alembic_version"}
    assert differences(empty) == []


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE patients DROP COLUMN birth_year",
        "ALTER TABLE patients ADD COLUMN surname VARCHAR(10)",
        "DROP INDEX ix_jobs_ready",
        "CREATE TABLE strangers (id INTEGER)",
    ],
)
def test_the_comparison_notices_what_differs(empty: Database, change: str) -> None:
    upgrade(empty)
    with empty.engine.begin() as connection:
        connection.execute(text(change))
    assert len(differences(empty)) == 1


def test_upgrading_again_leaves_everything_as_it_is(empty: Database) -> None:
    upgrade(empty)
    with empty.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO projects (id, name, description, created_at) VALUES ('p', 'One', '', '2026-11-21')")
        )
    upgrade(empty)
    with empty.engine.connect() as connection:
        assert connection.execute(text("SELECT id, name FROM projects")).all() == [("p", "One")]
        assert len(connection.execute(text("SELECT version_num FROM alembic_version")).all()) == 1


def test_a_downgrade_takes_every_table_away_and_the_way_back_up_is_open(empty: Database) -> None:
    upgrade(empty)
    with empty.engine.connect() as connection:
        connection = connection.execution_options(medhub_writing=True)
        with connection.begin():
            command.downgrade(config(connection), "base")
    assert tables(empty) == {"alembic_version"}
    upgrade(empty)
    assert differences(empty) == []


def test_the_dicom_nodes_keep_their_rows_when_their_table_is_renamed(empty: Database) -> None:
    values = {"id": "n", "project_id": "p", "ae_title": "CT_1", "called_ae": "MEDHUB", "host": "", "port": 0}
    values |= {"only_from_host": False, "tls": True, "may_store": True, "may_query": False}
    values |= {"created_at": datetime(2026, 11, 21), "created_by": "A. Person"}
    peers, nodes = (sqlalchemy.table(name, *map(sqlalchemy.column, values)) for name in ("peers", "dicom_nodes"))
    with empty.engine.connect() as connection:
        connection = connection.execution_options(medhub_writing=True)
        with connection.begin():
            command.upgrade(config(connection), "0011")
            connection.execute(
                text("INSERT INTO projects (id, name, description, created_at) VALUES ('p', 'One', '', '2026-11-21')")
            )
            connection.execute(peers.insert().values(values))
            before = connection.execute(peers.select()).all()
            command.upgrade(config(connection), "head")
            assert connection.execute(nodes.select()).all() == before
            command.downgrade(config(connection), "0011")
            assert connection.execute(peers.select()).all() == before


def test_each_project_gets_the_classifiers_that_were_in_use_in_the_installation(empty: Database) -> None:
    at = "'2026-11-21 10:00:00'"
    rows = {
        "projects (id, name, description, created_at)": [f"'{p}', 'Project {p}', '', {at}" for p in "pq"],
        "users (id, email, name, password_hash, active, created_at)": [
            f"'{u}', '{u}@lab.example', '{u}', '', true, {at}" for u in "abc"
        ],
        "memberships (user_id, project_id, role)": ["'a', 'p', 'administrator'", "'b', 'q', 'administrator'"],
        "appointments (id, pathway, part, classifier, digest, since, until, by_id, by, replaces_id)": [
            f"'1', 'w', 'in use', 'old', '0', {at}, {at}, 'a', 'a', NULL",
            f"'2', 'w', 'in use', 'new', '1', {at}, NULL, 'a', 'a', '1'",
        ],
        "promotion_limits (pathway, margin, ece, abstention, images, changed_at, changed_by_id, changed_by)": [
            f"'w', 0.01, 0.05, 0.2, 100, {at}, 'a', 'a'"
        ],
        "promotions (id, pathway, classifier, digest, replaces, margin, state, evidence, requested_at, "
        "requested_by_id, requested_by)": [f"'3', 'w', 'c', '2', '1', 0.01, 'waiting', '{{}}', {at}, 'a', 'a'"],
        "audit_entries (seq, at, actor_id, actor, action, object_type, object_id, origin, outcome, detail, "
        "previous_hash, hash)": [
            f"1, {at}, 'a', 'a', 'user.create', 'user', 'c', 'x', 'done', '{{\"role\": \"administrator\"}}', '', ''",
            f"2, {at}, 'a', 'a', 'user.create', 'user', 'gone', 'x', 'done', '{{\"role\": \"viewer\"}}', '', ''",
        ],
    }
    with empty.engine.connect() as connection:
        connection = connection.execution_options(medhub_writing=True)
        with connection.begin():
            command.upgrade(config(connection), "0013")
            for table, values in rows.items():
                for value in values:
                    connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({value})")  # noqa: S608 - values of this test
            command.upgrade(config(connection), "head")
        selected = "SELECT now.project_id, now.digest, before.digest FROM appointments now"
        appointed = connection.execute(
            text(f"{selected} JOIN appointments before ON before.id = now.replaces_id ORDER BY now.project_id")
        ).all()
        assert appointed == [("p", "1", "0"), ("q", "1", "0")]
        assert connection.scalar(text("SELECT count(*) FROM promotion_limits")) == 2
        states = connection.execute(text("SELECT project_id, state FROM promotions ORDER BY project_id")).all()
        assert states == [("p", "waiting"), ("q", "rejected")]
        grants = connection.execute(text("SELECT user_id, by_id, kind FROM account_grants ORDER BY kind")).all()
        assert grants == [("c", "a", "account"), ("c", "a", "administrator")]
        with connection.begin_nested() if connection.in_transaction() else connection.begin():
            command.downgrade(config(connection), "0013")
            assert connection.scalar(text("SELECT count(*) FROM appointments")) == 2


def test_an_upgrade_that_fails_half_way_leaves_nothing(empty: Database) -> None:
    with empty.engine.begin() as connection:
        connection.execute(text("CREATE TABLE patients (id INTEGER)"))  # in the way of the first migration
    with pytest.raises(sqlalchemy.exc.DBAPIError):
        upgrade(empty)
    assert tables(empty) == {"patients"}


def test_processes_that_start_together_upgrade_one_after_the_other(empty_url: str, tmp_path: Path) -> None:
    program = (
        "import sys; from medhub.entrypoints.bootstrap import open_database; "
        "from medhub.foundation.migration import upgrade; from medhub.foundation.settings import Settings; "
        "sys.stdin.readline(); upgrade(open_database(Settings(database_url=sys.argv[1])))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, empty_url], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        _out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    database = Database(empty_url)
    assert differences(database) == []
    database.close()
