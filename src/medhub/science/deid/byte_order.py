# SPDX-License-Identifier: Apache-2.0
"""Words of big-endian files turned around; a parser gives their bytes as they were (PS3.5, 7.3)."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset

_WORDS = {"OW": "u2", "OL": "u4", "OF": "u4", "OD": "u8", "OV": "u8"}


def to_little_endian(dataset: Dataset) -> None:
    """Turn the words of a dataset of a big-endian file around, at every depth; other values were read as numbers."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                to_little_endian(item)
        elif element.VR in _WORDS and isinstance(element.value, bytes):
            kind = _WORDS[element.VR]
            length = len(element.value) // np.dtype(kind).itemsize * np.dtype(kind).itemsize
            element.value = np.frombuffer(element.value[:length], f">{kind}").astype(f"<{kind}").tobytes()
