# SPDX-License-Identifier: Apache-2.0
"""Distribution functions of the binomial and Student's t distribution, without SciPy."""

from __future__ import annotations

import math
from functools import lru_cache

_STEPS = 10_000
_EXACT = 1e-13
_TINY = 1e-300


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Compute the regularized incomplete beta function by its continued fraction (Abramowitz & Stegun 26.5.8).

    Parameters
    ----------
    a, b
        Above 0.
    x
        0..1.

    Returns
    -------
    float
        0..1.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # the continued fraction of the mirrored function converges faster
        return 1 - incomplete_beta(b, a, 1 - x)
    # Lentz's algorithm.
    top, bottom, value = 1.0, 0.0, 1.0
    for step in range(_STEPS):
        half = step // 2
        if step == 0:
            part = 1.0
        elif step % 2 == 0:
            part = half * (b - half) * x / ((a + step - 1) * (a + step))
        else:
            part = -(a + half) * (a + b + half) * x / ((a + step - 1) * (a + step))
        bottom = 1 / _off_zero(1 + part * bottom)
        top = _off_zero(1 + part / top)
        value *= top * bottom
        if abs(top * bottom - 1) < _EXACT:
            break
    scale = a * math.log(x) + b * math.log1p(-x) - math.lgamma(a) - math.lgamma(b) + math.lgamma(a + b)
    return min(1.0, max(0.0, math.exp(scale) * (value - 1) / a))


def _off_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def binomial_cdf(heads: float, tails: float) -> float:
    """Compute the probability of at most ``heads`` successes in ``heads + tails`` trials of probability 1/2.

    Parameters
    ----------
    heads
        At least 0; for fractions, the binomial distribution is interpolated by the beta distribution.
    tails
        Above 0.

    Returns
    -------
    float
    """
    return incomplete_beta(tails, heads + 1, 0.5)


@lru_cache(maxsize=4096)
def student_quantile(chance: float, degrees: int) -> float:
    """Compute a quantile of Student's t distribution for a probability of at least 1/2."""
    low, high = 0.0, 1.0

    def below(t: float) -> float:
        return 1 - incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t)) / 2

    while below(high) < chance:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < chance else (low, middle)
    return high
