# SPDX-License-Identifier: Apache-2.0
"""Sorting of lists by a column that the client names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, nulls_last
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression

from medhub.errors import Invalid


def sort_clause(sort: str | None, columns: Mapping[str, Any], default: str) -> UnaryExpression[Any]:
    """The ORDER BY of a named column; a minus before the name sorts descending, and missing values come last."""
    name = sort or default
    descending = name.startswith("-")
    column: ColumnElement[Any] | None = columns.get(name.removeprefix("-"))
    if column is None:
        raise Invalid(
            f"This list cannot be sorted by that. Sort by one of: {', '.join(sorted(columns))}.", field="sort"
        )
    order: UnaryExpression[Any] = column.desc() if descending else column.asc()
    # An index of the column gives the order of its values, but does not put missing values last.
    return nulls_last(order) if getattr(column, "nullable", True) else order


def reversed_order(order: Sequence[ColumnElement[Any]]) -> list[UnaryExpression[Any]] | None:
    """The opposite order; None if the order says where missing values go."""
    reversed_clauses = []
    for clause in order:
        modifier = clause.modifier if isinstance(clause, UnaryExpression) else None
        if modifier not in {None, operators.asc_op, operators.desc_op}:
            return None
        column = clause.element if isinstance(clause, UnaryExpression) and modifier is not None else clause
        reversed_clauses.append(column.asc() if modifier is operators.desc_op else column.desc())
    return reversed_clauses
