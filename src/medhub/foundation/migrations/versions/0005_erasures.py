# SPDX-License-Identifier: Apache-2.0
"""Certificates of erasures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from medhub.foundation.database import Document, UTCDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("patient_code", sa.String(length=32), nullable=False),
        sa.Column("contents", Document, nullable=False),
        sa.Column("erased_at", UTCDateTime(), nullable=False),
        sa.Column("erased_by_id", sa.String(length=32), nullable=True),
        sa.Column("erased_by", sa.String(length=200), nullable=False),
        sa.Column("completed_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_erasures_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    op.create_index("ix_erasures_project_id", "erasures", ["project_id", "erased_at"])


def downgrade() -> None:
    op.drop_index("ix_erasures_project_id", table_name="erasures")
    op.drop_table("erasures")
