# SPDX-License-Identifier: Apache-2.0
"""Stored files in another lossless transfer syntax, for clients that request one."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from pydicom import dcmread, dcmwrite
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless

from medhub.science import pixel_decoders
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.received_file import quiet
from medhub.science.imaging.rendering import dicomweb_payloads

pixel_decoders.register()

_ENCODERS = {JPEGLSLossless: "pyjpegls", RLELossless: "pylibjpeg", JPEG2000Lossless: "pylibjpeg"}
LOSSLESS_SYNTAXES = frozenset(map(str, _ENCODERS))
"""Transfer syntaxes in which a stored file can be written."""


def transcode_lossless(dicom: bytes, syntax: str) -> bytes:
    """Write a stored file in another transfer syntax, without a change of its pixel values.

    Parameters
    ----------
    dicom
        A stored file with pixels.
    syntax
        One of ``LOSSLESS_SYNTAXES``.

    Returns
    -------
    bytes
        The file, with the same UIDs. Its values are decoded again and compared.

    Raises
    ------
    Unacceptable
        When its pixels cannot be decoded, or the syntax cannot hold them exactly.
    """
    plain = dicomweb_payloads.explicit(dicom)
    with quiet():
        dataset = dcmread(BytesIO(plain))
        pixels = bytes(dataset.PixelData)
        # Without a color transform the photometric interpretation stays true.
        options: dict[str, Any] = {"use_mct": False} if syntax == JPEG2000Lossless else {}
        try:
            dataset.compress(
                UID(syntax), encoding_plugin=_ENCODERS[UID(syntax)], generate_instance_uid=False, **options
            )
            out = BytesIO()
            dcmwrite(out, dataset)
            encoded = out.getvalue()
            decoded = dcmread(BytesIO(dicomweb_payloads.explicit(encoded)))
        except MemoryError:
            raise
        except Exception as error:  # encoders raise what they like
            raise _cannot_hold() from error
        if bytes(decoded.PixelData) != pixels or decoded.PhotometricInterpretation != dataset.PhotometricInterpretation:
            raise _cannot_hold()
    return encoded


def _cannot_hold() -> Unacceptable:
    return Unacceptable(
        "The pixels of this file cannot be written in this transfer syntax without a change of their values.",
        reason="unsupported",
    )
