# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from medhub.science.inference.card import ClassifierBroken, ClassifierNotFound, load_card, read_card
from tests.science.inference.tiny import card_text

SHA256 = "0" * 64


def test_a_card_says_what_its_file_says() -> None:
    card = read_card(card_text(SHA256))
    assert card.labels == ("red", "green", "blue")
    assert card.preprocessing.size == 32
    assert card.novelty.limit == 2.0
    assert card.not_for == ("anything else",)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"labels": '["red"]'}, "labels"),
        ({"labels": '["red", "red"]'}, "twice"),
        ({"labels": '["red", "Uncertain"]'}, "abstention"),
        ({"temperature": "0"}, "temperature"),
        ({"size": "33"}, "preprocessing.size"),
        ({"limit": "-1"}, "novelty.limit"),
        ({"name": '"../../etc"'}, "name"),
        ({"not_for": "[]"}, "not_for"),
        ({"trained_with": ""}, "trained_with"),
        ({"version": "not toml"}, "TOML"),
        ({"surprise": "1"}, "surprise"),
        ({"model_sha256": '"abc"'}, "model_sha256"),
    ],
)
def test_a_card_that_cannot_be_used_says_where(changes: dict[str, str], field: str) -> None:
    with pytest.raises(ClassifierBroken) as caught:
        read_card(card_text(SHA256, **changes))
    assert field in caught.value.message


def test_a_figure_lies_within_its_interval() -> None:
    figure = """
[[figures]]
name = "accuracy"
value = 0.99
low = 0.5
high = 0.6
n = 10
interval = "Wilson"
command = "x"
"""
    with pytest.raises(ClassifierBroken, match="outside its interval"):
        read_card(card_text(SHA256) + figure)


def test_a_missing_folder_is_no_classifier(tmp_path: Path) -> None:
    with pytest.raises(ClassifierNotFound):
        load_card(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(ClassifierNotFound):
        load_card(tmp_path / "file")


def test_a_card_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ClassifierBroken):
        load_card(tmp_path)


def test_each_label_has_a_display_name() -> None:
    text = card_text(SHA256, labels='["ig", "not-classed", "Lung_Opacity"]')
    assert read_card(text).display_names() == {
        "ig": "ig",
        "not-classed": "not classed",
        "Lung_Opacity": "Lung Opacity",
    }
    named = read_card(text + '[label_names]\nig = "Immature granulocyte"\n')
    assert named.display_names()["ig"] == "Immature granulocyte"
    assert named.display_names()["not-classed"] == "not classed"


def test_a_display_name_of_an_unknown_label_is_refused() -> None:
    with pytest.raises(ClassifierBroken, match="not a label"):
        read_card(card_text(SHA256) + '[label_names]\nviolet = "Violet"\n')


def test_the_keys_of_the_file_stay_where_an_attribute_has_another_name() -> None:
    card = read_card(card_text(SHA256) + '[[strangers]]\nname = "dogs"\nn = 3\nuncertain = 1.0\nnovel = 1.0\n')
    assert card.out_of_distribution[0].name == "dogs"
    assert "strangers" in card.model_dump()
    assert "out_of_distribution" not in card.model_dump(mode="json")
