# SPDX-License-Identifier: Apache-2.0
"""Received bytes decoded to a picture without storing anything, for classification of a file."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from medhub.science.arrivals.burned_in_text import clean_burned_in_text
from medhub.science.arrivals.cleaned_image import CleaningContext
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.arrivals.dicom_arrivals import prepare_dicom
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable, refuse_length
from medhub.science.imaging.dicom.received_file import is_dicom
from medhub.science.imaging.photographs.format_registry import read_photograph
from medhub.science.imaging.photographs.photograph import rgb
from medhub.science.imaging.rendering.frames import read_frame


def decode_without_writing(data: bytes, limits: DecodingLimits) -> NDArray[np.uint8]:
    """Decode any accepted file, with text that may identify a person made black.

    Parameters
    ----------
    data
        The received bytes: a photograph, or a DICOM image, of which the first frame counts.
    limits
        The largest accepted file.

    Returns
    -------
    ndarray of uint8
        Array of shape (rows, columns, 3), RGB, right way up.

    Raises
    ------
    Unacceptable
        When the file cannot be accepted; with the reason ``writing`` where a person must review it.
    OcrUnavailable
        When the OCR library is not installed.
    """
    context = CleaningContext(uid_key=bytes(16), patient_code="", received_at=datetime.now(UTC))
    prepared = prepare_arrival(data, context=context, limits=limits)
    if not prepared.unseen:
        return read_frame(prepared.dicom)
    cleaned = clean_burned_in_text(data, prepared.dicom, context, limits)
    if cleaned.doubt:
        raise Unacceptable(cleaned.doubt, reason="writing")
    return read_frame(cleaned.dicom)


def decode_photograph(data: bytes, limits: DecodingLimits) -> NDArray[np.uint8]:
    """Decode any accepted file, exactly as it is read after it has been stored.

    Parameters
    ----------
    data
        The received bytes: a photograph, or a DICOM image, of which the first frame counts.
    limits
        The largest accepted file.

    Returns
    -------
    ndarray of uint8
        Array of shape (rows, columns, 3), RGB, right way up.

    Raises
    ------
    Unacceptable
        When the file cannot be accepted.
    """
    refuse_length(data, limits)
    if is_dicom(data):
        context = CleaningContext(uid_key=bytes(16), patient_code="", received_at=datetime.now(UTC))
        return read_frame(prepare_dicom(data, context, limits).dicom)
    return rgb(read_photograph(data, limits))
