# SPDX-License-Identifier: Apache-2.0
"""A small index by which PostgreSQL counts the images of a project; on SQLite it stays empty."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_images_counted", "images", ["project_id", "verified"], sqlite_where=sa.text("0"))


def downgrade() -> None:
    op.drop_index("ix_images_counted", "images")
