# SPDX-License-Identifier: Apache-2.0
"""Compressed frames of a DICOM file: the accepted transfer syntaxes, and each frame reduced to its pixels."""

from __future__ import annotations

from typing import NamedTuple

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from medhub.science.imaging.codecs.jpeg import JpegFault, clean_jpeg
from medhub.science.imaging.codecs.jpeg2000 import Jpeg2000Fault, clean_jpeg2000

JPEG_SYNTAXES = frozenset(
    (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless)
)
JPEG2000_SYNTAXES = frozenset((JPEG2000, JPEG2000Lossless, HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL))
COMPRESSED_SYNTAXES = JPEG_SYNTAXES | JPEG2000_SYNTAXES | {RLELossless}
"""Transfer syntaxes of compressed pixels that are accepted and stored as they are."""

DEFLATED_FRAMES = UID("1.2.840.10008.1.2.8.1")
"""Deflated Image Frame Compression (PS3.5, A.4.13): accepted, and stored uncompressed, because few programs read it."""


class CleanFrame(NamedTuple):
    """A frame without metadata.

    Attributes
    ----------
    data
        The stream.
    size
        Rows, columns and samples as the stream declares them; ``None`` for RLE, which declares nothing.
    bits, signed
        Precision and sign of a sample in the stream; 0 for RLE. Only JPEG 2000 has signed samples.
    color_transform
        Whether the decoder of a JPEG 2000 stream undoes a transform of the components.
    reversible
        Whether the decoded samples are exactly those that were encoded.
    """

    data: bytes
    size: tuple[int, int, int] | None
    bits: int = 0
    signed: bool = False
    color_transform: bool = False
    reversible: bool = True


class FrameFault(ValueError):
    """A frame is not a complete stream of its syntax; ``truncated``: it only ends too early."""

    def __init__(self, message: str, *, truncated: bool = False) -> None:
        """Keep the sentence and the kind of fault."""
        super().__init__(message)
        self.truncated = truncated


def clean_frame(data: bytes, transfer_syntax: UID) -> CleanFrame:
    """Reduce one compressed frame to what its decoder needs.

    Comments and application segments of a JPEG or JPEG 2000 stream may name a person like any other text.

    Parameters
    ----------
    data
        The frame, its fragments joined.
    transfer_syntax
        One of ``COMPRESSED_SYNTAXES``.

    Returns
    -------
    CleanFrame
        The stream, and (rows, columns, samples) as it declares them.

    Raises
    ------
    FrameFault
        When the frame is not a stream of its syntax.
    """
    if transfer_syntax in JPEG_SYNTAXES:
        try:
            stream = clean_jpeg(data)
        except JpegFault as fault:
            raise FrameFault(str(fault), truncated=fault.truncated) from fault
        if stream.another:
            raise FrameFault("another image follows it, which the file does not declare (Number of Frames)")
        size = (stream.rows, stream.columns, stream.components)
        return CleanFrame(stream.data, size, stream.bits, reversible=stream.reversible)
    if transfer_syntax in JPEG2000_SYNTAXES:
        try:
            codestream = clean_jpeg2000(data)
        except Jpeg2000Fault as fault:
            raise FrameFault(str(fault)) from fault
        return CleanFrame(
            codestream.data,
            (codestream.rows, codestream.columns, codestream.components),
            codestream.bits,
            codestream.signed,
            codestream.color_transform,
            codestream.reversible,
        )
    return CleanFrame(data, None)
