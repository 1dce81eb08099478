# SPDX-License-Identifier: Apache-2.0
"""Byte order of word values from big-endian files, which pydicom returns unchanged (PS3.5, 7.3)."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset

_WORDS = {"OW": "u2", "OL": "u4", "OF": "u4", "OD": "u8", "OV": "u8"}


def to_little_endian(dataset: Dataset) -> None:
    """Swap the bytes of word values (OW, OL, OF, OD, OV) in a dataset from a big-endian file, at every depth."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                to_little_endian(item)
        elif element.VR in _WORDS and isinstance(element.value, bytes):
            kind = _WORDS[element.VR]
            length = len(element.value) // np.dtype(kind).itemsize * np.dtype(kind).itemsize
            element.value = np.frombuffer(element.value[:length], f">{kind}").astype(f"<{kind}").tobytes()
