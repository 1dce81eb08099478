# SPDX-License-Identifier: Apache-2.0
"""A recipe: one TOML file with everything that a training needs in addition to the images."""

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
    # If a TOML key is not a good name for an attribute, the key is the alias of the field.
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)


class About(_RecipePart):
    """The texts of the model card that are known before anything is measured."""

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
        Width of a dense layer with ReLU before the output layer (128 in CSSS); 0 for none.
    dropout
        Share of the pooled features that is set to zero in training.
    """

    architecture: str = "hrnet-w18-small"
    hidden: Annotated[int, Field(ge=0, le=4096)] = 0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2


class Augmentation(_RecipePart):
    """The random changes of training images; they must not change the label.

    Attributes
    ----------
    rotation_degrees
        Largest angle of rotation; 180 for images without an upright position.
    flips
        ``both``, ``horizontal`` or ``none``. For chest radiographs ``none``: the heart is on the left.
    zoom, aspect
        Natural logarithm of the largest scale factor, and of the largest factor by which width and height are changed
        in opposite directions.
    shift
        Largest shift, as a share of half the side length.
    gain, contrast, saturation
        Natural logarithm of the largest factor; gain is drawn for each color channel.
    brightness
        Largest addition, as a share of the full range.
    stain
        Standard deviation of the variation of hematoxylin, eosin and the residual stain (color deconvolution of Ruifrok
        and Johnston 2001); 0 for unstained images.
    small_share, smallest
        Share of images that are reduced and enlarged again, and the smallest factor of this reduction.
    blur_share, blur
        Share of blurred images, and the largest standard deviation of the blur, in pixels.
    sharpen_share, sharpen
        Share of images sharpened by an unsharp mask, and its largest strength.
    noise_share, noise
        Share of images with added noise, and its largest standard deviation, as a share of the full range.
    jpeg_share, jpeg_quality
        Share of images compressed as JPEG, and the range of the quality.
    grey_share
        Share of images converted to gray.
    erasing_share, erasing
        Share of images in which a rectangle is replaced by noise, and the largest share of the area that it covers.
    mixup
        Parameter of the beta distribution by which two images are mixed (Zhang et al., ICLR 2018); 0 for none.
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
    """Epochs, optimizer and schedule of a training.

    Attributes
    ----------
    frozen_epochs
        Epochs in which only the head is trained, on features of the frozen body that are computed once; needs initial
        weights.
    frozen_passes
        Number of augmented copies of each image for which these features are computed, in addition to the image itself.
    epochs
        Epochs in which all layers are trained; 0 keeps the body frozen.
    optimizer
        ``adamw``, ``adam`` or ``sgd`` (with Nesterov momentum).
    schedule
        ``one-cycle`` (Smith and Topin 2018), ``cosine`` (after the warm-up), ``step`` (a tenth after two thirds and
        again after nine tenths of the steps) or ``constant``.
    head_factor
        Factor of the learning rate of the head.
    ema
        Decay of an exponential moving average of the weights, which is then used instead of the weights; 0 for none.
    class_balance
        ``none``, ``weights`` (errors of rare labels have a larger weight) or ``sampler`` (each label is drawn equally
        often).
    repeats
        How often each image occurs in an epoch; more than 1 for small data sets.
    patience
        Training stops after this number of epochs without a lower validation loss; 0 for never.
    keep
        ``best`` uses the weights of the epoch with the lowest validation loss, ``last`` those of the last epoch.
    precision
        ``auto`` uses bf16 if the device computes it faster.
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
            raise ValueError("batch_size must be even: images are mixed in pairs and divided between processes")
        return self


class Distillation(_RecipePart):
    """Additional training on the predictions of another classifier (Hinton, Vinyals and Dean 2015).

    Attributes
    ----------
    teacher
        Folder of the teacher, relative to the folder of the recipe or absolute.
    weight
        Weight of the loss against the probabilities of the teacher; the rest is the loss against the labels.
    temperature
        Temperature by which the logits of teacher and network are divided in this loss.
    features
        Weight of an additional loss: the squared distance between the pooled features of the teacher and as many
        features of the network, relative to their squared length (Romero et al., FitNets, ICLR 2015); 0 for none.
    """

    teacher: str
    weight: Chance = 0.7
    temperature: Positive = 2.0
    features: NotNegative = 0.0


class NoveltyRecipe(_RecipePart):
    """Parameters of the out-of-distribution limit."""

    quantile: Share = 0.99
    components: Annotated[int, Field(ge=1)] = 32
    passes: Annotated[int, Field(ge=1)] = 2


class AbstentionRecipe(_RecipePart):
    """The largest share of wrong predictions above the learned limit, and the confidence of this guarantee."""

    target_error: Share = 0.02
    confidence: Share = 0.90


class ExportRecipe(_RecipePart):
    """The files that are written.

    Attributes
    ----------
    half
        Store the weights with 16 bits, which halves the file. They are rounded before any figure is measured.
    int8
        Also try static quantization, and keep ``model-int8.onnx`` if the accuracy drops by less than ``int8_drop``.
    weights
        Also write ``weights.safetensors``, from which another training of the same architecture can start (``--init``).
    """

    half: bool = False
    weights: bool = False
    int8: bool = False
    int8_drop: Share = 0.005


class OutOfDistributionRecipe(_RecipePart):
    """One kind of image that the classifier is not made for: a pattern of paths below the data folder."""

    name: str
    pattern: str
    tiles: bool = False


class SourcePattern(_RecipePart):
    """The images of one laboratory, device or group of patients, recognized by their paths.

    Attributes
    ----------
    name
        Name of the source in the model card.
    pattern
        Pattern of the path, with ``*`` and ``?``; the first pattern that matches is used.
    """

    name: str
    pattern: str


class SourceRecipe(DataSource):
    """The training images as the model card describes them; the counts are filled in by the training."""

    split: str = "by group: a keyed hash, the same for ever"
    images: Annotated[int, Field(ge=0)] = 0


class Recipe(_RecipePart):
    """A complete recipe.

    Attributes
    ----------
    start_from
        The initial weights: ``timm:NAME`` (published ImageNet weights, downloaded once), the folder of a classifier, a
        ``.safetensors`` or ``.tflite`` file, or none.
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
        """The source of an image, by its path; empty if no pattern matches."""
        return next((source.name for source in self.sources if fnmatch.fnmatchcase(path, source.pattern)), "")


RECIPES = Path(__file__).with_name("recipes")


def named_recipes() -> dict[str, str]:
    """Map the names of the recipes that ship to their titles."""
    return {path.stem: load_recipe(path).about.title for path in sorted(RECIPES.glob("*.toml"))}


def find_recipe(name: str | Path) -> Path:
    """Find a recipe by its path, or a shipped one by its name.

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
