# SPDX-License-Identifier: Apache-2.0
"""Cards that are written mean what they meant."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from medhub.science.inference.card import read_card
from medhub.science.learning.card_file import card_text

CARDS = sorted((Path(__file__).resolve().parents[3] / "models").glob("*/card.toml"))


@pytest.mark.parametrize("path", CARDS, ids=[path.parent.name for path in CARDS])
def test_a_shipped_card_that_is_written_again_parses_equal(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    written = card_text(read_card(text))
    assert tomllib.loads(written) == tomllib.loads(text)
    assert written.startswith("# Written by the trainer")


@pytest.mark.parametrize("path", CARDS, ids=[path.parent.name for path in CARDS])
def test_writing_a_card_twice_gives_the_same_text(path: Path) -> None:
    written = card_text(read_card(path.read_text(encoding="utf-8")))
    assert card_text(read_card(written)) == written
