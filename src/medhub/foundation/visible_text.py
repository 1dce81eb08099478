# SPDX-License-Identifier: Apache-2.0
"""Texts that a person must write, such as a reason or a note."""

from __future__ import annotations

import unicodedata

from medhub.errors import Invalid

# Characters of the categories L and S that show nothing: fillers of Hangul and the empty Braille pattern.
_BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def visible_text(text: str | None) -> str | None:
    """The text without surrounding spaces; None if it has no visible letter, number, mark or symbol."""
    if text is None:
        return None
    visible = any(unicodedata.category(sign)[0] in "LNPS" and sign not in _BLANKS for sign in text)
    return text.strip() if visible else None


def require_text(text: str | None, message: str, field: str) -> str:
    """The text without surrounding spaces; raises ``Invalid`` with the message if nothing in it is visible."""
    visible = visible_text(text)
    if visible is None:
        raise Invalid(message, field=field)
    return visible
