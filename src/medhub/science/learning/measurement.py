# SPDX-License-Identifier: Apache-2.0
"""Predictions of a classifier for labeled images, computed from the exported files by the code that serves.

Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medhub.errors import Invalid
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.inference.card import ModelCard
from medhub.science.inference.classifier import Classifier
from medhub.science.learning.dataset import ListingRow, read_image

THRESHOLD = 0.75

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Predictions:
    """The outputs of a classifier for N images.

    Attributes
    ----------
    probabilities
        N x C, in the order of the card's labels.
    novelty
        N novelty scores.
    novel
        N, whether the novelty score exceeds the card's limit.
    """

    probabilities: NDArray[np.float64]
    novelty: NDArray[np.float64]
    novel: NDArray[np.bool_]

    @property
    def confidence(self) -> NDArray[np.float64]:
        """The probability of the predicted label, N; 0 for novel images."""
        confidence: NDArray[np.float64] = np.where(self.novel, 0.0, self.probabilities.max(1))
        return confidence


@dataclass(frozen=True)
class Measurement:
    """The predictions of a classifier for labeled images.

    Attributes
    ----------
    rows
        The N readable images whose label the classifier knows.
    predictions
        The outputs for these images.
    targets
        N indices into ``labels``.
    labels
        The C labels of the classifier.
    left_out
        Number of images of each label that the classifier does not know.
    unreadable
        Names of the files that cannot be decoded.
    threshold
        Confidence below which the classifier abstains.
    """

    rows: tuple[ListingRow, ...]
    predictions: Predictions
    targets: NDArray[np.int64]
    labels: tuple[str, ...]
    left_out: dict[str, int]
    unreadable: tuple[str, ...]
    threshold: float

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Indices of the predicted labels, N."""
        indices: NDArray[np.int64] = self.predictions.probabilities.argmax(1).astype(np.int64)
        return indices

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the predicted label is the true one, N."""
        matches: NDArray[np.bool_] = self.predicted == self.targets
        return matches

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Whether the classifier does not abstain, N."""
        answered: NDArray[np.bool_] = self.predictions.confidence >= self.threshold
        return answered


def predict_images(classifier: Classifier, images: Iterable[Picture]) -> Predictions:
    """Run a classifier on images, each height x width x 3, RGB."""
    outputs = [classifier.classify(image) for image in images]
    return Predictions(
        np.array([list(output.probabilities.values()) for output in outputs]).reshape(len(outputs), -1),
        np.array([output.novelty for output in outputs], np.float64),
        np.array([output.novel for output in outputs], bool),
    )


def limit_of(card: ModelCard, threshold: float | None = None) -> float:
    """The confidence below which a classifier abstains: the given one, else the card's, else 0.75."""
    if threshold is not None:
        return threshold
    return card.abstention.threshold if card.abstention is not None else THRESHOLD


def measure(
    classifier: Classifier,
    rows: Sequence[ListingRow],
    threshold: float | None = None,
    perturb: Callable[[Picture], Picture] = lambda image: image,
    done: Callable[[], None] = lambda: None,
) -> Measurement:
    """Run a classifier on labeled images.

    Parameters
    ----------
    classifier
        The exported classifier.
    rows
        The images.
    threshold
        See ``limit_of``.
    perturb
        Applied to each image before it is classified.
    done
        Called after each image.

    Returns
    -------
    Measurement

    Raises
    ------
    Invalid
        No image is readable and has a label that the classifier knows.
    """
    labels = classifier.card.labels
    left_out: dict[str, int] = {}
    unreadable: list[str] = []
    readable: list[ListingRow] = []
    predictions: list[Predictions] = []
    for row in rows:
        if row.label not in labels:
            left_out[row.label] = left_out.get(row.label, 0) + 1
            continue
        try:
            predictions.append(predict_images(classifier, [perturb(read_image(row.path))]))
            readable.append(row)
        except (Unacceptable, OSError):
            unreadable.append(row.name)
        done()
    if not readable:
        raise Invalid(
            f"No image is left to measure with: {len(unreadable)} cannot be read, and {sum(left_out.values())} have "
            f"labels that the classifier does not know. It knows {', '.join(labels)}."
        )
    return Measurement(
        rows=tuple(readable),
        predictions=_concatenate(predictions),
        targets=np.array([labels.index(row.label) for row in readable], np.int64),
        labels=labels,
        left_out=left_out,
        unreadable=tuple(unreadable),
        threshold=limit_of(classifier.card, threshold),
    )


def _concatenate(predictions: Sequence[Predictions]) -> Predictions:
    return Predictions(
        np.concatenate([part.probabilities for part in predictions]),
        np.concatenate([part.novelty for part in predictions]),
        np.concatenate([part.novel for part in predictions]),
    )
