# SPDX-License-Identifier: Apache-2.0
"""The tables of exports, of the images in them, and of what the last look found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from medhub.foundation.database import Document, UTCDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "exports",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("form", sa.String(length=8), nullable=False),
        sa.Column("picture", sa.String(length=4), nullable=True),
        sa.Column("selection", sa.String(length=8), nullable=False),
        sa.Column("pathway", sa.String(length=60), nullable=True),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("patients", sa.Integer(), nullable=False),
        sa.Column("looked", sa.Integer(), nullable=False),
        sa.Column("left_out", Document, nullable=False),
        sa.Column("anonymity", Document, nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("created_by_id", sa.String(length=32), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("finished_at", UTCDateTime(), nullable=True),
        sa.Column("expires_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_exports_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exports")),
    )
    op.create_index("ix_exports_project_id", "exports", ["project_id", "created_at"], unique=False)
    op.create_index("ix_exports_state", "exports", ["state", "expires_at"], unique=False)
    op.create_table(
        "export_images",
        sa.Column("export_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.String(length=32), nullable=True),
        sa.Column("patient_id", sa.String(length=32), nullable=False),
        sa.Column("file", sa.String(length=100), nullable=True),
        sa.Column("label", sa.String(length=100), nullable=True),
        sa.Column("part", sa.String(length=5), nullable=False),
        sa.Column("looked", sa.Boolean(), nullable=False),
        sa.Column("excluded", sa.Boolean(), nullable=False),
        sa.Column("content", sa.String(length=64), nullable=True),
        sa.Column("study_date", sa.String(length=8), nullable=True),
        sa.ForeignKeyConstraint(
            ["export_id"], ["exports.id"], name=op.f("fk_export_images_export_id_exports"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_export_images_image_id_images"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("export_id", "number", name=op.f("pk_export_images")),
    )
    op.create_index("ix_export_images_image_id", "export_images", ["image_id"], unique=False)
    op.create_index("ix_export_images_patient_id", "export_images", ["patient_id"], unique=False)
    op.create_table(
        "export_findings",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("export_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("patient_id", sa.String(length=32), nullable=True),
        sa.Column("place", sa.String(length=300), nullable=False),
        sa.Column("kind", sa.String(length=60), nullable=False),
        sa.Column("mark", sa.String(length=64), nullable=False),
        sa.Column("sealed_excerpt", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("decided_at", UTCDateTime(), nullable=True),
        sa.Column("decided_by_id", sa.String(length=32), nullable=True),
        sa.Column("decided_by", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(
            ["export_id"], ["exports.id"], name=op.f("fk_export_findings_export_id_exports"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["patient_id"], ["patients.id"], name=op.f("fk_export_findings_patient_id_patients"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_export_findings")),
    )
    op.create_index("ix_export_findings_export_id", "export_findings", ["export_id", "state", "mark"], unique=False)
    op.create_index("ix_export_findings_patient_id", "export_findings", ["patient_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_export_findings_patient_id", table_name="export_findings")
    op.drop_index("ix_export_findings_export_id", table_name="export_findings")
    op.drop_table("export_findings")
    op.drop_index("ix_export_images_patient_id", table_name="export_images")
    op.drop_index("ix_export_images_image_id", table_name="export_images")
    op.drop_table("export_images")
    op.drop_index("ix_exports_state", table_name="exports")
    op.drop_index("ix_exports_project_id", table_name="exports")
    op.drop_table("exports")
