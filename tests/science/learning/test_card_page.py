# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from medhub.science.inference.card import load_card, read_card
from medhub.science.learning.card_file import card_text
from medhub.science.learning.card_page import page

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_of_the_shipped_classifier_is_current() -> None:
    card = load_card(ROOT / "models" / "blood-cells")
    written = (ROOT / "docs" / "model-cards" / "blood-cells.md").read_text(encoding="utf-8")
    assert written == page(card), (
        "run: python -m medhub.science.learning.card_page models/blood-cells docs/model-cards/blood-cells.md"
    )


def test_a_written_card_reads_back_as_it_was() -> None:
    card = load_card(ROOT / "models" / "blood-cells")
    odd = card.model_copy(update={"title": 'quotes " and \\ and \x7f and\nlines', "limitations": ("ü" * 200, "b")})
    for one in (card, odd):
        assert read_card(card_text(one)) == one
