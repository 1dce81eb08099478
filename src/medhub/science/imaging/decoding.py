# SPDX-License-Identifier: Apache-2.0
"""Received bytes as a picture, without storing anything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medhub.science.imaging.limits import Limits


def decode_photograph(data: bytes, limits: Limits) -> NDArray[np.uint8]:
    """Decode."""
    raise NotImplementedError
