# SPDX-License-Identifier: Apache-2.0
"""How many rows a list has, found out as cheaply as can be."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func
from sqlalchemy.orm import Session


def count(session: Session, chosen: Select[*tuple[Any, ...]]) -> int:
    """How many rows a selection has; neither their columns nor their order are computed."""
    counted = chosen.with_only_columns(func.count(), maintain_column_froms=True).order_by(None)
    return session.scalar(counted) or 0


def total(
    session: Session,
    chosen: Select[*tuple[Any, ...]],
    *,
    offset: int,
    limit: int,
    found: int,
    known: int | None = None,
    counted: Select[int] | None = None,
) -> int:
    """How many rows a selection has, once a page of it was read: a page that ends the list tells it by itself.

    A total that is ``known`` from another page is believed, unless this page shows that there are more. ``counted`` is
    another statement that counts the same, where there is a cheaper one.
    """
    if 0 < found < limit or (found == 0 and offset == 0):
        return offset + found
    if known is not None and known >= offset + found:
        return known
    return (session.scalar(counted) or 0) if counted is not None else count(session, chosen)
