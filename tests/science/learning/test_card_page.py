# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from medhub.science.inference.card import load_card, read_card
from medhub.science.learning.card_file import card_text
from medhub.science.learning.card_page import page

ROOT = Path(__file__).resolve().parents[3]


SHIPPED = sorted(path.parent.name for path in (ROOT / "models").glob("*/card.toml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_page_of_each_shipped_classifier_is_current(name: str) -> None:
    written = (ROOT / "docs" / "model-cards" / f"{name}.md").read_text(encoding="utf-8")
    current = page(load_card(ROOT / "models" / name))
    assert written == current, f"run: medhub card {name} --out docs/model-cards/{name}.md"


@pytest.mark.parametrize("name", SHIPPED)
def test_what_was_learned_from_images_that_may_not_be_republished_says_so(name: str) -> None:
    card = load_card(ROOT / "models" / name)
    learned = [item for item in card.data if item.use.startswith("learned from")]
    assert learned
    assert card.research_demonstration == any("research demonstration" in item.licence for item in learned)


def test_a_written_card_reads_back_as_it_was() -> None:
    card = load_card(ROOT / "models" / "blood-cells")
    odd = card.model_copy(update={"title": 'quotes " and \\ and \x7f and\nlines', "limitations": ("ü" * 200, "b")})
    for item in (card, odd):
        assert read_card(card_text(item)) == item
