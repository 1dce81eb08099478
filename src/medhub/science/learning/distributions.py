# SPDX-License-Identifier: Apache-2.0
"""Tails of two distributions, without SciPy: that of a tossed coin, and Student's."""

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
    if x > (a + 1) / (a + b + 2):  # beyond, the fraction of the mirrored one converges faster
        return 1 - incomplete_beta(b, a, 1 - x)
    # Lentz's way of evaluating the fraction from its front.
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
    """Compute the chance that a fair coin, tossed as often as both together, shows at most so many heads.

    Parameters
    ----------
    heads
        At least 0; between whole numbers the chance is that of the beta distribution, which runs through them.
    tails
        Above 0.

    Returns
    -------
    float
    """
    return incomplete_beta(tails, heads + 1, 0.5)


@lru_cache(maxsize=4096)
def student_quantile(chance: float, degrees: int) -> float:
    """Compute the quantile of Student's distribution for a chance of at least a half."""
    low, high = 0.0, 1.0

    def below(t: float) -> float:
        return 1 - incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t)) / 2

    while below(high) < chance:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < chance else (low, middle)
    return high
