# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import io

import pytest

from medhub.foundation.spreadsheet_cells import spreadsheet_cell

FORMULAS = [
    *("=cmd", "+1", "-1", "@SUM(A1)", "\tx", "\r=x", "\n=x"),
    *("\uff1dcmd", "\uff0b1", "\uff0d1", "\uff20x", "\ufe66x", "\u22121"),
    *(" =x", "\ufeff=x", "\u200b=x", '"=x', "\u00a0=x"),
    *(";=cmd", "a;=cmd", "a; =cmd", "a;\uff1dcmd", "a\uff1b=cmd", "a\t=cmd", "a\n=cmd"),
]


@pytest.mark.parametrize("text", FORMULAS)
@pytest.mark.parametrize("separator", [",", ";"])
def test_no_cell_starts_a_formula_whatever_separates_them(text: str, separator: str) -> None:
    escaped = spreadsheet_cell(text)
    assert isinstance(escaped, str)
    assert escaped.replace("'", "") == text
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([escaped])
    for row in csv.reader(io.StringIO(buffer.getvalue(), newline=""), delimiter=separator):
        cells = [cell.strip().lstrip('"') for cell in row]
        assert not any(cell[:1] in tuple("=+-@\uff1d\uff0b\uff0d\uff20") for cell in cells if cell)


@pytest.mark.parametrize(
    "value", ["neutrophil", "a-b", "1+1", "x=1", "x@lab.example", "a; b", "", "'", 3, -3, None, True]
)
def test_other_values_stay_as_they_are(value: object) -> None:
    assert spreadsheet_cell(value) is value
