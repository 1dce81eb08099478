# SPDX-License-Identifier: Apache-2.0
"""The card of a classifier: what it is, what it was made from, what it reached, and what it must not be used for."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medhub.errors import Invalid, NotFound
from medhub.science.inference.preprocessing import Preprocessing

CARD_FILE = "card.toml"
MODEL_FILE = "model.onnx"
UNCERTAIN = "Uncertain"

Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ClassifierNotFound(NotFound):
    """There is no classifier in this folder."""

    code = "classifier-not-found"
    title = "No such classifier"


class ClassifierBroken(Invalid):
    """The folder of a classifier holds something that cannot be used; nothing was classified."""

    code = "classifier-broken"
    title = "The classifier cannot be used"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Initialization(_Part):
    """The weights that training began with."""

    name: Text
    source: Text
    licence: Text


class NoveltyCard(_Part):
    """Above which distance an image counts as unlike the training data, and how that limit was found.

    Attributes
    ----------
    shapes
        Smallest and greatest width by height; an image beyond them would be stretched as none was in training.
    """

    limit: Annotated[float, Field(gt=0)]
    quantile: Annotated[float, Field(gt=0, le=1)]
    method: Text
    basis: Text
    shapes: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None = None


class Data(_Part):
    """One set of images that the classifier was made or measured with."""

    name: Text
    use: Text
    licence: Text
    attribution: Text
    source: Text
    split: Text
    images: Annotated[int, Field(ge=0)]


class Figure(_Part):
    """A measured share with its 95 % interval, the number of images behind it, and the command that prints it."""

    name: Text
    value: Share
    low: Share
    high: Share
    n: Annotated[int, Field(gt=0)]
    interval: Text
    command: Text

    @model_validator(mode="after")
    def _lies_in_its_interval(self) -> Figure:
        if not self.low <= self.value <= self.high:
            raise ValueError("the value lies outside its interval")
        return self


class Measure(_Part):
    """A measured number that is not a share of images, such as a calibration error."""

    name: Text
    value: float
    n: Annotated[int, Field(gt=0)]
    command: Text


# A value and its 95 % interval.
Ranged = tuple[Share, Share, Share]


class LabelFigure(_Part):
    """How often one label was found (recall, sensitivity), how often it was right when given, and the like."""

    label: Text
    n: Annotated[int, Field(ge=0)]
    recall: Share
    precision: Share
    recall_interval: tuple[Share, Share] | None = None
    specificity: Ranged | None = None
    precision_interval: tuple[Share, Share] | None = None
    f1: Ranged | None = None
    auroc: Ranged | None = None
    auprc: Ranged | None = None


class SourceFigure(_Part):
    """What was reached on the test images of one source: a laboratory, a device, an age group."""

    source: Text
    n: Annotated[int, Field(gt=0)]
    accuracy: Ranged


class Calibration(_Part):
    """How far confidence and accuracy lay apart on the validation images, as the network says it and calibrated."""

    error_before: Share
    error_after: Share
    n: Annotated[int, Field(gt=0)]


class Abstention(_Part):
    """The learned limit of confidence, and its promise; see ``science.learning.abstention``.

    Attributes
    ----------
    target_error, confidence
        In a further set of like images, as large as the one it was learned on, at most the share ``target_error`` of
        the answers is wrong; of such sets, at least the share ``confidence`` keeps to that.
    n, groups
        Images that it was learned on, and groups (patients) that they belong to.
    """

    threshold: Share
    target_error: Share
    confidence: Share
    answered: Share
    error: Share
    n: Annotated[int, Field(gt=0)]
    groups: Annotated[int, Field(gt=0)] | None = None
    method: Text


class CurvePoint(_Part):
    """How accurate the surest so many of the test images are."""

    answered: Share
    accuracy: Share


class Explained(_Part):
    """Whether the evidence maps show what the network looks at; see ``science.learning.attribution``.

    Attributes
    ----------
    grad_cam
        Correlation of the maps with Grad-CAM, which is computed in another way: 1 if both agree.
    random_weights
        Correlation of the maps with those of the same network with random weights: near 0 if the maps depend on what
        was learned (the sanity check of Adebayo et al., NeurIPS 2018).
    deletion, insertion
        Mean probability of the label while the places with most evidence are covered (lower is better) or uncovered
        (higher is better) first (Petsiuk et al., BMVC 2018).
    deletion_by_chance, insertion_by_chance
        The same with the places in random order.
    """

    n: Annotated[int, Field(gt=0)]
    grad_cam: Annotated[float, Field(ge=-1, le=1)]
    random_weights: Annotated[float, Field(ge=-1, le=1)]
    deletion: Share
    deletion_by_chance: Share
    insertion: Share
    insertion_by_chance: Share


class Quantized(_Part):
    """Static quantization to 8 bits: kept beside the model only if it costs little accuracy on validation images."""

    kept: bool
    accuracy_drop: Annotated[float, Field(ge=-1, le=1)]
    megabytes: Annotated[float, Field(gt=0)]
    sha256: Digest | None = None


class Run(_Part):
    """The training that made the classifier."""

    code: Text
    data_sha256: Digest
    recipe_sha256: Digest
    seed: int
    epochs: Annotated[int, Field(ge=0)]
    taken_epoch: Annotated[int, Field(ge=0)]
    images: tuple[int, int, int]
    device: Text
    environment: Text
    teacher: str = ""
    overruled: str = ""


class Recalibrated(_Part):
    """A calibration made anew, for a classifier that was there already; its network is the same.

    Attributes
    ----------
    of, digest
        Name and version of the classifier before, and its digest.
    images
        How many images it was calibrated with, and measured with.
    note
        Why, and what else there is to say.
    """

    of: Text
    digest: Digest
    images: tuple[int, int]
    data_sha256: Digest
    code: Text
    note: str = ""


class OutOfDistributionSet(_Part):
    """A kind of image that the classifier was not made for, and how much of it came out Uncertain."""

    name: Text
    n: Annotated[int, Field(gt=0)]
    uncertain: Share
    novel: Share
    seen_in_training: bool = False
    auroc: Share | None = None  # of telling them from the test images by novelty


class Card(_Part):
    """Everything that ``card.toml`` says; see ``docs/model-cards`` for the same as a page."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    version: Text
    title: Text
    architecture: Text
    licence: Text
    labels: Annotated[tuple[Text, ...], Field(min_length=2)]
    label_names: dict[str, str] = Field(default_factory=dict)
    model_sha256: Digest
    temperature: Annotated[float, Field(gt=0)]
    offsets: tuple[float, ...] = ()  # one a label, added to the logits after the temperature; none if empty
    intended_use: Text
    not_for: Annotated[tuple[Text, ...], Field(min_length=1)]
    limitations: tuple[Text, ...] = ()
    shortcuts: tuple[Text, ...] = ()
    research_demonstration: bool = False
    trained_with: Text
    preprocessing: Preprocessing
    novelty: NoveltyCard
    start: Initialization | None = None
    data: tuple[Data, ...] = ()
    figures: tuple[Figure, ...] = ()
    measures: tuple[Measure, ...] = ()
    per_label: tuple[LabelFigure, ...] = ()
    strangers: tuple[OutOfDistributionSet, ...] = ()
    sources: tuple[SourceFigure, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()  # test images by true label (row) and predicted label (column)
    calibration: Calibration | None = None
    abstention: Abstention | None = None
    explained: Explained | None = None
    quantized: Quantized | None = None
    run: Run | None = None
    recalibrated: Recalibrated | None = None
    format: Literal[1] = 1

    @model_validator(mode="after")
    def _labels_are_distinct(self) -> Card:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a label occurs twice")
        if self.offsets and len(self.offsets) != len(self.labels):
            raise ValueError(f"there are {len(self.offsets)} offsets for {len(self.labels)} labels")
        if UNCERTAIN in self.labels:
            raise ValueError(f'no label may be called "{UNCERTAIN}": that word stands for an abstention')
        if unknown := set(self.label_names) - set(self.labels):
            raise ValueError(f"label_names names {sorted(unknown)}, which is not a label")
        return self


def read_card(text: str) -> Card:
    """Read a card from the text of a ``card.toml``.

    Parameters
    ----------
    text
        TOML 1.0.

    Returns
    -------
    Card

    Raises
    ------
    ClassifierBroken
        The text is not TOML, or something in it is missing, unknown or out of range.
    """
    try:
        return Card.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ClassifierBroken(f"{CARD_FILE} is not valid TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the card as a whole"
        raise ClassifierBroken(f"{CARD_FILE} cannot be used: {place}: {first['msg']}.", field=place) from error


def load_card(folder: Path) -> Card:
    """Read the card of the classifier that lies in a folder.

    Parameters
    ----------
    folder
        The folder with ``card.toml`` and ``model.onnx``.

    Returns
    -------
    Card

    Raises
    ------
    ClassifierNotFound
        There is no folder, or no card in it.
    ClassifierBroken
        The card cannot be read.
    """
    try:
        text = (folder / CARD_FILE).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ClassifierNotFound(
            f'There is no classifier "{folder.name}": its folder has no {CARD_FILE}.', classifier=folder.name
        ) from error
    except UnicodeDecodeError as error:
        raise ClassifierBroken(f"{CARD_FILE} is not UTF-8 text.", classifier=folder.name) from error
    return read_card(text)
