# SPDX-License-Identifier: Apache-2.0
"""Making small photographs, each unlike the others."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def photograph(seed: int = 0, size: int = 96, form: str = "JPEG") -> bytes:
    """A picture of a few discs on a light ground, different for each seed."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    picture = np.full((size, size, 3), 225, np.float64)
    for _ in range(6):
        cx, cy, r = random.uniform(0, size), random.uniform(0, size), random.uniform(size / 12, size / 5)
        picture[(x - cx) ** 2 + (y - cy) ** 2 < r**2] = random.uniform(60, 200, 3)
    picture += random.normal(0, 4, picture.shape)
    buffer = io.BytesIO()
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(buffer, form)
    return buffer.getvalue()
