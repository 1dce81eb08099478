# SPDX-License-Identifier: Apache-2.0
"""Pages of lists: which rows a page has and how many rows there are in total, with as few reads as possible."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Select, String, any_, func, literal, select
from sqlalchemy.orm import Session

from medhub.foundation.sorting import reversed_order

# From this offset on, skipping rows takes longer than counting them and reading from the end.
LARGE_OFFSET = 1_000


def in_ids(session: Session, column: Any, ids: Iterable[str]) -> ColumnElement[bool]:
    """The condition that a column is in a list of ids, which is bound as a single parameter.

    With one parameter for each id, every list length would be a different statement to compile.
    """
    if session.get_bind().dialect.name == "sqlite":
        each: Any = func.json_each(json.dumps(list(ids))).table_valued("value")
        return column.in_(select(each.c.value))  # type: ignore[no-any-return]
    return column == any_(literal(list(ids), ARRAY(String)))  # type: ignore[no-any-return]


def count_rows(session: Session, statement: Select[*tuple[Any, ...]]) -> int:
    """The number of rows of a statement; neither its columns nor its order are computed."""
    counting = statement.with_only_columns(func.count(), maintain_column_froms=True).order_by(None)
    return session.scalar(counting) or 0


def total_rows(
    session: Session,
    statement: Select[*tuple[Any, ...]],
    *,
    offset: int,
    limit: int,
    page_rows: int,
    known: int | None = None,
    count_statement: Select[int] | None = None,
) -> int:
    """The number of rows of a statement of which one page has been read.

    The last page of a list gives the total without a count. A total that is ``known`` from another page is used unless
    this page shows that there are more rows. ``count_statement`` is a cheaper statement with the same count, if any.
    """
    if 0 < page_rows < limit or (page_rows == 0 and offset == 0):
        return offset + page_rows
    if known is not None and known >= offset + page_rows:
        return known
    return _count(session, statement, count_statement)


def read_page(
    session: Session,
    statement: Select[str],
    order: Sequence[ColumnElement[Any]],
    *,
    offset: int,
    limit: int,
    known: int | None = None,
    count_statement: Select[int] | None = None,
) -> tuple[list[str], int]:
    """The values of one page of a single-column statement, and the total number of rows (see ``total_rows``).

    A database skips the rows before a page one by one, so a page that is nearer to the end is read from the end.
    """
    end_first = reversed_order(order) if offset >= LARGE_OFFSET and known is None else None
    from_start = statement.order_by(*order).offset(offset).limit(limit)
    if end_first is None:
        values = list(session.scalars(from_start))
        total = total_rows(
            session,
            statement,
            offset=offset,
            limit=limit,
            page_rows=len(values),
            known=known,
            count_statement=count_statement,
        )
        return values, total
    total = _count(session, statement, count_statement)
    if total <= offset:
        return [], total
    rows_after = max(total - offset - limit, 0)
    if rows_after >= offset:
        return list(session.scalars(from_start)), total
    from_end = statement.order_by(*end_first).offset(rows_after).limit(min(limit, total - offset))
    return list(session.scalars(from_end))[::-1], total


def _count(session: Session, statement: Select[*tuple[Any, ...]], count_statement: Select[int] | None) -> int:
    if count_statement is not None:
        return session.scalar(count_statement) or 0
    return count_rows(session, statement)
