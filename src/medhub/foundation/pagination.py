# SPDX-License-Identifier: Apache-2.0
"""How many rows a list has, and which are on a page of it, found out as cheaply as can be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Select, String, any_, func, literal, select
from sqlalchemy.orm import Session

from medhub.foundation.natural_sort import backwards

# To step over so many rows takes longer than to count what lies behind them.
FAR = 1_000


def among(session: Session, column: Any, ids: Iterable[str]) -> ColumnElement[bool]:
    """The condition that a column is one of some ids, given as one value.

    One by one they would each be written into the statement, which would be another for each number of them.
    """
    if session.get_bind().dialect.name == "sqlite":
        each: Any = func.json_each(json.dumps(list(ids))).table_valued("value")
        return column.in_(select(each.c.value))  # type: ignore[no-any-return]
    return column == any_(literal(list(ids), ARRAY(String)))  # type: ignore[no-any-return]


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


def page(
    session: Session,
    chosen: Select[str],
    order: Sequence[ColumnElement[Any]],
    *,
    offset: int,
    limit: int,
    known: int | None = None,
    counted: Select[int] | None = None,
) -> tuple[list[str], int]:
    """What is on a page of a selection of one column, and how many rows there are in all, as ``total`` tells it.

    Rows before a page are stepped over one by one; so a page that is nearer to the end is read from there.
    """
    turned = backwards(order) if offset >= FAR and known is None else None
    if turned is None:
        found = list(session.scalars(chosen.order_by(*order).offset(offset).limit(limit)))
        return found, total(session, chosen, offset=offset, limit=limit, found=len(found), known=known, counted=counted)
    rows = (session.scalar(counted) or 0) if counted is not None else count(session, chosen)
    if rows <= offset:
        return [], rows
    behind = max(rows - offset - limit, 0)
    if behind >= offset:
        return list(session.scalars(chosen.order_by(*order).offset(offset).limit(limit))), rows
    last_first = chosen.order_by(*turned).offset(behind).limit(min(limit, rows - offset))
    return list(session.scalars(last_first))[::-1], rows
