# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from medhub.errors import Invalid, NotFound
from medhub.science.learning import recipe
from medhub.science.learning.recipe import find_recipe, named_recipes, read_recipe

ROOT = Path(__file__).resolve().parents[3]
LEAST = "[preprocessing]\nsize = 64\nmean = [0, 0, 0]\nstd = [1, 1, 1]\n"


def test_the_page_names_every_key_and_every_recipe() -> None:
    page = (ROOT / "docs" / "reference" / "recipes.md").read_text(encoding="utf-8")
    parts = (
        recipe.About,
        recipe.NetworkRecipe,
        recipe.Augmentation,
        recipe.Training,
        recipe.Distillation,
        recipe.NoveltyRecipe,
        recipe.AbstentionRecipe,
        recipe.ExportRecipe,
        recipe.OutOfDistributionRecipe,
    )
    keys = [key for part in parts for key in part.model_fields] + list(named_recipes())
    assert [key for key in keys if f"`{key}`" not in page] == []


def test_everything_but_the_preprocessing_has_a_default() -> None:
    assert read_recipe(LEAST).network.architecture == "hrnet-w18-small"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nepochs = 0\n", "nothing would be learned"),
        ("[training]\nbatch_size = 15\n", "even"),
        ("[training]\nlearning_rate = -1\n", "learning_rate"),
        ("[augmentation]\njpeg_quality = [90, 20]\n", "lowest to the highest"),
        ("[network]\nhidden = -1\n", "network.hidden"),
        ('[about]\nname = "../up"\n', "about.name"),
        ("[surprise]\n", "surprise"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        read_recipe(LEAST + text)


def test_a_recipe_is_found_by_name_or_path_and_nowhere_else(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(LEAST)
    assert find_recipe(own) == own
    assert find_recipe("quick").stem == "quick"
    with pytest.raises(NotFound, match="chest-xray"):
        find_recipe("quack")
    with pytest.raises(NotFound):
        find_recipe("../recipes/quick")
