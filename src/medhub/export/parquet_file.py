# SPDX-License-Identifier: Apache-2.0
"""The metadata table as Parquet, which keeps the type of each column; written in an isolated process."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

# Column types to types of Arrow; all others are text.
_ARROW_TYPES = {"integer": "int64", "decimal": "float64", "boolean": "bool", "date": "date32"}


def write_parquet(columns: list[list[str]], rows: bytes) -> bytes:
    """Write rows as Parquet.

    The file is neither compressed nor dictionary-encoded, so that a scan of its bytes sees each value.

    Parameters
    ----------
    columns
        Name and type of each column: text, integer, decimal, date, boolean, choice.
    rows
        The values, row by row, as JSON; dates as YYYY-MM-DD.

    Returns
    -------
    bytes
    """
    # Imported here: only processes that write Parquet load this library.
    import pyarrow
    from pyarrow import compute, parquet

    pyarrow.set_cpu_count(1)
    values: list[list[Any]] = json.loads(rows)
    arrays, names = [], []
    for number, (name, column_type) in enumerate(columns):
        column = [row[number] for row in values]
        if column_type == "date":
            texts = pyarrow.array([None if value in (None, "") else str(value) for value in column], pyarrow.string())
            arrays.append(compute.cast(texts, pyarrow.date32()))
        elif column_type in _ARROW_TYPES:
            arrays.append(pyarrow.array(column, pyarrow.type_for_alias(_ARROW_TYPES[column_type])))
        else:
            arrays.append(pyarrow.array([None if value is None else str(value) for value in column], pyarrow.string()))
        names.append(name)
    out = BytesIO()
    parquet.write_table(pyarrow.table(arrays, names=names), out, compression="NONE", use_dictionary=False)
    return out.getvalue()
