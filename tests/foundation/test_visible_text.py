# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from medhub.errors import Invalid
from medhub.foundation.visible_text import require_text, visible_text

INVISIBLE = ["", " \n", "\u200b\u2060", "\u3164", "\u2800 \u115f", "\u00ad", "\ufe0f", "\u0301", "\u202e", "\U000e0041"]


@pytest.mark.parametrize("text", INVISIBLE)
def test_a_text_that_shows_nothing_is_none(text: str) -> None:
    assert visible_text(text) is None
    with pytest.raises(Invalid, match="Say why") as caught:
        require_text(text, "Say why.", "reason")
    assert caught.value.facts["field"] == "reason"


@pytest.mark.parametrize("text", ["x", "\u200f\u062e\u0644\u064a\u0629\u200b", "?", "+", "\U0001f600", "\u0915\u094d"])
def test_a_text_that_shows_something_stays_without_its_surrounding_spaces(text: str) -> None:
    assert visible_text(f" {text}\n") == text
