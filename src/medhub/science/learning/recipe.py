# SPDX-License-Identifier: Apache-2.0
"""A recipe: one TOML file that says everything a training needs beside the images."""

from __future__ import annotations

import fnmatch
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medhub.errors import Invalid, NotFound
from medhub.science.inference.card import DataSource, Initialization
from medhub.science.inference.preprocessing import Preprocessing

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Chance = Annotated[float, Field(ge=0, le=1)]

NOT_FOR = (
    "Diagnosis, treatment, or any decision about a patient without a person who answers for it: no clinical study was "
    "made, and it is not a medical device.",
    "Images of other stains, cameras, devices or patients than those it was measured on.",
)


class _RecipePart(BaseModel):
    # Where a TOML key is no good name for an attribute, the key is the field's alias.
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)


class About(_RecipePart):
    """What the card says of the classifier before anything is measured."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")] = "classifier"
    version: str = "1.0.0"
    title: str = "A classifier trained here"
    licence: str = "not stated"
    label_names: dict[str, str] = Field(default_factory=dict)
    intended_use: str = "Research and evaluation where it was trained, with every answer confirmed by a person."
    not_for: Annotated[tuple[str, ...], Field(min_length=1)] = NOT_FOR
    limitations: tuple[str, ...] = ()
    shortcuts: tuple[str, ...] = ()
    research_demonstration: bool = False


class NetworkRecipe(_RecipePart):
    """The network.

    Attributes
    ----------
    architecture
        A key of ``architectures.ARCHITECTURES``.
    hidden
        Width of a dense layer with ReLU before the last one (128 in CSSS); none if 0.
    dropout
        Share of the pooled features that is left out in training.
    """

    architecture: str = "hrnet-w18-small"
    hidden: Annotated[int, Field(ge=0, le=4096)] = 0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2


class Augmentation(_RecipePart):
    """How far images are varied in training; the variations must leave the label as it is.

    Attributes
    ----------
    rotation_degrees
        Greatest angle; 180 where nothing has an upright position.
    flips
        ``both``, ``horizontal`` or ``none``. A heart lies left: no flips for radiographs of the chest.
    zoom, aspect
        Natural logarithm of the greatest factor of size and of the ratio of the sides.
    shift
        Greatest shift, as a share of half the side.
    gain, contrast, saturation
        Natural logarithm of the greatest factor; gain is drawn for each color channel.
    brightness
        Greatest addition, of the full range.
    stain
        Standard deviation by which hematoxylin, eosin and a rest are varied (color deconvolution after Ruifrok and
        Johnston 2001); 0 for other images than stained ones.
    small_share, smallest
        Share of images made smaller and enlarged again, and the smallest factor.
    blur_share, blur
        Share of images blurred, and the greatest standard deviation, in pixels.
    sharpen_share, sharpen
        Share of images sharpened by an unsharp mask, and its greatest strength.
    noise_share, noise
        Share of images with noise, and its greatest standard deviation, of the full range.
    jpeg_share, jpeg_quality
        Share of images compressed as JPEG, and the range of the quality.
    grey_share
        Share of images without their colors.
    erasing_share, erasing
        Share of images with a rectangle replaced by noise, and its greatest share of the area.
    mixup
        Parameter of the beta distribution by which two images are mixed (Zhang et al., ICLR 2018); none if 0.
    """

    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 180.0
    flips: Literal["both", "horizontal", "none"] = "both"
    zoom: NotNegative = 0.15
    aspect: NotNegative = 0.10
    shift: NotNegative = 0.06
    gain: NotNegative = 0.08
    contrast: NotNegative = 0.20
    brightness: NotNegative = 0.08
    saturation: NotNegative = 0.25
    stain: NotNegative = 0.0
    small_share: Chance = 0.3
    smallest: Annotated[float, Field(gt=0, le=1)] = 0.35
    blur_share: Chance = 0.0
    blur: NotNegative = 1.0
    sharpen_share: Chance = 0.0
    sharpen: NotNegative = 1.0
    noise_share: Chance = 0.2
    noise: NotNegative = 0.03
    jpeg_share: Chance = 0.3
    jpeg_quality: tuple[Annotated[int, Field(ge=1, le=95)], Annotated[int, Field(ge=1, le=95)]] = (30, 95)
    grey_share: Chance = 0.0
    erasing_share: Chance = 0.0
    erasing: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    mixup: NotNegative = 0.0

    @model_validator(mode="after")
    def _range_has_an_order(self) -> Augmentation:
        if self.jpeg_quality[0] > self.jpeg_quality[1]:
            raise ValueError("jpeg_quality goes from the lowest to the highest")
        return self


class Training(_RecipePart):
    """How the weights are found.

    Attributes
    ----------
    frozen_epochs
        Epochs in which only the head learns, over features of the base that are computed once; for a network that
        starts from given weights.
    frozen_passes
        How many varied copies of each image the features are computed of, beside the image itself.
    epochs
        Epochs in which everything learns; 0 leaves the base frozen for ever.
    optimizer
        ``adamw``, ``adam`` or ``sgd`` (with Nesterov momentum).
    schedule
        ``one-cycle`` (Smith and Topin 2018), ``cosine`` (after the warm-up), ``step`` (a tenth at two thirds and at
        nine tenths) or ``constant``.
    head_factor
        The head's learning rate is so many times that of the rest.
    ema
        Weights are averaged with this decay, and the average is what counts; 0 for none.
    class_balance
        ``none``, ``weights`` (rare labels count more) or ``sampler`` (rare labels come as often as the others).
    repeats
        How often each image comes in an epoch; more than once where there are few.
    patience
        Training ends when so many epochs brought no lower validation loss; 0 for never.
    keep
        ``best`` takes the weights of the epoch with the least validation loss, ``last`` the last ones.
    precision
        ``auto`` takes bf16 where the device computes it faster.
    """

    seed: int = 42
    frozen_epochs: Annotated[int, Field(ge=0, le=10_000)] = 0
    frozen_passes: Annotated[int, Field(ge=0, le=100)] = 4
    epochs: Annotated[int, Field(ge=0, le=10_000)] = 30
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 16
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    learning_rate: Positive = 3e-4
    frozen_learning_rate: Positive = 1e-3
    schedule: Literal["one-cycle", "cosine", "step", "constant"] = "one-cycle"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    head_factor: Positive = 4.0
    weight_decay: NotNegative = 0.02
    gradient_clip: Positive = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    class_balance: Literal["none", "weights", "sampler"] = "none"
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    patience: Annotated[int, Field(ge=0)] = 0
    keep: Literal["best", "last"] = "last"
    precision: Literal["auto", "float32", "bf16"] = "auto"
    workers: Annotated[int, Field(ge=1, le=64)] = 1

    @model_validator(mode="after")
    def _something_is_learned(self) -> Training:
        if not self.epochs and not self.frozen_epochs:
            raise ValueError("epochs and frozen_epochs are both 0: nothing would be learned")
        if self.batch_size % 2:
            raise ValueError("batch_size is even: images are mixed in pairs, and shared out between processes")
        return self


class Distillation(_RecipePart):
    """Learning from what a classifier says as well (Hinton, Vinyals and Dean 2015).

    Attributes
    ----------
    teacher
        The folder of the classifier; relative to the folder of the recipe, or an absolute path.
    weight
        Share of the loss that is about the teacher's probabilities.
    temperature
        By which the logits of both are divided there.
    features
        Weight of a further loss, about the teacher's pooled features, which as many of the network's own are to equal
        (Romero et al., FitNets, ICLR 2015): the squared distance as a share of the squared length; none if 0.
    """

    teacher: str
    weight: Chance = 0.7
    temperature: Positive = 2.0
    features: NotNegative = 0.0


class NoveltyRecipe(_RecipePart):
    """How the distance from the training data is fitted, and where its limit lies."""

    quantile: Share = 0.99
    components: Annotated[int, Field(ge=1)] = 32
    passes: Annotated[int, Field(ge=1)] = 2


class AbstentionRecipe(_RecipePart):
    """How many of the answered images may be wrong, and how sure of that the limit must be."""

    target_error: Share = 0.02
    confidence: Share = 0.90


class ExportRecipe(_RecipePart):
    """How the network is written.

    Attributes
    ----------
    half
        Weights are stored with 16 bits, which halves the file; they are rounded before anything is measured.
    int8
        Try static quantization too, and keep ``model-int8.onnx`` if accuracy drops by less than ``int8_drop``.
    weights
        Write ``weights.safetensors`` too, from which another training of the same architecture can start (``--init``).
    """

    half: bool = False
    weights: bool = False
    int8: bool = False
    int8_drop: Share = 0.005


class OutOfDistributionRecipe(_RecipePart):
    """One kind of image that the classifier was not made for: a pattern below the data folder."""

    name: str
    pattern: str
    tiles: bool = False


class SourcePattern(_RecipePart):
    """Which images come from which laboratory, device or group of patients, told by their paths.

    Attributes
    ----------
    name
        What the card calls the source.
    pattern
        Of the path, with ``*`` and ``?``; the first that fits counts.
    """

    name: str
    pattern: str


class SourceRecipe(DataSource):
    """What the card says of the images that were learned from; counts are filled in from the run."""

    split: str = "by group: a keyed hash, the same for ever"
    images: Annotated[int, Field(ge=0)] = 0


class Recipe(_RecipePart):
    """A whole recipe.

    Attributes
    ----------
    start_from
        Where the weights come from before training: ``timm:NAME`` (published ImageNet weights, fetched once from the
        hub), a classifier's folder, a ``.safetensors`` or ``.tflite`` file, or none.
    """

    about: About = About()
    network: NetworkRecipe = NetworkRecipe()
    preprocessing: Preprocessing
    augmentation: Augmentation = Augmentation()
    training: Training = Training()
    distillation: Distillation | None = None
    novelty: NoveltyRecipe = NoveltyRecipe()
    abstention: AbstentionRecipe = AbstentionRecipe()
    export: ExportRecipe = ExportRecipe()
    source: SourceRecipe | None = None
    start: Initialization | None = None
    start_from: str | None = None
    measured_with: tuple[DataSource, ...] = ()
    sources: tuple[SourcePattern, ...] = ()
    out_of_distribution: Annotated[tuple[OutOfDistributionRecipe, ...], Field(alias="strangers")] = ()

    def source_of(self, path: str) -> str:
        """The source of an image, by its path; empty where no pattern fits."""
        return next((source.name for source in self.sources if fnmatch.fnmatchcase(path, source.pattern)), "")


RECIPES = Path(__file__).with_name("recipes")


def named_recipes() -> dict[str, str]:
    """List the recipes that ship: names, and what each is for."""
    return {path.stem: load_recipe(path).about.title for path in sorted(RECIPES.glob("*.toml"))}


def find_recipe(name: str | Path) -> Path:
    """Find a recipe by its path, or by the name of one that ships.

    Raises
    ------
    NotFound
        There is no such file, and no such recipe.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = RECIPES / f"{name}.toml"
    if len(path.parts) == 1 and shipped.is_file():
        return shipped
    names = ", ".join(sorted(recipe.stem for recipe in RECIPES.glob("*.toml")))
    raise NotFound(f"There is no recipe {name}. Name a TOML file, or one of: {names}.")


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
        return read_recipe(path.read_text(encoding="utf-8"), path.name)
    except FileNotFoundError as error:
        raise Invalid(f"There is no recipe {path.name}.") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{path.name} is not UTF-8 text.") from error


def read_recipe(text: str, name: str = "The recipe") -> Recipe:
    """Read a recipe from its text.

    Raises
    ------
    Invalid
        The text is not TOML, or something in it is missing, unknown or out of range.
    """
    try:
        return Recipe.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{name} is not valid TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the recipe as a whole"
        raise Invalid(f"{name} cannot be used: {field}: {first['msg']}.", field=field) from error
