# SPDX-License-Identifier: Apache-2.0
"""Reasons of erasures, and erasures that need two people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from medhub.foundation.database import UTCDateTime

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not in batch mode: SQLite would delete the rows that refer to a project when it replaces the table.
    op.add_column("projects", sa.Column("erasure_by_two", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("erasures", sa.Column("reason", sa.Text(), nullable=True))
    op.add_column("erasures", sa.Column("requested_by", sa.String(length=200), nullable=True))
    op.create_table(
        "erasure_requests",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("patient_id", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_at", UTCDateTime(), nullable=False),
        sa.Column("requested_by_id", sa.String(length=32), nullable=False),
        sa.Column("requested_by", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_erasure_requests_project_id_projects")),
        sa.ForeignKeyConstraint(
            ["patient_id"], ["patients.id"], name=op.f("fk_erasure_requests_patient_id_patients"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure_requests")),
        sa.UniqueConstraint("patient_id", name=op.f("uq_erasure_requests_patient_id")),
    )


def downgrade() -> None:
    op.drop_table("erasure_requests")
    op.drop_column("erasures", "requested_by")
    op.drop_column("erasures", "reason")
    op.drop_column("projects", "erasure_by_two")
