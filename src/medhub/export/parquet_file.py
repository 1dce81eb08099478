# SPDX-License-Identifier: Apache-2.0
"""What an export says of its images as Parquet, which keeps the type of each column; made in a process apart."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

# Kinds of fields and of our own columns to types of Arrow; all others are text.
_TYPES = {"integer": "int64", "decimal": "float64", "boolean": "bool", "date": "date32"}


def as_parquet(columns: list[list[str]], rows: bytes) -> bytes:
    """Write rows as Parquet.

    Nothing in it is compressed or coded: whatever searches the file for names sees each value as it is.

    Parameters
    ----------
    columns
        Name and kind of each column: text, integer, decimal, date, boolean, choice.
    rows
        The values, row by row, as JSON; dates as YYYY-MM-DD.

    Returns
    -------
    bytes
    """
    # Only who orders a Parquet file waits for this library.
    import pyarrow
    from pyarrow import compute, parquet

    pyarrow.set_cpu_count(1)
    values: list[list[Any]] = json.loads(rows)
    arrays, names = [], []
    for number, (name, kind) in enumerate(columns):
        column = [row[number] for row in values]
        if kind == "date":
            texts = pyarrow.array([None if one in (None, "") else str(one) for one in column], pyarrow.string())
            arrays.append(compute.cast(texts, pyarrow.date32()))
        elif kind in _TYPES:
            arrays.append(pyarrow.array(column, pyarrow.type_for_alias(_TYPES[kind])))
        else:
            arrays.append(pyarrow.array([None if one is None else str(one) for one in column], pyarrow.string()))
        names.append(name)
    out = BytesIO()
    parquet.write_table(pyarrow.table(arrays, names=names), out, compression="NONE", use_dictionary=False)
    return out.getvalue()
