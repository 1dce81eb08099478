# SPDX-License-Identifier: Apache-2.0
"""Making probabilities mean what they say: one temperature, found on the validation part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medhub.science.inference.classifier import softmax

_RANGE = (0.05, 20.0)
_GOLDEN = (5**0.5 - 1) / 2


def fit_temperature(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """Find the temperature with the least negative log likelihood (Guo et al., ICML 2017).

    Parameters
    ----------
    logits
        N x C, of images that the network did not learn from.
    targets
        N label indices.

    Returns
    -------
    float
        The temperature, within 0.05..20.
    """
    # The likelihood has one peak in log(temperature): golden section search.
    low, high = np.log(_RANGE[0]), np.log(_RANGE[1])
    while high - low > 1e-5:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if log_loss(logits, targets, float(np.exp(left))) < log_loss(logits, targets, float(np.exp(right))):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def log_loss(logits: NDArray[np.float64], targets: NDArray[np.int64], temperature: float) -> float:
    """Compute the mean negative log likelihood at a temperature."""
    chosen = softmax(logits / temperature)[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(chosen, 1e-300)).mean())
