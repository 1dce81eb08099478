# SPDX-License-Identifier: Apache-2.0
"""The model card of a classifier: its purpose, training data, measured figures and limits, as ``card.toml`` holds it.

The order follows Mitchell et al., "Model cards for model reporting" (FAT* 2019). The JSON API sends these models as
they are, so a field that is added here appears in its OpenAPI description.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medhub.errors import Invalid, NotFound
from medhub.science.inference.preprocessing import Preprocessing, describe_array

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
    temporary = True  # its folder may be copied or mounted again


class ClassifierBroken(Invalid):
    """The folder of a classifier holds a file that cannot be used; nothing was classified."""

    code = "classifier-broken"
    title = "The classifier cannot be used"


class _CardPart(BaseModel):
    # Where a TOML key is no good name for an attribute, the key is the field's alias; files and JSON have the key.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        serialize_by_alias=True,
        json_schema_serialization_defaults_required=True,  # what is sent has every field
    )


class Initialization(_CardPart):
    """The weights that the training started from."""

    name: Text
    source: Text
    licence: Text


class NoveltyCard(_CardPart):
    """The distance above which an image counts as unlike the training data, and how that limit was determined.

    Attributes
    ----------
    shapes
        Smallest and greatest ratio of width to height. No training image was stretched as much as an image beyond them
        would be.
    """

    limit: Annotated[float, Field(gt=0)]
    quantile: Annotated[float, Field(gt=0, le=1)]
    method: Text
    basis: Text
    shapes: (
        Annotated[
            tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]],
            describe_array("number", 2),
        ]
        | None
    ) = None


class DataSource(_CardPart):
    """One set of images that the classifier was trained or measured with."""

    name: Text
    use: Text
    licence: Text
    attribution: Text
    source: Text
    split: Text
    images: Annotated[int, Field(ge=0)]


class Figure(_CardPart):
    """A measured share with its 95 % interval, the number of images, and the command that prints it."""

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


class Measure(_CardPart):
    """A measured number that is not a share of images, such as a calibration error."""

    name: Text
    value: float
    n: Annotated[int, Field(gt=0)]
    command: Text


# The lower and upper end of a 95 % interval; and a value with its interval.
ShareInterval = Annotated[tuple[Share, Share], describe_array("number", 2)]
Estimate = Annotated[tuple[Share, Share, Share], describe_array("number", 3)]


class LabelFigure(_CardPart):
    """Sensitivity (recall), precision and further figures of one label."""

    label: Text
    n: Annotated[int, Field(ge=0)]
    recall: Share
    precision: Share
    recall_interval: ShareInterval | None = None
    specificity: Estimate | None = None
    precision_interval: ShareInterval | None = None
    f1: Estimate | None = None
    auroc: Estimate | None = None
    auprc: Estimate | None = None


class SourceFigure(_CardPart):
    """The accuracy on the test images of one source: a laboratory, a device, an age group."""

    source: Text
    n: Annotated[int, Field(gt=0)]
    accuracy: Estimate


class Calibration(_CardPart):
    """The expected calibration error on the validation images, before and after the calibration."""

    error_before: Share
    error_after: Share
    n: Annotated[int, Field(gt=0)]


class Abstention(_CardPart):
    """The learned confidence limit, and what it guarantees; see ``science.learning.abstention``.

    Attributes
    ----------
    target_error, confidence
        In a further set of similar images, as large as the set that the limit was learned on, at most the share
        ``target_error`` of the answers is wrong. At least the share ``confidence`` of such sets fulfils this.
    n, groups
        Images that the limit was learned on, and the groups (patients) that they belong to.
    """

    threshold: Share
    target_error: Share
    confidence: Share
    answered: Share
    error: Share
    n: Annotated[int, Field(gt=0)]
    groups: Annotated[int, Field(gt=0)] | None = None
    method: Text


class CurvePoint(_CardPart):
    """The accuracy on the share of the test images with the greatest confidence."""

    answered: Share
    accuracy: Share


class ExplanationCheck(_CardPart):
    """Tests of whether the evidence maps show what the network uses; see ``science.learning.attribution``.

    Attributes
    ----------
    grad_cam
        Correlation of the maps with Grad-CAM, which is computed in another way: 1 if both agree.
    random_weights
        Correlation of the maps with those of the same network with random weights: near 0 if the maps depend on the
        trained weights (the sanity check of Adebayo et al., NeurIPS 2018).
    deletion, insertion
        Mean probability of the label while the regions with most evidence are covered (lower is better) or uncovered
        (higher is better) first (Petsiuk et al., BMVC 2018).
    deletion_by_chance, insertion_by_chance
        The same with the regions in random order.
    """

    n: Annotated[int, Field(gt=0)]
    grad_cam: Annotated[float, Field(ge=-1, le=1)]
    random_weights: Annotated[float, Field(ge=-1, le=1)]
    deletion: Share
    deletion_by_chance: Share
    insertion: Share
    insertion_by_chance: Share


class QuantizedModel(_CardPart):
    """Static quantization to 8 bits, which is shipped only if it costs little accuracy on the validation images."""

    shipped: Annotated[bool, Field(alias="kept")]
    accuracy_drop: Annotated[float, Field(ge=-1, le=1)]
    megabytes: Annotated[float, Field(gt=0)]
    sha256: Digest | None = None


class TrainingRecord(_CardPart):
    """The training run that produced the classifier."""

    code: Text
    data_sha256: Digest
    recipe_sha256: Digest
    seed: int
    epochs: Annotated[int, Field(ge=0)]
    taken_epoch: Annotated[int, Field(ge=0)]
    images: Annotated[tuple[int, int, int], describe_array("integer", 3)]
    device: Text
    environment: Text
    teacher: str = ""
    overruled: str = ""


class Recalibration(_CardPart):
    """A later calibration of an existing classifier; its network is unchanged.

    Attributes
    ----------
    of, digest
        Name, version and digest of the classifier that was calibrated again.
    images
        Number of images for the calibration and for the measurement.
    note
        The reason, and further remarks.
    """

    of: Text
    digest: Digest
    images: Annotated[tuple[int, int], describe_array("integer", 2)]
    data_sha256: Digest
    code: Text
    note: str = ""


class OutOfDistributionSet(_CardPart):
    """A kind of image that the classifier was not made for, and the share of it that came out Uncertain."""

    name: Text
    n: Annotated[int, Field(gt=0)]
    uncertain: Share
    novel: Share
    seen_in_training: bool = False
    auroc: Share | None = None  # of the novelty, between these images and the test images


class ModelCard(_CardPart):
    """The content of ``card.toml``; ``docs/model-cards`` shows the same as a page.

    Attributes
    ----------
    label_names
        Names of labels for people, such as ``ig``: "Immature granulocyte"; see ``display_names``.
    offsets
        One for each label, added to the logits after the temperature; empty for none.
    confusion
        Test images by true label (row) and predicted label (column).
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    version: Text
    title: Text
    architecture: Text
    licence: Text
    labels: Annotated[tuple[Text, ...], Field(min_length=2)]
    label_names: dict[str, str] = Field(default_factory=dict)
    model_sha256: Digest
    temperature: Annotated[float, Field(gt=0)]
    offsets: tuple[float, ...] = ()
    intended_use: Text
    not_for: Annotated[tuple[Text, ...], Field(min_length=1)]
    limitations: tuple[Text, ...] = ()
    shortcuts: tuple[Text, ...] = ()
    research_demonstration: bool = False
    trained_with: Text
    preprocessing: Preprocessing
    novelty: NoveltyCard
    start: Initialization | None = None
    data: tuple[DataSource, ...] = ()
    figures: tuple[Figure, ...] = ()
    measures: tuple[Measure, ...] = ()
    per_label: tuple[LabelFigure, ...] = ()
    out_of_distribution: Annotated[tuple[OutOfDistributionSet, ...], Field(alias="strangers")] = ()
    sources: tuple[SourceFigure, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    calibration: Calibration | None = None
    abstention: Abstention | None = None
    explained: ExplanationCheck | None = None
    quantized: QuantizedModel | None = None
    run: TrainingRecord | None = None
    recalibrated: Recalibration | None = None
    format: Literal[1] = 1

    @model_validator(mode="after")
    def _labels_are_distinct(self) -> ModelCard:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a label occurs twice")
        if self.offsets and len(self.offsets) != len(self.labels):
            raise ValueError(f"there are {len(self.offsets)} offsets for {len(self.labels)} labels")
        if UNCERTAIN in self.labels:
            raise ValueError(f'no label may be called "{UNCERTAIN}": that word means an abstention')
        if unknown := set(self.label_names) - set(self.labels):
            raise ValueError(f"label_names names {sorted(unknown)}, which is not a label")
        return self

    def display_names(self) -> dict[str, str]:
        """Names of all labels for people, in the order of the labels."""
        return {label: self.label_names.get(label) or spell_label(label) for label in self.labels}


def spell_label(label: str) -> str:
    """Turn the code of a label that has no display name into words: ``not-classed`` becomes "not classed"."""
    return label.replace("-", " ").replace("_", " ")


def read_card(text: str) -> ModelCard:
    """Read a card from the text of a ``card.toml``.

    Parameters
    ----------
    text
        TOML 1.0.

    Returns
    -------
    ModelCard

    Raises
    ------
    ClassifierBroken
        The text is not TOML, or something in it is missing, unknown or out of range.
    """
    try:
        return ModelCard.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ClassifierBroken(f"{CARD_FILE} is not valid TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the card as a whole"
        raise ClassifierBroken(f"{CARD_FILE} cannot be used: {field}: {first['msg']}.", field=field) from error


def load_card(folder: Path) -> ModelCard:
    """Read the card of the classifier that lies in a folder.

    Parameters
    ----------
    folder
        The folder with ``card.toml`` and ``model.onnx``.

    Returns
    -------
    ModelCard

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
