# SPDX-License-Identifier: Apache-2.0
"""The index of patient numbers and birth dates; a job fills it with the identities that are in the vault."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "patient_identifiers",
        sa.Column("project_id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("patient_id", sa.String(32), nullable=False),
        sa.Column("issuer", sa.String(64), nullable=False),
        sa.Column("origin", sa.String(8), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_patient_identifiers_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["patient_id"],
            ["patients.id"],
            name=op.f("fk_patient_identifiers_patient_id_patients"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "project_id", "kind", "key", "patient_id", "issuer", "origin", name=op.f("pk_patient_identifiers")
        ),
    )
    op.create_index(op.f("ix_patient_identifiers_patient_id"), "patient_identifiers", ["patient_id"])
    with op.batch_alter_table("vault") as table:
        table.add_column(sa.Column("sealed_duplicate_reason", sa.LargeBinary(), nullable=True))
        table.add_column(sa.Column("index_version", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("vault") as table:
        table.alter_column("index_version", existing_type=sa.Integer(), server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("vault") as table:
        table.drop_column("index_version")
        table.drop_column("sealed_duplicate_reason")
    op.drop_table("patient_identifiers")
