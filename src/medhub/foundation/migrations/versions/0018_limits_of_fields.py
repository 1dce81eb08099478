# SPDX-License-Identifier: Apache-2.0
"""Limits of fields; fields of earlier versions have none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from medhub.foundation.database import Document

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("field_definitions") as table:
        table.add_column(sa.Column("limits", Document, nullable=False, server_default=sa.text("'{}'")))
    with op.batch_alter_table("field_definitions") as table:
        table.alter_column("limits", existing_type=Document, server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("field_definitions") as table:
        table.drop_column("limits")
