# SPDX-License-Identifier: Apache-2.0
"""Data leakage: near-duplicate images in different parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medhub.science.learning.dataset import ListingRow, thumbnails

# Largest Hamming distance of two 64-bit perceptual hashes whose images are then compared by correlation.
MOST_BITS = 10
LEAST_CORRELATION = 0.98
_SIDE = 32
_CHUNK = 512


@dataclass(frozen=True)
class Leak:
    """Two near-duplicate images in different parts."""

    first: str
    first_part: str
    second: str
    second_part: str
    correlation: float

    def __str__(self) -> str:
        """Describe the pair in one line."""
        return f"{self.first} ({self.first_part}) and {self.second} ({self.second_part}): r = {self.correlation:.3f}"


def find_leaks(rows: Sequence[ListingRow]) -> list[Leak]:
    """Find near duplicates across parts: candidates by perceptual hash, confirmed by correlation.

    Parameters
    ----------
    rows
        The images, each with its part.

    Returns
    -------
    list[Leak]
        In descending order of correlation.
    """
    small = thumbnails(rows, _SIDE)
    hashes = perceptual_hash(small)
    compared = _standardized(small.reshape(len(small), _SIDE, _SIDE)[:, 4:-4, 4:-4].reshape(len(small), -1))
    parts = np.array([row.split for row in rows])
    leaks = []
    for start in range(0, len(rows), _CHUNK):
        block = slice(start, start + _CHUNK)
        apart = np.bitwise_count(hashes[block, None] ^ hashes[None])
        near = (apart <= MOST_BITS) & (parts[block, None] != parts[None])
        for i, j in zip(*np.nonzero(near), strict=True):
            first = start + int(i)
            second = int(j)
            if first >= second:
                continue
            correlation = float(compared[first] @ compared[second])
            if correlation > LEAST_CORRELATION:
                leaks.append(
                    Leak(rows[first].name, rows[first].split, rows[second].name, rows[second].split, correlation)
                )
    return sorted(leaks, key=lambda leak: -leak.correlation)


def perceptual_hash(images: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Compute a hash that changes little when an image changes little (the "pHash" of Zauner 2010).

    Parameters
    ----------
    images
        N x S x S, grey.

    Returns
    -------
    NDArray[np.uint64]
        N hashes: the signs of the 64 lowest frequencies of the discrete cosine transform against their median.
    """
    side = images.shape[1]
    positions = np.arange(side)
    basis = np.cos(np.pi / side * (positions[None] + 0.5) * np.arange(1, 9)[:, None])
    low = basis @ images @ basis.T
    bits = low.reshape(len(images), 64) > np.median(low.reshape(len(images), 64), axis=1, keepdims=True)
    powers = np.uint64(1) << np.arange(64, dtype=np.uint64)
    hashes: NDArray[np.uint64] = (bits.astype(np.uint64) * powers).sum(1, dtype=np.uint64)
    return hashes


def _standardized(values: NDArray[np.float32]) -> NDArray[np.float32]:
    centered = values - values.mean(1, keepdims=True)
    length = np.linalg.norm(centered, axis=1, keepdims=True)
    # A uniform image has no pattern, so its correlation with every image is set to 0.
    result: NDArray[np.float32] = np.where(length > 1e-3, centered / np.maximum(length, 1e-3), 0).astype(np.float32)
    return result
