# SPDX-License-Identifier: Apache-2.0
"""Received bytes to an image without identity that can be stored, or to a refusal with its reason."""

from __future__ import annotations

from medhub.science.arrivals.cleaned_image import CleanedImage, CleaningContext
from medhub.science.arrivals.dicom_arrivals import prepare_dicom
from medhub.science.arrivals.photograph_wrapping import wrap_photograph
from medhub.science.imaging.decoding_limits import DecodingLimits, Reason, Unacceptable, refuse_length
from medhub.science.imaging.dicom.received_file import is_dicom
from medhub.science.imaging.photographs.format_registry import read_photograph

__all__ = [
    "CleanedImage",
    "CleaningContext",
    "DecodingLimits",
    "Reason",
    "Unacceptable",
    "prepare_arrival",
    "prepare_arrivals",
]


def prepare_arrival(data: bytes, *, context: CleaningContext, limits: DecodingLimits) -> CleanedImage:
    """De-identify a received file.

    Parameters
    ----------
    data
        The received bytes, of any format; the name of the file is not used.
    context
        The values that replace those of the received file.
    limits
        The largest accepted file.

    Returns
    -------
    CleanedImage
        The image as DICOM, with its thumbnail.

    Raises
    ------
    Unacceptable
        When the file cannot be accepted; it carries the reason and a sentence.
    """
    refuse_length(data, limits)
    if is_dicom(data):
        return prepare_dicom(data, context, limits)
    return wrap_photograph(read_photograph(data, limits), data, context)


def prepare_arrivals(
    files: list[bytes], contexts: list[CleaningContext], context_numbers: list[int], limits: DecodingLimits
) -> list[CleanedImage | Unacceptable]:
    """De-identify several files, or say why one cannot be accepted; see ``prepare_arrival``.

    Parameters
    ----------
    files
        The received files.
    contexts
        The contexts of all files, each once.
    context_numbers
        Of each file the position of its context in ``contexts``.
    limits
        The largest accepted file.
    """
    answers: list[CleanedImage | Unacceptable] = []
    for data, number in zip(files, context_numbers, strict=True):
        try:
            answers.append(prepare_arrival(data, context=contexts[number], limits=limits))
        except Unacceptable as refusal:
            answers.append(refusal)
    return answers
