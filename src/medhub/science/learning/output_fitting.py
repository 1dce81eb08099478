# SPDX-License-Identifier: Apache-2.0
"""Steps after the training: calibration, abstention, novelty, evaluation of evidence maps, export and quantization."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from medhub.science.inference.card import Abstention, Calibration, ExplanationCheck, QuantizedModel
from medhub.science.learning.attribution import explain
from medhub.science.learning.calibration import Calibrator
from medhub.science.learning.confidence_fitting import fit_confidence
from medhub.science.learning.dataset import ImageSet
from medhub.science.learning.network import Network
from medhub.science.learning.network_outputs import predict
from medhub.science.learning.novelty import SMALLEST_SPREAD, Novelty, fit_novelty, shape_limits
from medhub.science.learning.onnx_export import ExportDiffers, Exported, export, round_weights
from medhub.science.learning.quantization import logits_of, quantize
from medhub.science.learning.recipe import Recipe

PARITY_IMAGES = 100
LEAST_SPREADS = (SMALLEST_SPREAD, 0.03, 1.0)


@dataclass(frozen=True)
class FittedOutputs:
    """The exported network, and all that was fitted on the validation images after the training.

    Attributes
    ----------
    novelty_limit
        Distance above which an image counts as unlike the training data.
    int8
        The quantized model; none if it is not shipped.
    weights
        State dict for ``weights.safetensors``; none if the recipe does not ask for it.
    shapes
        Smallest and greatest ratio of width to height; none if unknown.
    """

    exported: Exported
    calibrator: Calibrator
    novelty_limit: float
    calibration: Calibration
    abstention: Abstention | None
    explained: ExplanationCheck
    quantized: QuantizedModel | None
    int8: bytes | None
    weights: dict[str, torch.Tensor] | None
    shapes: tuple[float, float] | None


def fit_outputs(
    network: Network,
    recipe: Recipe,
    learn: ImageSet,
    validate: ImageSet,
    groups: Sequence[str],
    labels: tuple[str, ...],
    exporting: Callable[[], None] = lambda: None,
) -> FittedOutputs:
    """Fit calibration, abstention and novelty on the validation images, and export the network.

    Parameters
    ----------
    network
        Trained; its weights are rounded if the recipe exports 16 bits.
    recipe
        The recipe.
    learn, validate
        Training and validation images.
    groups
        N, the group (patient) of each validation image.
    labels
        In the order of the logits.
    exporting
        Called when the export starts.

    Returns
    -------
    FittedOutputs

    Raises
    ------
    ExportDiffers
        The exported graph does not compute what the network does.
    """
    if recipe.export.half:
        round_weights(network)
    novelty, limit, exported = _fit_and_export(network, recipe, learn, validate, labels)
    logits, pooled = predict(network, validate.images, recipe.preprocessing)
    with torch.inference_mode():
        distances = novelty(tuple(torch.from_numpy(features.astype(np.float32)) for features in pooled)).numpy()
    calibrator, calibration, abstention = fit_confidence(
        logits, ~(distances <= limit), validate.targets, groups, recipe.abstention
    )
    explained = explain(network, validate.images, recipe.preprocessing, recipe.training.seed)
    exporting()
    quantized, int8 = _try_quantization(network, recipe, exported, learn, validate, labels, novelty)
    weights = dict(network.state_dict()) if recipe.export.weights else None
    return FittedOutputs(
        exported,
        calibrator,
        round(limit, 6),
        calibration,
        abstention,
        explained,
        quantized,
        int8,
        weights,
        shape_limits(learn),
    )


def _fit_and_export(
    network: Network, recipe: Recipe, learn: ImageSet, validate: ImageSet, labels: tuple[str, ...]
) -> tuple[Novelty, float, Exported]:
    """Fit the novelty and export the network.

    The features of a network that hardly distinguishes images differ by little more than the rounding of 32-bit
    numbers, which the distance would amplify; such a network needs a larger least spread.
    """
    step = max(1, len(validate.images) // PARITY_IMAGES)
    seed = recipe.training.seed
    for smallest in LEAST_SPREADS:
        novelty, limit = fit_novelty(
            network, recipe.novelty, recipe.augmentation, recipe.preprocessing, learn, validate, seed, smallest
        )
        try:
            images = validate.images[::step]
            return (
                novelty,
                limit,
                export(network, novelty, labels, recipe.preprocessing, images, half=recipe.export.half),
            )
        except ExportDiffers:
            if smallest == LEAST_SPREADS[-1]:
                raise
    raise AssertionError("unreachable")


def _try_quantization(
    network: Network,
    recipe: Recipe,
    exported: Exported,
    learn: ImageSet,
    validate: ImageSet,
    labels: tuple[str, ...],
    novelty: Novelty,
) -> tuple[QuantizedModel | None, bytes | None]:
    if not recipe.export.int8:
        return None, None
    original = exported.model
    if recipe.export.half:
        original = export(network, novelty, labels, recipe.preprocessing, validate.images[:2]).model
    quantized = quantize(original, learn.images, recipe.preprocessing)
    accuracy, quantized_accuracy = (
        float((logits_of(model, validate.images, recipe.preprocessing).argmax(1) == validate.targets).mean())
        for model in (original, quantized)
    )
    drop = accuracy - quantized_accuracy
    shipped = drop < recipe.export.int8_drop
    digest = hashlib.sha256(quantized).hexdigest() if shipped else None
    megabytes = round(len(quantized) / 1e6, 2)
    return QuantizedModel(
        shipped=shipped, accuracy_drop=round(drop, 4), megabytes=megabytes, sha256=digest
    ), quantized if shipped else None
