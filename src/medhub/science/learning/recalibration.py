# SPDX-License-Identifier: Apache-2.0
"""Recalibration of an existing classifier on an institution's own images (``medhub calibrate``).

The network stays the same; calibration, abstention threshold and figures are new. The result is another version in
another folder. Nothing here needs torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medhub.errors import Conflict, Invalid
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.inference.card import CARD_FILE, MODEL_FILE, Abstention, Calibration, ModelCard, Recalibration
from medhub.science.inference.classifier import Classifier
from medhub.science.learning.calibration import Calibrator
from medhub.science.learning.confidence_fitting import NO_LIMIT, fit_confidence, no_limit_note
from medhub.science.learning.dataset import ListingRow, digest_of, part_of, read_image, split_rows
from medhub.science.learning.evaluation import Results
from medhub.science.learning.measurement import Measurement
from medhub.science.learning.packaging import REPORT, PackagedClassifier, package_classifier
from medhub.science.learning.provenance import code_version
from medhub.science.learning.quantization import INT8_FILE
from medhub.science.learning.recipe import AbstentionRecipe, OutOfDistributionRecipe

_UNCHANGED_FILES = (MODEL_FILE, INT8_FILE, "weights.safetensors", "run.json")


class ClassifierExists(Conflict):
    """The folder or the version is already in use; a written card never changes."""

    code = "classifier-exists"
    title = "There is a classifier already"


@dataclass(frozen=True)
class _CalibrationImages:
    """Validation images to calibrate with, and test images to measure with."""

    validation: tuple[ListingRow, ...]
    test: tuple[ListingRow, ...]


def target_of(card: ModelCard, target_error: float | None = None, confidence: float | None = None) -> AbstentionRecipe:
    """What the abstention threshold is to guarantee.

    Parameters
    ----------
    card
        The card of the classifier; its values apply where none is given.
    target_error
        Largest share of wrong answers.
    confidence
        Confidence level of the guarantee.

    Returns
    -------
    AbstentionRecipe

    Raises
    ------
    Invalid
        A value is out of range.
    """
    explicit = {"target_error": target_error, "confidence": confidence}
    abstention = card.abstention
    learned = (
        {} if abstention is None else {"target_error": abstention.target_error, "confidence": abstention.confidence}
    )
    try:
        return AbstentionRecipe(**learned | {name: value for name, value in explicit.items() if value is not None})
    except ValueError as error:
        raise Invalid("The share of wrong answers and the confidence lie between 0 and 1.") from error


def split_for_calibration(card: ModelCard, rows: Sequence[ListingRow]) -> tuple[ListingRow, ...]:
    """Split images into a validation part, to calibrate with, and a test part, to measure with.

    The parts of the listing are kept. If it has none, the rows are split by group, and the training part joins the
    validation part, because no image was used to train the classifier.
    """
    if any(row.split for row in rows):
        return tuple(rows)
    parts = split_rows(rows, hashlib.sha256(f"medhub/{card.name}".encode()).digest())
    return tuple(row if row.split == "test" else replace(row, split="val") for row in parts)


def recalibrate(
    folder: Path,
    rows: Sequence[ListingRow],
    out: Path,
    *,
    version: str,
    target: AbstentionRecipe,
    note: str = "",
    out_of_distribution: Sequence[OutOfDistributionRecipe] = (),
    data: Path | None = None,
    done: Callable[[], None] = lambda: None,
) -> PackagedClassifier:
    """Recalibrate a classifier, and write the result as another version into another folder.

    Parameters
    ----------
    folder
        The folder of the classifier.
    rows
        Validation images to calibrate with and test images to measure with, none of them used to train the classifier.
    out
        Folder of the new version.
    version
        The new version.
    target
        What the abstention threshold is to guarantee.
    note
        The reason, for the card.
    out_of_distribution, data
        See ``packaging.package_classifier``.
    done
        Called after each validation image.

    Returns
    -------
    PackagedClassifier

    Raises
    ------
    ClassifierExists
        The folder ``out`` holds a classifier, or the version is that of the classifier.
    Invalid
        A part is missing, an image cannot be read, or has a label that the classifier does not know.
    """
    classifier = Classifier.load(folder)
    card = classifier.card
    _refuse_existing(card, out, version)
    images = _check_images(card, rows)
    fitted = _fit_validation(classifier, images.validation, target, done)
    recalibrated = _recalibrate_card(classifier, images, version, note, target, *fitted)
    files = {name: (folder / name).read_bytes() for name in _UNCHANGED_FILES if (folder / name).is_file()}
    return package_classifier(
        out,
        recalibrated,
        files,
        images.test,
        out_of_distribution=out_of_distribution,
        data=data,
        draw=lambda report, measurement, results: _draw_report(folder, card, report, measurement, results),
    )


def _refuse_existing(card: ModelCard, out: Path, version: str) -> None:
    if (out / CARD_FILE).exists():
        raise ClassifierExists(f"{out} holds a classifier already, and a card that was written is never changed.")
    if version == card.version:
        raise ClassifierExists(
            f"{card.name} {version} is the one that is there: another calibration is another version."
        )


def _check_images(card: ModelCard, rows: Sequence[ListingRow]) -> _CalibrationImages:
    images = _CalibrationImages(part_of(rows, "val"), part_of(rows, "test"))
    for name, part in (("val", images.validation), ("test", images.test)):
        if not part:
            raise Invalid(f"There are no images of the part {name}: to calibrate takes val, to measure takes test.")
        if unknown := sorted({row.label for row in part} - set(card.labels)):
            raise Invalid(f"{card.name} does not know the labels {unknown}. It knows {list(card.labels)}.")
    return images


def _fit_validation(
    classifier: Classifier, rows: Sequence[ListingRow], target: AbstentionRecipe, done: Callable[[], None]
) -> tuple[Calibrator, Calibration, Abstention | None]:
    labels = classifier.card.labels
    logits, novel = _predict(classifier, rows, done)
    targets = np.array([labels.index(row.label) for row in rows], np.int64)
    return fit_confidence(logits, novel, targets, [row.group for row in rows], target)


def _predict(
    classifier: Classifier, rows: Sequence[ListingRow], done: Callable[[], None]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    logits, novel = [], []
    for row in rows:
        try:
            scores, _, distance = classifier.run(read_image(row.path))
        except (Unacceptable, OSError) as error:
            raise Invalid(f"{row.name} cannot be read as an image. Mend it, or take it out of the list.") from error
        logits.append(scores)
        novel.append(not distance <= classifier.card.novelty.limit)
        done()
    return np.stack(logits), np.array(novel)


def _recalibrate_card(
    classifier: Classifier,
    images: _CalibrationImages,
    version: str,
    note: str,
    target: AbstentionRecipe,
    calibrator: Calibrator,
    calibration: Calibration,
    abstention: Abstention | None,
) -> ModelCard:
    card = classifier.card
    limitations = tuple(limitation for limitation in card.limitations if not limitation.startswith(NO_LIMIT))
    recalibrated = card.model_copy(
        update={
            "version": version,
            "temperature": calibrator.temperature,
            "offsets": calibrator.offsets,
            "calibration": calibration,
            "abstention": abstention,
            "limitations": limitations if abstention is not None else (*limitations, no_limit_note(target)),
            # Figures of the previous version do not apply to this one.
            "out_of_distribution": (),
            "recalibrated": Recalibration(
                of=f"{card.name} {card.version}",
                digest=classifier.digest,
                images=(len(images.validation), len(images.test)),
                data_sha256=digest_of((*images.validation, *images.test)),
                code=code_version(),
                note=note,
            ),
        }
    )
    return ModelCard.model_validate(recalibrated.model_dump())


def _draw_report(folder: Path, card: ModelCard, report: Path, measurement: Measurement, results: Results) -> None:
    """Draw the charts of the new version, and copy the training curves of the previous one."""
    if find_spec("matplotlib") is None:
        return
    from medhub.science.learning.charts import draw_all

    draw_all(report, (), measurement, results)
    if card.research_demonstration:  # its images may not be passed on, and this chart consists of them
        (report / "worst.png").unlink()
    if (curves := folder / REPORT / "curves.png").is_file():
        (report / curves.name).write_bytes(curves.read_bytes())
