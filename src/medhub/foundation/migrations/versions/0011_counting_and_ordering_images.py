# SPDX-License-Identifier: Apache-2.0
"""Images are counted by a small index, and put in order by what classifiers said of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from medhub.foundation.database import UTCDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # On SQLite it stays empty: see the model.
    op.create_index("ix_images_counted", "images", ["project_id", "verified"], sqlite_where=sa.text("0"))
    op.add_column("predictions", sa.Column("imaged_at", UTCDateTime(), nullable=True))
    op.execute("UPDATE predictions SET imaged_at = (SELECT images.created_at FROM images WHERE images.id = image_id)")
    with op.batch_alter_table("predictions") as table:
        table.alter_column("imaged_at", existing_type=UTCDateTime(), nullable=False)
        table.drop_index("ix_predictions_label")
        table.drop_index("ix_predictions_uncertain")
        table.create_index("ix_predictions_label", ["project_id", "label", "imaged_at", "image_id"])
        table.create_index("ix_predictions_uncertain", ["project_id", "uncertain", "imaged_at", "image_id"])


def downgrade() -> None:
    with op.batch_alter_table("predictions") as table:
        table.drop_index("ix_predictions_uncertain")
        table.drop_index("ix_predictions_label")
        table.drop_column("imaged_at")
        table.create_index("ix_predictions_label", ["project_id", "label", "image_id"])
        table.create_index("ix_predictions_uncertain", ["project_id", "uncertain", "image_id"])
    op.drop_index("ix_images_counted", "images")
