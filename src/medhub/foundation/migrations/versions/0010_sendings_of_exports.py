# SPDX-License-Identifier: Apache-2.0
"""Exports of what a search finds, and exports that are sent to DICOM nodes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from medhub.foundation.database import Document, UTCDateTime

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("exports", sa.Column("wanted", Document, nullable=True))
    op.create_table(
        "export_sendings",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("export_id", sa.String(length=32), nullable=False),
        sa.Column("node", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=7), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("finished_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["export_id"], ["exports.id"], name=op.f("fk_export_sendings_export_id_exports"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_export_sendings")),
    )
    op.create_index(op.f("ix_export_sendings_export_id"), "export_sendings", ["export_id"])


def downgrade() -> None:
    op.drop_table("export_sendings")
    with op.batch_alter_table("exports") as table:
        table.drop_column("wanted")
