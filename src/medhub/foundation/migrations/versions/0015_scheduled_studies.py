# SPDX-License-Identifier: Apache-2.0
"""Scheduled studies and performed steps; DICOM nodes that may read the worklist."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from medhub.foundation.database import UTCDateTime

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "scheduled_studies",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("patient_id", sa.String(length=32), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("step_id", sa.String(length=16), nullable=False),
        sa.Column("modality", sa.String(length=16), nullable=False),
        sa.Column("station_ae", sa.String(length=16), nullable=False),
        sa.Column("start_date", sa.String(length=8), nullable=False),
        sa.Column("start_time", sa.String(length=6), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("sealed_details", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("created_by", sa.String(length=120), nullable=False),
        sa.Column("changed_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_scheduled_studies_project_id_projects"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["patient_id"], ["patients.id"], name=op.f("fk_scheduled_studies_patient_id_patients"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scheduled_studies")),
    )
    op.create_index("ix_scheduled_studies_patient_id", "scheduled_studies", ["patient_id"])
    op.create_index(
        "ix_scheduled_studies_project_id_start", "scheduled_studies", ["project_id", "start_date", "start_time"]
    )
    op.create_index("ix_scheduled_studies_study_uid", "scheduled_studies", ["study_uid"], unique=True)
    op.create_table(
        "performed_steps",
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("uid_hash", sa.String(length=64), nullable=False),
        sa.Column("scheduled_study_id", sa.String(length=32), nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("changed_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_performed_steps_project_id_projects"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["scheduled_study_id"],
            ["scheduled_studies.id"],
            name=op.f("fk_performed_steps_scheduled_study_id_scheduled_studies"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("project_id", "uid_hash", name=op.f("pk_performed_steps")),
    )
    op.create_index("ix_performed_steps_scheduled_study_id", "performed_steps", ["scheduled_study_id"])
    # No node receives identities until an administrator permits it.
    op.add_column(
        "dicom_nodes", sa.Column("may_read_worklist", sa.Boolean(), nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    op.drop_column("dicom_nodes", "may_read_worklist")
    op.drop_table("performed_steps")
    op.drop_table("scheduled_studies")
