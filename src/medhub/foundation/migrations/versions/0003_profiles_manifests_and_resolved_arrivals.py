# SPDX-License-Identifier: Apache-2.0
"""Profiles that projects choose, manifests of what was done to images, and how quarantined files were resolved."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from medhub.foundation.database import Document, UTCDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "project_profiles",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("keep_identity", sa.Boolean(), nullable=False),
        sa.Column("by", sa.String(length=120), nullable=False),
        sa.Column("chosen_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_project_profiles_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_profiles")),
    )
    op.create_index("ix_project_profiles_project_id", "project_profiles", ["project_id", "chosen_at"])
    op.create_table(
        "manifest_lines",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("lines", Document, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_manifest_lines")),
    )
    op.create_table(
        "manifests",
        sa.Column("image_id", sa.String(length=32), nullable=False),
        sa.Column("profile", sa.String(length=63), nullable=False),
        sa.Column("profile_version", sa.Integer(), nullable=False),
        sa.Column("profile_digest", sa.String(length=64), nullable=False),
        sa.Column("engine", sa.String(length=40), nullable=False),
        sa.Column("lines", sa.String(length=64), nullable=False),
        sa.Column("looked_through", sa.String(length=8), nullable=False),
        sa.Column("boxes", Document, nullable=False),
        sa.Column("kept", Document, nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_manifests_image_id_images"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["lines"], ["manifest_lines.digest"], name=op.f("fk_manifests_lines_manifest_lines")),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_manifests")),
    )
    with op.batch_alter_table("arrivals") as table:
        table.add_column(sa.Column("pathway", sa.String(length=60), nullable=True))
        table.add_column(sa.Column("boxes", Document, nullable=True))
        table.add_column(sa.Column("resolved_at", UTCDateTime(), nullable=True))
        table.add_column(sa.Column("resolved_by", sa.String(length=120), nullable=True))
        table.add_column(sa.Column("note", sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("arrivals") as table:
        for name in ("note", "resolved_by", "resolved_at", "boxes", "pathway"):
            table.drop_column(name)
    op.drop_table("manifests")
    op.drop_table("manifest_lines")
    op.drop_index("ix_project_profiles_project_id", table_name="project_profiles")
    op.drop_table("project_profiles")
