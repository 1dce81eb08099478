# SPDX-License-Identifier: Apache-2.0
"""Alembic's environment: runs migrations on the connection that it is given, in that connection's transaction."""

from __future__ import annotations

from typing import Literal

from alembic import context
from sqlalchemy import JSON

from medhub.foundation.database import Base, UTCDateTime


def render_item(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Write our own column types by the names that the migrations import."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "UTCDateTime()"
    if kind == "type" and isinstance(item, JSON):
        return "Document"
    return False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    compare_type=True,
    render_item=render_item,
    transactional_ddl=False,
)
context.run_migrations()
