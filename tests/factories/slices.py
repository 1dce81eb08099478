# SPDX-License-Identifier: Apache-2.0
"""Slices as a scanner reconstructs them: a body with organs, bones and vessels on air, with noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def make_slice(seed: int, side: int = 512) -> NDArray[np.float64]:
    """Make a slice.

    Parameters
    ----------
    seed
        Which slice.
    side
        Rows and columns.

    Returns
    -------
    ndarray of float64
        side x side, 0..1.
    """
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    values = np.zeros((side, side))
    body = np.hypot(x / 0.4, y / 0.3) < 1
    values[body] = 0.4
    for _ in range(9):  # organs
        center_x, center_y = random.uniform(-0.25, 0.25), random.uniform(-0.18, 0.18)
        wide, high = random.uniform(0.02, 0.12, 2)
        values[(np.hypot((x - center_x) / wide, (y - center_y) / high) < 1) & body] = random.uniform(0.15, 0.6)
    for angle in random.uniform(0, 2 * np.pi, 12):  # ribs and vertebra
        center_x, center_y = 0.36 * np.cos(angle), 0.26 * np.sin(angle)
        values[np.hypot((x - center_x) / 0.03, (y - center_y) / 0.015) < 1] = 0.85
    for _ in range(25):  # vessels
        center_x, center_y = random.uniform(-0.3, 0.3), random.uniform(-0.22, 0.22)
        values[(np.hypot(x - center_x, y - center_y) < random.uniform(0.003, 0.01)) & body] = 0.55
    values[(np.abs(y - 0.36) < 0.006) & (np.abs(x) < 0.42)] = 0.3  # the table
    values = cv2.GaussianBlur(values, (0, 0), 0.0016 * side) + random.normal(0, 0.012, values.shape)
    return np.clip(values, 0, 1)
