# SPDX-License-Identifier: Apache-2.0
"""Colors of luminance and two color differences as red, green and blue (PS3.3, C.7.6.3.1.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.processing import convert_color_space

# Of full range the luminance has all values, of partial range those of television (ITU-R BT.601).
_FROM_FULL = np.array([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])
_FROM_PARTIAL = np.linalg.inv(
    np.array([[0.2568, 0.5041, 0.0979], [-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]])
)


def ybr_to_rgb(pixels: NDArray[Any], photometric: str, bits: int) -> NDArray[Any]:
    """Convert colors to red, green and blue.

    Parameters
    ----------
    pixels
        Array of unsigned integers of shape (rows, columns, 3).
    photometric
        "YBR_FULL" or "YBR_PARTIAL", with or without "_422".
    bits
        Stored bits of a sample.

    Returns
    -------
    ndarray
        Of the same type and shape.
    """
    partial = photometric.startswith("YBR_PARTIAL")
    if bits == 8 and pixels.dtype == np.uint8 and not partial:
        eight_bits: NDArray[np.uint8] = convert_color_space(pixels, "YBR_FULL", "RGB")
        return eight_bits
    unit = 2.0 ** (bits - 8)
    offset = np.array([16.0 * unit if partial else 0.0, 128.0 * unit, 128.0 * unit])
    matrix = _FROM_PARTIAL if partial else _FROM_FULL
    colors = (pixels.astype(np.float32) - offset.astype(np.float32)) @ matrix.T.astype(np.float32)
    converted: NDArray[Any] = np.clip(np.rint(colors), 0, 2**bits - 1).astype(pixels.dtype)
    return converted
