# SPDX-License-Identifier: Apache-2.0
"""Robustness of a classifier: accuracy on perturbed test images, and abstention on out-of-distribution images."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from medhub.science.inference.card import Figure, OutOfDistributionSet
from medhub.science.inference.classifier import Classifier
from medhub.science.learning import metrics
from medhub.science.learning.card_figures import COMMAND, make_figure
from medhub.science.learning.dataset import ListingRow
from medhub.science.learning.measurement import Picture, Predictions, limit_of, measure, predict_images
from medhub.science.learning.out_of_distribution import generate_images, read_matching_images
from medhub.science.learning.recipe import OutOfDistributionRecipe

GENERATED_OF_EACH_KIND = 50
_DRAWS = 200
_MEASURED = ("accuracy", "Uncertain")
"""What is measured of perturbed images; the name of each figure begins with it."""


def add_robustness(
    parts: dict[str, Any],
    classifier: Classifier,
    rows: Sequence[ListingRow],
    reference: Predictions,
    kinds: Sequence[OutOfDistributionRecipe],
    data: Path,
    threshold: float | None = None,
) -> dict[str, Any]:
    """Add the robustness of a classifier to the figures of its card.

    Parameters
    ----------
    parts
        The result of ``card_figures.card_parts``.
    classifier
        The exported classifier.
    rows
        Labeled test images.
    reference
        Predictions for the unperturbed test images.
    kinds, data
        See ``measure_out_of_distribution``.
    threshold
        See ``limit_of``.

    Returns
    -------
    dict[str, Any]
        The figures of ``parts``, then those of the perturbed images; and the out-of-distribution sets.
    """
    perturbed = measure_perturbed(classifier, rows, threshold, COMMAND.format(name=classifier.card.name))
    return {
        **parts,
        "figures": (*parts["figures"], *perturbed),
        "out_of_distribution": measure_out_of_distribution(classifier, kinds, data, reference, threshold),
    }


def perturbed_figures(figures: Sequence[Figure]) -> list[Figure]:
    """Select the figures of perturbed images by their names: how many others stand before them differs."""
    names = {f"{measured}, {name}" for name in PERTURBATIONS for measured in _MEASURED}
    return [figure for figure in figures if figure.name in names]


def measure_perturbed(
    classifier: Classifier, rows: Sequence[ListingRow], threshold: float | None, command: str
) -> tuple[Figure, ...]:
    """Measure accuracy and abstention on perturbed test images, for each of ``PERTURBATIONS``.

    Parameters
    ----------
    classifier
        The exported classifier.
    rows
        Labeled test images.
    threshold
        See ``limit_of``.
    command
        The command that prints the figures again.

    Returns
    -------
    tuple[Figure, ...]
        Two figures for each perturbation: the accuracy, and the share of images that are Uncertain.
    """
    figures = []
    for name, perturb in PERTURBATIONS.items():
        measurement = measure(classifier, rows, threshold, perturb)
        weights = metrics.draw_groups([row.group for row in measurement.rows], _DRAWS)
        accuracy = metrics.accuracy(measurement.predicted, measurement.targets, weights)
        uncertain = metrics.share(~measurement.answered, np.ones(len(measurement.targets), bool), weights)
        figures.append(make_figure(f"{_MEASURED[0]}, {name}", accuracy, command))
        figures.append(make_figure(f"{_MEASURED[1]}, {name}", uncertain, command))
    return tuple(figures)


def measure_out_of_distribution(
    classifier: Classifier,
    kinds: Sequence[OutOfDistributionRecipe],
    data: Path,
    reference: Predictions,
    threshold: float | None = None,
) -> tuple[OutOfDistributionSet, ...]:
    """Measure how often a classifier abstains from out-of-distribution images.

    Parameters
    ----------
    classifier
        The exported classifier.
    kinds
        Patterns of files.
    data
        Folder that the patterns are relative to; kinds without a matching file are left out.
    reference
        Predictions for the test images, which are the negatives of the AUROC.
    threshold
        See ``limit_of``.

    Returns
    -------
    tuple[OutOfDistributionSet, ...]
        One for each kind with files, then one for each kind of generated images.
    """
    limit = limit_of(classifier.card, threshold)
    sets = [
        _summarize_set(kind.name, predict_images(classifier, read_matching_images(data, kind)), reference, limit)
        for kind in kinds
        if any(data.glob(kind.pattern))
    ]
    for name, images in generate_images(GENERATED_OF_EACH_KIND).items():
        sets.append(_summarize_set(f"generated: {name}", predict_images(classifier, images), reference, limit))
    return tuple(sets)


def _summarize_set(name: str, predictions: Predictions, reference: Predictions, limit: float) -> OutOfDistributionSet:
    scores = np.concatenate([predictions.novelty, reference.novelty])
    positive = np.arange(len(scores)) < len(predictions.novelty)
    area = float(metrics.auroc(scores, positive, np.ones((1, len(scores))))[0])
    return OutOfDistributionSet(
        name=name,
        n=len(predictions.novel),
        uncertain=round(float((predictions.confidence < limit).mean()), 4),
        novel=round(float(predictions.novel.mean()), 4),
        auroc=round(area, 4),
    )


def _resize_to(height: int, width: int) -> Callable[[Picture], Picture]:
    def resize(image: Picture) -> Picture:
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))

    return resize


def _recompress_at(quality: int) -> Callable[[Picture], Picture]:
    def recompress(image: Picture) -> Picture:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))

    return recompress


def _sharpen(image: Picture) -> Picture:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.UnsharpMask(radius=1.5, percent=80, threshold=0)))


def _add_noise(image: Picture) -> Picture:
    noise = np.random.default_rng(0).normal(0, 4, (*image.shape[:2], 1))
    return (image + noise).round().clip(0, 255).astype(np.uint8)


def _rotate(image: Picture) -> Picture:
    return np.ascontiguousarray(np.rot90(image))


def _remove_color(image: Picture) -> Picture:
    return np.repeat(image.mean(2, keepdims=True), 3, 2).astype(np.uint8)


# Names as they are written into cards.
PERTURBATIONS: dict[str, Callable[[Picture], Picture]] = {
    "images of 100 x 100 px": _resize_to(100, 100),
    "images of 512 x 512 px": _resize_to(512, 512),
    "JPEG again at quality 50": _recompress_at(50),
    "sharpened": _sharpen,
    "with fine noise": _add_noise,
    "a quarter turned": _rotate,
    "colors taken away": _remove_color,
}
