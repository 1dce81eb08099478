# SPDX-License-Identifier: Apache-2.0
"""What becomes of received bytes: an image without identity, ready to be stored, or a refusal with its reason."""

from __future__ import annotations

from medhub.science.imaging.dicom_arrivals import prepare_dicom
from medhub.science.imaging.limits import Limits, Reason, Unacceptable, refuse_length
from medhub.science.imaging.photographs import read_photograph
from medhub.science.imaging.prepared import Context, Prepared
from medhub.science.imaging.received_dicom import is_dicom
from medhub.science.imaging.wrapping import wrap_photograph

__all__ = ["Context", "Limits", "Prepared", "Reason", "Unacceptable", "prepare_arrival"]


def prepare_arrival(data: bytes, *, context: Context, limits: Limits) -> Prepared:
    """Make received bytes into an image without identity.

    Parameters
    ----------
    data
        The received bytes, whatever they are; the name of the file plays no part.
    context
        What is written in place of what was received.
    limits
        What is taken.

    Returns
    -------
    Prepared
        The image as DICOM, with its thumbnail.

    Raises
    ------
    Unacceptable
        When the bytes cannot be taken; the reason and a sentence for the person are in it.
    """
    refuse_length(data, limits)
    if is_dicom(data):
        return prepare_dicom(data, context, limits)
    return wrap_photograph(read_photograph(data, limits), data, context)
