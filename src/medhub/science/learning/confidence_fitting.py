# SPDX-License-Identifier: Apache-2.0
"""Fitting the calibration and the abstention threshold of a trained network on validation images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medhub.science.inference.card import Abstention, Calibration
from medhub.science.inference.classifier import softmax
from medhub.science.learning import metrics
from medhub.science.learning.abstention import METHOD, fewest_images, learn_limit
from medhub.science.learning.calibration import Calibrator, fit_calibrator
from medhub.science.learning.recipe import AbstentionRecipe

NO_LIMIT = "No limit could be learned"


def fit_confidence(
    logits: NDArray[np.float64],
    novel: NDArray[np.bool_],
    targets: NDArray[np.int64],
    groups: Sequence[str],
    target: AbstentionRecipe,
) -> tuple[Calibrator, Calibration, Abstention | None]:
    """Fit the calibrator and the abstention threshold.

    Parameters
    ----------
    logits
        N x C, of validation images.
    novel
        N, whether the novelty score of an image exceeds the limit.
    targets
        N label indices.
    groups
        N, the group (patient) of each image.
    target
        The error rate that the threshold must guarantee, and the confidence level.

    Returns
    -------
    tuple[Calibrator, Calibration, Abstention | None]
        The calibrator, and the entries of the model card; no abstention threshold if none guarantees the error rate.
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
    abstention = Abstention(
        # Truncated, not rounded, so that the image whose confidence is the threshold is still answered.
        threshold=int(limit.threshold * 1e6) / 1e6,
        target_error=target.target_error,
        confidence=target.confidence,
        answered=round(limit.answered, 4),
        error=round(limit.error, 4),
        n=limit.n,
        groups=limit.groups,
        method=METHOD,
    )
    return calibrator, calibration, abstention


def no_limit_note(target: AbstentionRecipe) -> str:
    """The limitation that a card states if there is no abstention threshold."""
    needed = fewest_images(target.target_error, target.confidence)
    return (
        f"{NO_LIMIT} at which at most {target.target_error:g} of the answers are wrong: {needed} validation images at "
        "least, and fewer errors among the surest, would be needed."
    )
