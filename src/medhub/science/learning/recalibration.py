# SPDX-License-Identifier: Apache-2.0
"""What is learned of a network that has been trained: how sure it may be, and when it must say nothing.

The trainer does it for a new network; ``medhub calibrate`` does it anew for a classifier that is there, on an
institution's own images, and writes another version beside the one before. The network stays as it is. Nothing here
needs torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medhub import __version__
from medhub.errors import Conflict, Invalid
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.inference.card import (
    CARD_FILE,
    MODEL_FILE,
    Abstention,
    Calibration,
    ModelCard,
    Recalibration,
)
from medhub.science.inference.classifier import Classifier, softmax
from medhub.science.learning import metrics
from medhub.science.learning.abstention import METHOD, fewest_images, learn_limit
from medhub.science.learning.calibration import Calibrator, fit_calibrator
from medhub.science.learning.dataset import ListingRow, digest_of, part_of, read_image, split_rows
from medhub.science.learning.evaluation import Measurement, Results
from medhub.science.learning.packaging import REPORT, Shipped, ship
from medhub.science.learning.quantization import INT8_FILE
from medhub.science.learning.recipe import AbstentionRecipe, OutOfDistributionRecipe

_NO_LIMIT = "No limit could be learned"
_UNCHANGED_FILES = (MODEL_FILE, INT8_FILE, "weights.safetensors", "run.json")


class ClassifierExists(Conflict):
    """There is a classifier of that folder or version already; a card that was written is never changed."""

    code = "classifier-exists"
    title = "There is a classifier already"


def calibrate(
    logits: NDArray[np.float64],
    novel: NDArray[np.bool_],
    targets: NDArray[np.int64],
    groups: Sequence[str],
    target: AbstentionRecipe,
) -> tuple[Calibrator, Calibration, Abstention | None]:
    """Find temperature, offsets and the limit of abstention.

    Parameters
    ----------
    logits
        N x C, of validation images.
    novel
        N, whether an image counts as unlike the training data.
    targets
        N label indices.
    groups
        N, whose image it is.
    wanted
        The promise.

    Returns
    -------
    tuple[Calibrator, Calibration, Abstention | None]
        No limit where none could be learned.
    """
    calibrator = fit_calibrator(logits, targets, groups)
    uncalibrated, calibrated = softmax(logits), calibrator.probabilities(logits)
    calibration = Calibration(
        error_before=round(metrics.calibration_error(uncalibrated, targets), 4),
        error_after=round(metrics.calibration_error(calibrated, targets), 4),
        n=len(targets),
    )
    confidence = np.where(novel, 0.0, calibrated.max(1))
    limit = learn_limit(confidence, calibrated.argmax(1) == targets, target.target_error, target.confidence, groups)
    if limit is None:
        return calibrator, calibration, None
    return (
        calibrator,
        calibration,
        Abstention(
            # Cut, not rounded, so that the image on the limit stays above it.
            threshold=int(limit.threshold * 1e6) / 1e6,
            target_error=target.target_error,
            confidence=target.confidence,
            answered=round(limit.answered, 4),
            error=round(limit.error, 4),
            n=limit.n,
            groups=limit.groups,
            method=METHOD,
        ),
    )


def no_limit_note(target: AbstentionRecipe) -> str:
    """Say on the card that there is no learned limit."""
    needed = fewest_images(target.target_error, target.confidence)
    return (
        f"{_NO_LIMIT} at which at most {target.target_error:g} of the answers are wrong: {needed} validation images at "
        "least, and fewer errors among the surest, would be needed."
    )


def target_of(card: ModelCard, target_error: float | None = None, confidence: float | None = None) -> AbstentionRecipe:
    """What a learned limit is to promise: what is given, or what the card's own promises, or the usual.

    Raises
    ------
    Invalid
        A share is out of range.
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
    """Divide images into those to calibrate with (val) and to measure with (test), as the listing says or by group.

    Where the listing has no parts, the classifier learned from none of them: what would be learned from calibrates.
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
) -> Shipped:
    """Calibrate a classifier anew, and write it as another version; the one before stays as it is.

    Parameters
    ----------
    folder
        The classifier.
    rows
        Images: the validation part to calibrate with, the test part to measure with. What it was trained on is in
        neither.
    out
        Folder of the new version.
    version
        Its version.
    wanted
        The promise of the learned limit.
    note
        Why, for the card.
    strangers, data
        See ``shipping.ship``.
    done
        Called after each validation image.

    Returns
    -------
    Shipped

    Raises
    ------
    InTheWay
        The folder holds a classifier, or the version is the one that is there.
    Invalid
        A part is missing, an image cannot be read, or has a label that the classifier does not know.
    """
    classifier = Classifier.load(folder)
    card = classifier.card
    if (out / CARD_FILE).exists():
        raise ClassifierExists(f"{out} holds a classifier already, and a card that was written is never changed.")
    if version == card.version:
        raise ClassifierExists(
            f"{card.name} {version} is the one that is there: another calibration is another version."
        )
    parts: dict[str, tuple[ListingRow, ...]] = {"val": part_of(rows, "val"), "test": part_of(rows, "test")}
    for name, part in parts.items():
        if not part:
            raise Invalid(f"There are no images of the part {name}: to calibrate takes val, to measure takes test.")
        if unknown := sorted({row.label for row in part} - set(card.labels)):
            raise Invalid(f"{card.name} does not know the labels {unknown}. It knows {list(card.labels)}.")
    logits, novel = _predict(classifier, parts["val"], done)
    targets = np.array([card.labels.index(row.label) for row in parts["val"]], np.int64)
    calibrator, calibration, limit = calibrate(logits, novel, targets, [row.group for row in parts["val"]], target)
    both = (*parts["val"], *parts["test"])
    limitations = tuple(limitation for limitation in card.limitations if not limitation.startswith(_NO_LIMIT))
    recalibrated = card.model_copy(
        update={
            "version": version,
            "temperature": calibrator.temperature,
            "offsets": calibrator.offsets,
            "calibration": calibration,
            "abstention": limit,
            "limitations": limitations if limit is not None else (*limitations, no_limit_note(target)),
            # What was measured of the version before does not hold for this one.
            "out_of_distribution": (),
            "recalibrated": Recalibration(
                of=f"{card.name} {card.version}",
                digest=classifier.digest,
                images=(len(parts["val"]), len(parts["test"])),
                data_sha256=digest_of(both),
                code=code_version(),
                note=note,
            ),
        }
    )
    files = {name: (folder / name).read_bytes() for name in _UNCHANGED_FILES if (folder / name).is_file()}

    def draw(report: Path, measurement: Measurement, results: Results) -> None:
        if find_spec("matplotlib") is None:
            return
        from medhub.science.learning.charts import draw_all

        draw_all(report, (), measurement, results)
        if card.research_demonstration:  # its images may not be passed on, and this picture is made of them
            (report / "worst.png").unlink()
        if (curves := folder / REPORT / "curves.png").is_file():
            (report / curves.name).write_bytes(curves.read_bytes())

    checked = ModelCard.model_validate(recalibrated.model_dump())
    return ship(out, checked, files, parts["test"], out_of_distribution=out_of_distribution, data=data, draw=draw)


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


def code_version() -> str:
    """The version of Medhub, and a digest of the code that trains and serves."""
    folder = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for part in ("inference", "learning"):
        for path in sorted((folder / part).glob("*.py")):
            digest.update(f"{part}/{path.name}\0".encode() + path.read_bytes())
    return f"medhub {__version__}, science {digest.hexdigest()[:16]}"
