# SPDX-License-Identifier: Apache-2.0
"""Text cells of CSV files that a person opens in a spreadsheet, which must take none of them for a formula.

Spreadsheets in many countries separate cells by semicolons or tabs, so that a formula may also follow one within a
value. Files that programs read are written as they are.
"""

from __future__ import annotations

import re

_SIGNS = "=+\\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"  # also full-width and small forms
_IGNORED = "\\s'\"\ufeff\u200b-\u200f\u2060"
# A start or separator that is followed by a sign of a formula; or a control character at the start.
_FORMULA = re.compile(f"(^|[;\uff1b\t\r\n])(?=[{_IGNORED}]*[{_SIGNS}])|^(?=[\t\r\n])")


def spreadsheet_cell(value: object) -> object:
    """The value; a text gets an apostrophe wherever a spreadsheet might take what follows for a formula."""
    if isinstance(value, str) and _FORMULA.search(value):
        return _FORMULA.sub(lambda match: f"{match[1] or ''}'", value)
    return value
