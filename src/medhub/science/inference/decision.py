# SPDX-License-Identifier: Apache-2.0
"""From what a classifier read to what is said of an image: a label, or an abstention with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass

from medhub.errors import Invalid
from medhub.science.inference.card import UNCERTAIN, ModelCard
from medhub.science.inference.classifier import ClassifierOutput

__all__ = ["UNCERTAIN", "Decision", "decide", "limit_of", "reason_without_instruction"]

_FORMER_INSTRUCTION = "A note is needed."
"""Ended each reason until reasons were stored alone; rows of that time still have it."""


@dataclass(frozen=True)
class Decision:
    """What is said of an image.

    Attributes
    ----------
    label
        A label of the classifier, or ``Uncertain``.
    uncertain
        Whether the classifier abstained.
    reason
        Why it abstained, in complete sentences without a request to the reader; none otherwise.
    confidence
        Calibrated probability of the likeliest label, 0..1, also where the classifier abstained.
    likeliest
        The likeliest label, also where the classifier abstained.
    """

    label: str
    uncertain: bool
    reason: str | None
    confidence: float
    likeliest: str


def limit_of(card: ModelCard, threshold: float, *, learned: bool) -> float:
    """Say the least probability with which a label is said.

    Parameters
    ----------
    card
        The classifier's card.
    threshold
        The fixed limit of the pathway.
    learned
        Whether the classifier's learned limit counts instead, where it has one.

    Returns
    -------
    float
        In (0, 1].
    """
    return card.abstention.threshold if learned and card.abstention is not None else threshold


def decide(reading: ClassifierOutput, threshold: float) -> Decision:
    """Say a label, or abstain.

    A classifier abstains where the image is unlike what it was trained on, whatever its probabilities say (a softmax
    is confident far away from its data: Hein et al., CVPR 2019), and where the likeliest label stays below the
    threshold of the pathway.

    Parameters
    ----------
    reading
        What the classifier read.
    threshold
        Least probability with which a label is said, in (0, 1].

    Returns
    -------
    Decision

    Raises
    ------
    Invalid
        The threshold is not in (0, 1].
    """
    if not 0 < threshold <= 1:
        raise Invalid(f"A threshold lies above 0 and is at most 1; this one is {threshold:g}.", field="threshold")
    likeliest = max(reading.probabilities, key=lambda label: reading.probabilities[label])
    confidence = reading.probabilities[likeliest]
    reason: str | None = None
    if reading.novel:
        reason = "Not like the images this classifier was trained on."
    elif not confidence >= threshold:
        reason = f"Below the limit of this pathway: {_cut(confidence)} of {threshold:g}."
    return Decision(
        label=likeliest if reason is None else UNCERTAIN,
        uncertain=reason is not None,
        reason=reason,
        confidence=confidence,
        likeliest=likeliest,
    )


def reason_without_instruction(reason: str | None) -> str | None:
    """Return a stored reason without the request for a note, with which earlier versions ended it.

    Parameters
    ----------
    reason
        The reason as it is stored, or None.

    Returns
    -------
    str | None
        Why the classifier abstained; None where nothing is left.
    """
    return (reason or "").removesuffix(_FORMER_INSTRUCTION).rstrip() or None


def _cut(probability: float) -> str:
    # Cut, not rounded: 0.7496 must not read "0.75 of 0.75".
    return f"{math.floor(probability * 100) / 100:.2f}" if math.isfinite(probability) else "no number"
