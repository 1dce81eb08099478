# SPDX-License-Identifier: Apache-2.0
"""Studies are found by the modalities of their series."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_series_study_id_modality", "series", ["study_id", "modality"])


def downgrade() -> None:
    op.drop_index("ix_series_study_id_modality", "series")
