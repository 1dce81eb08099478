# SPDX-License-Identifier: Apache-2.0
"""Appointments, promotion limits and promotions belong to projects, each of which gets those of the installation.

The table account_grants says who gave whom an account or the role of an administrator; the audit log knows it already.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

from medhub.foundation.database import Document, UTCDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_APPOINTMENT_COLUMNS: tuple[tuple[str, Any, bool], ...] = (
    ("pathway", sa.String(60), False),
    ("part", sa.String(8), False),
    ("classifier", sa.String(100), False),
    ("digest", sa.String(64), False),
    ("since", UTCDateTime(), False),
    ("until", UTCDateTime(), True),
    ("by_id", sa.String(32), False),
    ("by", sa.String(200), False),
    ("replaces_id", sa.String(32), True),
)
_LIMIT_COLUMNS: tuple[tuple[str, Any, bool], ...] = (
    ("margin", sa.Double(), False),
    ("ece", sa.Double(), False),
    ("abstention", sa.Double(), False),
    ("images", sa.Integer(), False),
    ("changed_at", UTCDateTime(), False),
    ("changed_by_id", sa.String(32), False),
    ("changed_by", sa.String(200), False),
)
_PROMOTION_COLUMNS: tuple[tuple[str, Any, bool], ...] = (
    ("pathway", sa.String(60), False),
    ("classifier", sa.String(100), False),
    ("digest", sa.String(64), False),
    ("replaces", sa.String(64), False),
    ("margin", sa.Double(), False),
    ("state", sa.String(8), False),
    ("evidence", Document, False),
    ("requested_at", UTCDateTime(), False),
    ("requested_by_id", sa.String(32), False),
    ("requested_by", sa.String(200), False),
    ("decided_at", UTCDateTime(), True),
    ("decided_by_id", sa.String(32), True),
    ("decided_by", sa.String(200), True),
    ("reason", sa.Text(), True),
)
_Row = dict[str, Any]


def upgrade() -> None:
    appointments, limits, promotions = (_take(name) for name in ("appointments", "promotion_limits", "promotions"))
    project_ids = list(op.get_bind().scalars(sa.text("SELECT id FROM projects ORDER BY id")))
    _create_tables(of_projects=True)
    for project_id in project_ids:
        new_ids = {row["id"]: secrets.token_hex(16) for row in (*appointments, *promotions)}
        _insert_appointments(
            {**row, "id": new_ids[row["id"]], "project_id": project_id, "replaces_id": new_ids.get(row["replaces_id"])}
            for row in appointments
        )
        _insert("promotion_limits", [{**row, "project_id": project_id} for row in limits])
        _insert("promotions", [_promotion_of(row, project_id, new_ids[row["id"]]) for row in promotions])
    op.create_table(
        "account_grants",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("user_id", sa.String(32), nullable=False),
        sa.Column("by_id", sa.String(32), nullable=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_account_grants_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_grants")),
    )
    op.create_index(op.f("ix_account_grants_user_id"), "account_grants", ["user_id"])
    _insert("account_grants", _grants_in_audit_log())


def downgrade() -> None:
    op.drop_table("account_grants")
    appointments, limits, promotions = (_take(name) for name in ("appointments", "promotion_limits", "promotions"))
    first = min((row["project_id"] for row in (*appointments, *limits, *promotions)), default=None)
    _create_tables(of_projects=False)
    rows_of_first = [
        [
            {name: value for name, value in row.items() if name != "project_id"}
            for row in rows
            if row["project_id"] == first
        ]
        for rows in (appointments, limits, promotions)
    ]
    _insert_appointments(rows_of_first[0])
    _insert("promotion_limits", rows_of_first[1])
    _insert("promotions", rows_of_first[2])


def _table(name: str) -> sa.Table:
    return sa.Table(name, sa.MetaData(), autoload_with=op.get_bind())


def _take(name: str) -> list[_Row]:
    """The rows of a table, which is dropped."""
    rows = [dict(row._mapping) for row in op.get_bind().execute(sa.select(_table(name)))]
    op.drop_table(name)
    return rows


def _insert(name: str, rows: list[_Row]) -> None:
    if rows:
        op.get_bind().execute(sa.insert(_table(name)), rows)


def _insert_appointments(rows: Iterable[_Row]) -> None:
    """Insert each appointment after the one that it replaces."""
    remaining = {row["id"]: row for row in rows}
    while remaining:
        ready = [row for row in remaining.values() if row["replaces_id"] not in remaining]
        _insert("appointments", ready)
        for row in ready:
            del remaining[row["id"]]


def _promotion_of(row: Mapping[str, Any], project_id: str, new_id: str) -> _Row:
    """A promotion for a project; one that waits goes on waiting only where the person who requested it belongs."""
    promotion = {**row, "id": new_id, "project_id": project_id}
    if row["state"] == "waiting":
        member = op.get_bind().scalar(
            sa.text("SELECT 1 FROM memberships WHERE user_id = :user AND project_id = :project"),
            {"user": row["requested_by_id"], "project": project_id},
        )
        if member is None:
            promotion |= {
                "state": "rejected",
                "decided_at": row["requested_at"],
                "decided_by": "medhub",
                "reason": "Classifiers belong to projects now; who requested this does not belong to this project.",
            }
    return promotion


def _grants_in_audit_log() -> list[_Row]:
    """Who created accounts and appointed administrators, as the audit log recorded it."""
    people = set(op.get_bind().scalars(sa.text("SELECT id FROM users")))
    log = _table("audit_entries")
    entries = op.get_bind().execute(
        sa.select(log.c.action, log.c.object_id, log.c.actor_id, log.c.at, log.c.detail)
        .where(log.c.action.in_(("user.create", "user.change")), log.c.outcome == "done")
        .order_by(log.c.seq)
    )
    return [
        {"id": secrets.token_hex(16), "user_id": user_id, "by_id": by_id, "kind": kind, "at": at}
        for action, user_id, by_id, at, detail in entries
        if user_id in people and by_id is not None and by_id != user_id
        for kind in _kinds(action, json.loads(detail) if isinstance(detail, str) else detail)
    ]


def _kinds(action: str, detail: Mapping[str, Any]) -> Iterator[str]:
    if action == "user.create":
        yield "account"
    if detail.get("role") == "administrator":
        yield "administrator"
    if "password" in (detail.get("changed") or ()):
        yield "password"


def _columns(columns: Iterable[tuple[str, Any, bool]]) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=nullable) for name, kind, nullable in columns]


def _create_tables(*, of_projects: bool) -> None:
    """Create the three tables, since SQLite cannot change keys and constraints."""

    def project(table: str) -> list[Any]:
        if not of_projects:
            return []
        name = op.f(f"fk_{table}_project_id_projects")
        return [
            sa.Column("project_id", sa.String(32), nullable=False),
            sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=name, ondelete="CASCADE"),
        ]

    prefix = ["project_id"] if of_projects else []
    op.create_table(
        "appointments",
        sa.Column("id", sa.String(32), nullable=False),
        *project("appointments"),
        *_columns(_APPOINTMENT_COLUMNS),
        sa.ForeignKeyConstraint(
            ["replaces_id"], ["appointments.id"], name=op.f("fk_appointments_replaces_id_appointments")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_appointments")),
    )
    op.create_index("ix_appointments_pathway", "appointments", [*prefix, "pathway", "part", "until"])
    op.create_table(
        "promotion_limits",
        *project("promotion_limits"),
        sa.Column("pathway", sa.String(60), nullable=False),
        *_columns(_LIMIT_COLUMNS),
        sa.PrimaryKeyConstraint(*prefix, "pathway", name=op.f("pk_promotion_limits")),
    )
    op.create_table(
        "promotions",
        sa.Column("id", sa.String(32), nullable=False),
        *project("promotions"),
        *_columns(_PROMOTION_COLUMNS),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotions")),
    )
    op.create_index("ix_promotions_pathway", "promotions", [*prefix, "pathway", "requested_at"])
