# SPDX-License-Identifier: Apache-2.0
"""Received bytes as a picture, without storing anything: for a classifier that is asked about a file."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from medhub.science.imaging.dicom_arrivals import prepare_dicom
from medhub.science.imaging.frames import read_frame
from medhub.science.imaging.limits import Limits, refuse_length
from medhub.science.imaging.photograph import rgb
from medhub.science.imaging.photographs import read_photograph
from medhub.science.imaging.prepared import Context
from medhub.science.imaging.received_dicom import is_dicom


def decode_photograph(data: bytes, limits: Limits) -> NDArray[np.uint8]:
    """Decode any file that is taken, exactly as it would be read after it had been stored.

    Parameters
    ----------
    data
        The received bytes: a photograph, or a DICOM image, of which the first frame counts.
    limits
        What is taken.

    Returns
    -------
    ndarray of uint8
        Array of shape (rows, columns, 3), RGB, right way up.

    Raises
    ------
    Unacceptable
        When the bytes cannot be taken.
    """
    refuse_length(data, limits)
    if is_dicom(data):
        nobody = Context(uid_key=bytes(16), patient_code="", received_at=datetime.now(UTC))
        return read_frame(prepare_dicom(data, nobody, limits).dicom)
    return rgb(read_photograph(data, limits))
