# SPDX-License-Identifier: Apache-2.0
"""Sizes of files are numbers of 64 bits: a slide can have more than two gigabytes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _set_type(sa.Integer(), sa.BigInteger())


def downgrade() -> None:
    _set_type(sa.BigInteger(), sa.Integer())


def _set_type(old: sa.types.TypeEngine[int], new: sa.types.TypeEngine[int]) -> None:
    """Change the columns on PostgreSQL; an INTEGER of SQLite has 64 bits."""
    if op.get_bind().dialect.name == "postgresql":
        for table in ("images", "arrivals"):
            op.alter_column(table, "size_bytes", existing_type=old, type_=new, existing_nullable=False)
