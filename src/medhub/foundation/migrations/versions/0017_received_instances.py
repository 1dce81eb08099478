# SPDX-License-Identifier: Apache-2.0
"""Arrivals keep a keyed hash of the SOP Instance UID with which they came; it is unknown of earlier ones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("arrivals", sa.Column("instance_hash", sa.String(length=64), nullable=True))
    op.create_index("ix_arrivals_instance_hash", "arrivals", ["instance_hash"])


def downgrade() -> None:
    op.drop_index("ix_arrivals_instance_hash", "arrivals")
    op.drop_column("arrivals", "instance_hash")
