# SPDX-License-Identifier: Apache-2.0
"""Indexes by which patients, studies, series and images are listed place by place, however many there are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_studies_project_id_created_at", "studies", ["project_id", "created_at"])
    op.create_index("ix_series_series_uid", "series", ["series_uid"])
    op.create_index("ix_series_created_at", "series", ["created_at", "study_id", "id"])
    op.drop_index("ix_images_series_id", table_name="images")
    op.create_index("ix_images_series_id", "images", ["series_id", "number"])
    op.create_index("ix_images_project_id_created_at", "images", ["project_id", "created_at", "number", "id"])
    op.drop_index("ix_images_project_id_verified", table_name="images")
    op.create_index("ix_images_project_id_verified", "images", ["project_id", "verified", "created_at", "number", "id"])
    with op.batch_alter_table("predictions") as table:
        table.add_column(sa.Column("project_id", sa.String(length=32), nullable=False, server_default=""))
    op.execute("UPDATE predictions SET project_id = (SELECT images.project_id FROM images WHERE images.id = image_id)")
    with op.batch_alter_table("predictions") as table:
        table.alter_column("project_id", server_default=None)
        table.drop_index("ix_predictions_label")
        table.create_index("ix_predictions_label", ["project_id", "label", "image_id"])
        table.create_index("ix_predictions_uncertain", ["project_id", "uncertain", "image_id"])


def downgrade() -> None:
    with op.batch_alter_table("predictions") as table:
        table.drop_index("ix_predictions_uncertain")
        table.drop_index("ix_predictions_label")
        table.drop_column("project_id")
        table.create_index("ix_predictions_label", ["label"])
    op.drop_index("ix_images_project_id_verified", table_name="images")
    op.create_index("ix_images_project_id_verified", "images", ["project_id", "verified", "created_at"])
    op.drop_index("ix_images_project_id_created_at", table_name="images")
    op.drop_index("ix_images_series_id", table_name="images")
    op.create_index("ix_images_series_id", "images", ["series_id"])
    op.drop_index("ix_series_created_at", table_name="series")
    op.drop_index("ix_series_series_uid", table_name="series")
    op.drop_index("ix_studies_project_id_created_at", table_name="studies")
