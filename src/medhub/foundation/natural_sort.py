# SPDX-License-Identifier: Apache-2.0
"""Sorting a list by a column that the caller names, out of those that a list offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, nulls_last
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression

from medhub.errors import Invalid


def ordering(sort: str | None, columns: Mapping[str, Any], default: str) -> UnaryExpression[Any]:
    """The ORDER BY of a named column; a minus before the name sorts descending, and missing values come last."""
    name = sort or default
    descending = name.startswith("-")
    column: ColumnElement[Any] | None = columns.get(name.removeprefix("-"))
    if column is None:
        raise Invalid(
            f"This list cannot be sorted by that. Sort by one of: {', '.join(sorted(columns))}.", field="sort"
        )
    order: UnaryExpression[Any] = column.desc() if descending else column.asc()
    # An index of the column gives the order of its values, but not that of missing ones behind them.
    return nulls_last(order) if getattr(column, "nullable", True) else order


def backwards(order: Sequence[ColumnElement[Any]]) -> list[UnaryExpression[Any]] | None:
    """An order read from its end; None where missing values have a place of their own in it."""
    turned = []
    for one in order:
        modifier = one.modifier if isinstance(one, UnaryExpression) else None
        if modifier not in {None, operators.asc_op, operators.desc_op}:
            return None
        column = one.element if isinstance(one, UnaryExpression) and modifier is not None else one
        turned.append(column.asc() if modifier is operators.desc_op else column.desc())
    return turned
