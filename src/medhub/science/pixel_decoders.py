# SPDX-License-Identifier: Apache-2.0
"""The JPEG decoder that pydicom lacks: lossless, and lossy of twelve bits, by libjpeg-turbo through imagecodecs.

pydicom's own decoders of these syntaxes need ``pylibjpeg-libjpeg``, which is under the GPL. A module that
decodes calls ``register`` when it is imported.
"""

from __future__ import annotations

from typing import Any

from imagecodecs import jpeg8_decode
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder
from pydicom.uid import UID, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

PLUGIN = "imagecodecs"
DECODER_DEPENDENCIES = dict.fromkeys((JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1), ("imagecodecs>=2025.3",))


def is_available(uid: str) -> bool:
    """Whether this module decodes a transfer syntax."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(stream: bytes, runner: DecodeRunner) -> bytes:
    """Decode one JPEG frame to its components as they are stored.

    Parameters
    ----------
    stream
        The JPEG stream of the frame.
    runner
        What pydicom knows of the image; its container size and planar configuration are set to those of the result.

    Returns
    -------
    bytes
        Samples of eight or sixteen bits, little endian, color by pixel. Colors are not converted: the dataset says
        which they are.

    Raises
    ------
    ValueError
        When the stream has another size than the dataset.
    """
    colors: dict[str, Any] = {"colorspace": "RGB", "outcolorspace": "RGB"} if runner.samples_per_pixel == 3 else {}
    array = jpeg8_decode(stream, **colors)
    if array.size != runner.rows * runner.columns * runner.samples_per_pixel:
        raise ValueError(f"the JPEG stream is {array.shape}, the dataset {runner.rows} x {runner.columns}")
    runner.set_option("bits_allocated", 8 * array.itemsize)
    runner.set_option("planar_configuration", 0)
    return bytes(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())


def register() -> None:
    """Add the decoder to pydicom's; a second call does nothing."""
    for uid in DECODER_DEPENDENCIES:
        decoder = get_decoder(UID(uid))
        if PLUGIN not in decoder.available_plugins:
            decoder.add_plugin(PLUGIN, (__name__, "decode_frame"))
