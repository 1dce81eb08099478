# SPDX-License-Identifier: Apache-2.0
"""The table of DICOM nodes is called dicom_nodes; its rows are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from medhub.foundation.database import UTCDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_COLUMNS = (
    "id, project_id, ae_title, called_ae, host, port, only_from_host, tls, may_store, may_query, created_at, created_by"
)


def upgrade() -> None:
    _move_rows("peers", "dicom_nodes")


def downgrade() -> None:
    _move_rows("dicom_nodes", "peers")


def _move_rows(old: str, new: str) -> None:
    """Create the table anew, since SQLite cannot rename constraints, and copy the rows."""
    op.create_table(
        new,
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("ae_title", sa.String(length=16), nullable=False),
        sa.Column("called_ae", sa.String(length=16), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("only_from_host", sa.Boolean(), nullable=False),
        sa.Column("tls", sa.Boolean(), nullable=False),
        sa.Column("may_store", sa.Boolean(), nullable=False),
        sa.Column("may_query", sa.Boolean(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("created_by", sa.String(length=120), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f(f"fk_{new}_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{new}")),
        sa.UniqueConstraint("ae_title", "called_ae", name=op.f(f"uq_{new}_ae_title")),
    )
    op.execute(f"INSERT INTO {new} ({_COLUMNS}) SELECT {_COLUMNS} FROM {old}")  # noqa: S608 - names from this file
    op.drop_table(old)
    op.create_index(op.f(f"ix_{new}_project_id"), new, ["project_id"])
