# SPDX-License-Identifier: Apache-2.0
"""JPEG photographs: kept as their stream where DICOM can carry it, and refused when anything of them is missing."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO

import numpy as np
from PIL import Image

from medhub.science.imaging.codecs.jpeg import (
    SOF_BASELINE,
    SOF_EXTENDED,
    SOF_LOSSLESS,
    JpegFault,
    JpegStream,
    clean_jpeg,
)
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable, refuse_oversized
from medhub.science.imaging.photographs.photograph import PREVIEW, Photograph, small, turn
from medhub.science.imaging.photographs.refusal_messages import decoding, truncated

# Bits that no image ends with by chance; see _ends_early.
_FILLING = b"\x5a\xa7\x36\xc9" * 64


def read_jpeg(data: bytes, limits: DecodingLimits) -> Photograph:
    """Read a JPEG photograph.

    Parameters
    ----------
    data
        The received bytes, which begin as a JPEG does.
    limits
        What is taken.

    Returns
    -------
    Photograph
        With its stream, if that is a baseline one (ITU-T T.81, process 1) and the right way up; else with its pixels.

    Raises
    ------
    Unacceptable
        When the stream is cut off, damaged, of a rare process, or larger than the limits.
    """
    try:
        header = clean_jpeg(data, metadata=False)
        refuse_oversized(header.rows, header.columns, limits)
        stream = clean_jpeg(data)
    except JpegFault as fault:
        if fault.truncated:
            raise _truncated_jpeg(data) from fault
        raise Unacceptable(
            f"This JPEG file is damaged: {fault}. Copy or export it again from its source.", reason="damaged"
        ) from fault
    if stream.bits != 8 or (stream.process >= SOF_LOSSLESS and stream.process not in (0xC9, 0xCA)):
        raise Unacceptable(
            "This JPEG file uses a rare process (12 bits or lossless) that cannot be read as a photograph. "
            "Save it as PNG or TIFF.",
            reason="unsupported",
        )
    orientation = stream.orientation
    keep = stream.process == SOF_BASELINE and stream.components in (1, 3) and orientation == 1
    with decoding("JPEG"), Image.open(BytesIO(stream.data), formats=("JPEG",)) as image:
        preview = _reduced(stream.data)
        if _ends_early(stream, preview):
            raise truncated("JPEG")
        if keep:
            return Photograph("JPEG", None, stream, preview.convert("RGB"), 8, True, True, ())
        notes: list[str] = []
        exact = True
        if image.mode == "CMYK":
            exact = False
            notes.append("Printing colors (CMYK) were turned into red, green and blue without a color profile.")
            pixels = np.asarray(image.convert("RGB"))
        else:
            pixels = np.asarray(image)
    if orientation != 1:
        pixels = turn(pixels, orientation)
        notes.append("The picture was turned the right way up, as its camera had noted; no pixel value changed.")
    if stream.process != SOF_BASELINE:
        notes.append("The JPEG process of the file is not one that DICOM carries; its decoded pixels were kept.")
    return Photograph("JPEG", pixels, None, small(pixels), 8, exact, True, tuple(notes))


def _reduced(data: bytes) -> Image.Image:
    """Decode a JPEG as small as the preview may be: every coefficient is read, but few pixels are made."""
    with Image.open(BytesIO(data), formats=("JPEG",)) as image:
        image.draft(image.mode, (PREVIEW, PREVIEW))
        image.load()
        return image


def _ends_early(stream: JpegStream, preview: Image.Image) -> bool:
    """Tell whether a stream has its end marker but not all of its image data, as after a careless repair.

    A decoder fills up what is missing without a word. Bits that follow a whole image are never looked at; where some
    of the image is missing, they are taken for it, and the picture becomes another.
    """
    if stream.process not in (SOF_BASELINE, SOF_EXTENDED) or stream.scans != 1:
        return False
    filled = _reduced(stream.data[:-2] + _FILLING + stream.data[-2:])
    return filled.tobytes() != preview.tobytes()


def _truncated_jpeg(data: bytes) -> Unacceptable:
    share = _decoded_share(data)
    return truncated("JPEG", f" About {share:.0%} of its rows are there." if share is not None else "")


def _decoded_share(data: bytes) -> float | None:
    """Share of the rows that a decoder gets out of a cut-off JPEG; ``None`` where a row count says nothing."""
    try:
        header = clean_jpeg(data, metadata=False)
        if header.process not in (SOF_BASELINE, 0xC1) or header.rows * header.columns > 25_000_000:
            return None
        with Image.open(BytesIO(data), formats=("JPEG",)) as image:
            with suppress(OSError):
                image.load()
            # Without tiles to decode, what has been decoded is given; rows that have not are black.
            image.tile = []
            rows = np.asarray(image).reshape(header.rows, -1).any(axis=1)
    except Exception:
        return None
    filled = np.flatnonzero(rows)
    return float(filled[-1] + 1) / header.rows if filled.size else 0.0
