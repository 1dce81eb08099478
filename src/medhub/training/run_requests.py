# SPDX-License-Identifier: Apache-2.0
"""What may be asked of a trainer: a recipe, a starting point, a name; nothing that reaches out of its folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from medhub.errors import Invalid
from medhub.foundation.settings import Settings
from medhub.science.learning.recipe import find_recipe, load_recipe, named_recipes, read_recipe

NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
_PUBLISHED = re.compile(r"timm:[a-z0-9][a-z0-9_.-]{0,99}")
_WEIGHTS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\.(safetensors|tflite)")


class RecipeRefused(Invalid):
    """The recipe cannot be followed here."""

    code = "recipe-refused"


class InitializationUnknown(Invalid):
    """There is no such starting point."""

    code = "start-unknown"


def weights_folder_of(settings: Settings) -> Path:
    """Where an administrator lays weights that a training may start from."""
    return settings.data / "weights"


@dataclass(frozen=True)
class ShippedRecipe:
    """A recipe that ships and can be followed in the app."""

    name: str
    title: str
    text: str
    needs_start: bool  # it begins with weights that do not ship: a starting point must be named


def shipped_recipes() -> list[ShippedRecipe]:
    """The recipes that ship, without those that learn from a teacher: that is a folder of the server."""
    recipes = []
    for name, title in named_recipes().items():
        path = find_recipe(name)
        recipe = load_recipe(path)
        if recipe.distillation is None:
            needs_start = not _is_published(recipe.start_from)
            recipes.append(ShippedRecipe(name, title, path.read_text(encoding="utf-8"), needs_start))
    return recipes


def check_request(settings: Settings, recipe: str, init: str | None) -> tuple[str, str | None, str | None]:
    """The name of a recipe that ships, or none and the text of one that was given; and the starting point."""
    start = check_initialization(settings, init)
    shipped = recipe in named_recipes()
    if not shipped and "\n" not in recipe and "=" not in recipe:
        names = ", ".join(shipped_recipe.name for shipped_recipe in shipped_recipes())
        raise RecipeRefused(f"There is no recipe “{recipe}”. There are: {names}.", field="recipe")
    requested = load_recipe(find_recipe(recipe)) if shipped else read_recipe(recipe)
    if requested.distillation is not None or (requested.out_of_distribution and not shipped):
        raise RecipeRefused(
            "A recipe in the app learns from no teacher and is measured with no strangers: both name folders of the "
            "server. Use `medhub train` for them.",
            field="recipe",
        )
    if start is None and not _is_published(requested.start_from):
        raise RecipeRefused(
            f"This recipe starts from {Path(str(requested.start_from)).name}. Lay that file into the folder of weights "
            "below the data folder and name it as the starting point; or start from timm:NAME, or from none.",
            field="init",
        )
    return (recipe, None, start) if shipped else ("", recipe, start)


def _is_published(start_from: str | None) -> bool:
    return start_from is None or _PUBLISHED.fullmatch(start_from) is not None


def check_initialization(settings: Settings, init: str | None) -> str | None:
    """A starting point as the trainer takes it: published weights, a file in the folder of weights, or none."""
    if init is None or not init.strip() or init.strip() == "none":
        return "none" if init is not None and init.strip() == "none" else None
    init = init.strip()
    if _PUBLISHED.fullmatch(init):
        return init
    if _WEIGHTS.fullmatch(init) and (weights_folder_of(settings) / init).is_file():
        return init
    raise InitializationUnknown(
        "Start from published weights (timm:NAME), from a .safetensors or .tflite file in the folder of weights "
        "below the data folder, or from none.",
        field="init",
    )
