# SPDX-License-Identifier: Apache-2.0
"""A recipe: one TOML file that says everything a training needs beside the images."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medhub.errors import Invalid
from medhub.science.inference.card import Data, Start
from medhub.science.inference.preprocessing import Preprocessing

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class About(_Part):
    """What the card says of the classifier before anything is measured."""

    name: str
    version: str
    title: str
    licence: str
    label_names: dict[str, str] = Field(default_factory=dict)
    intended_use: str
    not_for: tuple[str, ...]
    limitations: tuple[str, ...] = ()


class Training(_Part):
    """How the weights are found."""

    architecture: str
    seed: int = 42
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2)] = 16
    learning_rate: Positive = 3e-4
    head_factor: Positive = 4.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    gradient_clip: Positive = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    precision: Literal["float32", "bf16"] = "bf16"


class NoveltyRecipe(_Part):
    """How the distance from the training data is fitted, and where its limit lies."""

    quantile: Share = 0.99
    components: Annotated[int, Field(ge=1)] = 32
    passes: Annotated[int, Field(ge=1)] = 2


class StrangerRecipe(_Part):
    """One kind of image that the classifier was not made for: a pattern below the data folder."""

    name: str
    pattern: str
    tiles: bool = False


class Source(Data):
    """The images to learn from: a split file, and what the card says of them."""

    split_file: str


class Recipe(_Part):
    """A whole recipe."""

    about: About
    training: Training
    preprocessing: Preprocessing
    novelty: NoveltyRecipe
    source: Source
    start: Start | None = None
    start_file: str | None = None
    measured_with: tuple[Data, ...] = ()
    strangers: tuple[StrangerRecipe, ...] = ()


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    path
        The TOML file.

    Returns
    -------
    Recipe

    Raises
    ------
    Invalid
        The file is not TOML, or something in it is missing, unknown or out of range.
    """
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise Invalid(f"There is no recipe {path.name}.") from error
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{path.name} is not valid TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Invalid(f"{path.name} cannot be used: {place}: {first['msg']}.", field=place) from error
